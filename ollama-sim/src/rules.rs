//! Rules: what a model says to requests of some kind. The first that matches is followed.

use serde::Deserialize;
use serde_json::Value;

mod book;
mod event;
mod when;

pub use book::Book;
pub use event::Outcome;

use event::Event;
use when::When;

/// What a rule looks at.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The model's name.
    pub model: &'a str,
    /// The chat so far.
    pub messages: &'a [crate::conversation::Message],
    /// The offered tools.
    pub tools: &'a [crate::default::Tool],
    /// The `format`, null if there is none.
    pub format: &'a Value,
    /// Whether the client lets the model think.
    pub think: bool,
    /// The headers of the request.
    pub headers: &'a axum::http::HeaderMap,
    /// Which call of its conversation this is, from 1.
    pub call: u64,
}

/// One rule.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    #[serde(default, rename = "name")]
    _name: String,
    /// Which requests it is for; all if it does not say.
    #[serde(default)]
    when: When,
    /// What is said, in order.
    then: Vec<Event>,
    /// It is followed at most so often.
    #[serde(default)]
    pub times: Option<u64>,
}

impl Rule {
    /// Reads a document with rules: YAML or JSON, a list or an object with `rules`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(text: &str) -> Result<Vec<(Self, Value)>, String> {
        let document: Value = crate::document::read(text)?;
        let list = match document {
            Value::Object(mut fields) if fields.contains_key("rules") => {
                fields.remove("rules").unwrap_or_default()
            }
            other => other,
        };
        let Value::Array(list) = list else {
            return Err("there is no list of rules".to_owned());
        };
        let rules = list.into_iter().enumerate().map(|(place, told)| {
            let rule =
                Self::deserialize(&told).map_err(|error| format!("rule {}: {error}", place + 1))?;
            Ok((rule, told))
        });
        rules.collect()
    }

    /// What is said to this request, if the rule is for it.
    pub fn apply(&self, subject: Subject<'_>) -> Option<Outcome> {
        let groups = self.when.groups(subject)?;
        Some(Outcome::of(&self.then, subject, &groups))
    }
}
