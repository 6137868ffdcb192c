//! What the simulator takes for tokens.

use std::borrow::Cow;
use std::ops::Range;

/// The tokens of an answer: words, each with the blanks before it. Put together they are the text again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokens {
    text: String,
    words: Vec<Range<usize>>,
    count: usize,
}

impl Tokens {
    /// All tokens of the text.
    pub fn of(text: String) -> Self {
        let words = words(&text);
        let count = words.len();
        Self { text, words, count }
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
        let count = words.len();
        Self { text, words, count }
    }

    /// The same text cut, or told again from its start, to so many tokens.
    pub fn resized(self, count: usize) -> Self {
        Self { count, ..self }
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
        Some(if place > 0 && place.is_multiple_of(self.words.len()) {
            Cow::Owned(format!(" {word}"))
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

/// The tokens that a prompt of so many bytes is taken to have.
pub fn estimate(bytes: usize) -> u64 {
    u64::try_from(bytes.div_ceil(4)).unwrap_or(u64::MAX)
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
    fn a_token_is_four_bytes_of_a_prompt() {
        assert_eq!([0, 1, 4, 5].map(estimate), [0, 1, 1, 2]);
    }
}
