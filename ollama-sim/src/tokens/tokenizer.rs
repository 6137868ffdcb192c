//! How the tokens of a model are counted.

use serde::Deserialize;

use super::Tokens;

/// How the tokens of a model are counted.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tokenizer {
    /// Characters of a token of an answer; a token is a word when it is not said.
    pub characters: Option<usize>,
    /// Bytes of a token of a prompt.
    pub bytes: usize,
    /// Tokens that the template adds to a prompt.
    pub template: u64,
    /// Texts that are one token, wherever they stand in a prompt.
    pub markers: Vec<String>,
}

impl Default for Tokenizer {
    fn default() -> Self {
        Self {
            characters: None,
            bytes: 4,
            template: 0,
            markers: Vec::new(),
        }
    }
}

impl Tokenizer {
    /// The tokens of an answer.
    pub fn tokens(&self, text: String) -> Tokens {
        match self.characters {
            Some(characters) => Tokens::of_length(text, characters),
            None => Tokens::of(text),
        }
    }

    /// How many bytes a text counts as in a prompt.
    pub fn weight(&self, text: &str) -> usize {
        let mut weight = text.len();
        for marker in self.markers.iter().filter(|marker| !marker.is_empty()) {
            let count = text.matches(marker.as_str()).count();
            weight = weight.saturating_sub(count * marker.len()) + count * self.bytes;
        }
        weight
    }

    /// The tokens that a prompt has whose texts weigh so much.
    pub fn prompt(&self, weight: usize) -> u64 {
        let tokens = weight.div_ceil(self.bytes.max(1));
        u64::try_from(tokens).unwrap_or(u64::MAX) + self.template
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_four_bytes_of_a_prompt() {
        let counted = Tokenizer::default();
        assert_eq!(
            [0, 1, 4, 5].map(|weight| counted.prompt(weight)),
            [0, 1, 1, 2]
        );
        assert_eq!(counted.weight("a<|x|>"), 6);
    }

    #[test]
    fn a_model_may_count_otherwise() {
        let counted = Tokenizer {
            bytes: 1,
            template: 8,
            markers: vec!["<|x|>".to_owned()],
            ..Tokenizer::default()
        };
        assert_eq!(counted.prompt(counted.weight("a<|x|>b<|x|>")), 12);
        assert_eq!(counted.prompt(counted.weight("<\u{200b}|x|>")), 16);
    }
}
