//! Patterns in rules and plans: globs for names, regular expressions for texts.

use regex::Regex;
use serde::{Deserialize, Deserializer, de};

/// A name with `*` for any characters and `?` for one.
#[derive(Debug, Clone)]
pub struct Glob(Regex);

/// A regular expression that is looked for anywhere in a text.
#[derive(Debug, Clone)]
pub struct Pattern(pub Regex);

impl Glob {
    /// Whether it matches the whole name.
    pub fn matches(&self, name: &str) -> bool {
        self.0.is_match(name)
    }
}

impl<'de> Deserialize<'de> for Glob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let glob = String::deserialize(deserializer)?;
        let escaped = regex::escape(&glob)
            .replace("\\*", ".*")
            .replace("\\?", ".");
        let regex = Regex::new(&format!("(?s)^{escaped}$"));
        regex.map(Self).map_err(de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let regex = Regex::new(&String::deserialize(deserializer)?);
        regex.map(Self).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn globs_match_whole_names() {
        let matches = |glob: &str, name| {
            serde_json::from_value::<Glob>(json!(glob))
                .unwrap()
                .matches(name)
        };
        assert!(matches("llama3.2:*", "llama3.2:1b"));
        assert!(!matches("llama3.2:*", "llama3x2:1b"));
        assert!(!matches("llama3.2", "llama3.2:1b"));
        assert!(matches("*:?b", "a:1b"));
        assert!(serde_json::from_value::<Pattern>(json!("(")).is_err());
    }
}
