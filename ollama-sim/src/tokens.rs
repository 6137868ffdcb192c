//! What the simulator takes for tokens.

use std::borrow::Cow;
use std::ops::Range;

mod tokenizer;

pub use tokenizer::Tokenizer;

/// The tokens of an answer: words, each with the blanks before it. Put together they are the text again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokens {
    text: String,
    words: Vec<Range<usize>>,
    count: usize,
    /// Stands between the last token and the first, where the text is told again.
    joint: &'static str,
}

impl Tokens {
    /// All tokens of the text.
    pub fn of(text: String) -> Self {
        Self::at(words(&text), text)
    }

    /// Tokens of so many characters each; the last one is longer where what is left is short.
    pub fn of_length(text: String, characters: usize) -> Self {
        let starts: Vec<usize> = text.char_indices().map(|(place, _)| place).collect();
        let characters = characters.max(1);
        let mut words: Vec<Range<usize>> = Vec::new();
        for (number, chunk) in starts.chunks(characters).enumerate() {
            let Some(start) = chunk.first().copied() else {
                continue;
            };
            let end = starts.get((number + 1) * characters).copied();
            let end = end.unwrap_or(text.len());
            match words.last_mut() {
                Some(last) if chunk.len() + 1 < characters => last.end = end,
                _ => words.push(start..end),
            }
        }
        Self::at(words, text)
    }

    fn at(words: Vec<Range<usize>>, text: String) -> Self {
        let count = words.len();
        Self {
            text,
            words,
            count,
            joint: " ",
        }
    }

    /// The tokens of a text without blanks, such as JSON: four bytes each, or a little more for other alphabets.
    pub fn pieces(text: String) -> Self {
        let mut words: Vec<Range<usize>> = Vec::new();
        let mut start = 0;
        for (place, _) in text.char_indices() {
            if place - start >= 4 {
                words.push(start..place);
                start = place;
            }
        }
        if start < text.len() {
            words.push(start..text.len());
        }
        Self::at(words, text)
    }

    /// The same text cut, or told again from its start, to so many tokens.
    pub fn resized(self, count: usize) -> Self {
        Self { count, ..self }
    }

    /// The same text told over and over, without a blank between, to so many tokens; nothing stays nothing.
    pub fn endless(self, count: usize) -> Self {
        Self {
            count: if self.words.is_empty() { 0 } else { count },
            joint: "",
            ..self
        }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The token at this place, if there is one.
    pub fn get(&self, place: usize) -> Option<Cow<'_, str>> {
        if place >= self.count {
            return None;
        }
        let word = self.words.get(place.checked_rem(self.words.len())?)?;
        let word = self.text.get(word.clone())?;
        let again = place > 0 && place.is_multiple_of(self.words.len());
        Some(if again && !self.joint.is_empty() {
            Cow::Owned(format!("{}{word}", self.joint))
        } else {
            Cow::Borrowed(word)
        })
    }

    /// All tokens as one text.
    pub fn joined(&self) -> String {
        (0..self.count)
            .filter_map(|place| self.get(place))
            .collect()
    }
}

fn words(text: &str) -> Vec<Range<usize>> {
    let mut words = Vec::new();
    let (mut start, mut in_word) = (0, false);
    for (place, character) in text.char_indices() {
        if character.is_whitespace() && in_word {
            words.push(start..place);
            start = place;
        }
        in_word = !character.is_whitespace();
    }
    if start < text.len() {
        words.push(start..text.len());
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(tokens: &Tokens) -> Vec<Cow<'_, str>> {
        (0..tokens.count() + 1)
            .filter_map(|place| tokens.get(place))
            .collect()
    }

    #[test]
    fn tokens_are_words_with_their_blanks() {
        let tokens = Tokens::of("Zwei Wörter,\n\n eines  ".to_owned());
        assert_eq!(pieces(&tokens), ["Zwei", " Wörter,", "\n\n eines", "  "]);
        assert_eq!(tokens.joined(), "Zwei Wörter,\n\n eines  ");
        assert_eq!(Tokens::of(String::new()).count(), 0);
    }

    #[test]
    fn pieces_are_four_bytes() {
        let tokens = Tokens::pieces("{\"ä\":12}".to_owned());
        assert_eq!(pieces(&tokens), ["{\"ä", "\":12", "}"]);
        assert_eq!(tokens.joined(), "{\"ä\":12}");
        assert_eq!(Tokens::pieces(String::new()).count(), 0);
    }

    #[test]
    fn tokens_are_cut_and_repeated() {
        let tokens = Tokens::of("a b".to_owned());
        assert_eq!(pieces(&tokens.clone().resized(1)), ["a"]);
        assert_eq!(
            pieces(&tokens.clone().resized(5)),
            ["a", " b", " a", " b", " a"]
        );
        assert_eq!(Tokens::of(String::new()).resized(5).joined(), "");
    }

    #[test]
    fn tokens_have_a_length() {
        let of = |text: &str, count| {
            let tokens = Tokens::of_length(text.to_owned(), 4);
            let count = if count == 0 { tokens.count() } else { count };
            tokens.endless(count)
        };
        assert_eq!(pieces(&of("Grüße aus", 0)), ["Grüß", "e aus"]);
        assert_eq!(pieces(&of("a b c d", 0)), ["a b ", "c d"]);
        assert_eq!(pieces(&of("again ", 3)), ["again ", "again ", "again "]);
        assert_eq!(pieces(&of("a b c d", 3)), ["a b ", "c d", "a b "]);
        assert_eq!((of("", 0).count(), of("", 5).count()), (0, 0));
        assert_eq!(pieces(&of("日本", 0)), ["日本"]);
    }
}
