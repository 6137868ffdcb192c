//! What can go wrong with one answer: a name, and a place or a dialect for some.

use serde::{Deserialize, Deserializer, de};
use serde_json::Value;

mod plans;
pub mod speech;
pub mod wire;

pub use plans::Plans;

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What goes wrong.
    pub kind: Kind,
    /// After how many chunks, where that matters.
    pub after: Option<usize>,
    /// How a call is written, for `text_call`.
    pub dialect: Dialect,
}

/// What goes wrong. In requests and files the names are in snake case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// 503, as when too many requests wait for a model to be loaded.
    Busy,
    /// 500: the server could not read a call that the model wrote.
    ToolParseError,
    /// 500: the runner is gone.
    RunnerCrash,
    /// A gateway's page, 502.
    Html502,
    /// A document with `error` under status 200.
    Error200,
    /// Nothing is ever sent.
    Hang,
    /// The runner is gone after some chunks: the last line of a 200 is an error.
    ErrorMidstream,
    /// The end without `done`; in one document: `done` is false.
    NoDone,
    /// The same token over and over. Rendered: no `done` after 30 of them; native: until the length is reached.
    RepeatLoop,
    /// Tokens were spoken, but there is no content and no call.
    Empty,
    /// Calls are lost, the rest is there.
    SwallowedCall,
    /// A call as text in the content.
    TextCall,
    /// A promise of a call in place of it.
    ProseCall,
    /// A call of a tool that was not offered.
    UnknownTool,
    /// The same call in every turn, for ever.
    SameCall,
    /// Arguments as a string with JSON in it.
    ArgsString,
    /// Arguments inside an object with a name, as strings with JSON in them.
    ArgsNested,
    /// Every argument has a wrong type.
    ArgsTypes,
    /// No arguments.
    ArgsMissing,
    /// An argument more than the schema knows.
    ArgsExtra,
    /// Two calls with one id.
    DuplicateIds,
    /// Calls without ids.
    MissingIds,
    /// Thinking in tags in the content.
    ThinkTags,
    /// The same without the closing tag, and so without an answer.
    ThinkUnclosed,
    /// Content that does not satisfy the `format`.
    BadSchema,
    /// Content that ends in the middle, by its length.
    CutJson,
    /// `tool_calls` is null.
    ToolCallsNull,
    /// There is no `content`.
    MissingContent,
    /// The role is none that is known.
    UnknownRole,
    /// Fields that no server has.
    UnknownFields,
    /// Chunks say that the model ran elsewhere.
    RemoteHost,
    /// The last document has no metrics.
    NoMetrics,
    /// A line of 10 MB.
    HugeLine,
    /// A line that is not JSON.
    BadLine,
    /// The connection is closed after some chunks.
    Cut,
    /// The connection is reset after some chunks.
    Reset,
    /// Nothing more comes after some chunks.
    Stall,
    /// A few bytes at a time, with pauses.
    Drip,
    /// Every byte by itself.
    SplitBytes,
    /// Cut inside of every character that has more than one byte.
    SplitUtf8,
    /// All lines at once.
    Coalesce,
    /// The connection is closed after the answer, without a word of it in the headers.
    CloseIdle,
    /// The slot is lost if the client leaves in the middle of the answer, until the runner is killed.
    LostSlot,
}

/// How models write calls as text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dialect {
    /// `{"name": ..., "parameters": ...}`
    #[default]
    Bare,
    /// The same in a fence of backticks.
    Fenced,
    /// `{"type": "function", "function": {...}}`
    Function,
    /// `<tool_call>{...}</tool_call>`
    Tagged,
    /// `[name(argument="value")]`
    Pythonic,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    name: Kind,
    after: Option<usize>,
    #[serde(default)]
    dialect: Dialect,
}

impl Fault {
    /// Reads `name` or `name:after`, as a directive has it.
    ///
    /// # Errors
    /// An unknown name, or no number.
    pub fn read(text: &str) -> Result<Self, String> {
        let (name, after) = match text.split_once(':') {
            Some((name, after)) => (
                name,
                Some(
                    after
                        .parse()
                        .map_err(|error| format!("{after:?}: {error}"))?,
                ),
            ),
            None => (text, None),
        };
        let kind: Kind =
            serde_json::from_value(Value::from(name)).map_err(|error| error.to_string())?;
        Ok(Self {
            after,
            ..Self::from(kind)
        })
    }
}

impl From<Kind> for Fault {
    fn from(kind: Kind) -> Self {
        Self {
            kind,
            after: None,
            dialect: Dialect::default(),
        }
    }
}

/// A name, or an object with `name`, `after` and `dialect`.
impl<'de> Deserialize<'de> for Fault {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        if let Value::String(name) = &value {
            return Self::read(name).map_err(de::Error::custom);
        }
        let wire: Wire = serde_json::from_value(value).map_err(de::Error::custom)?;
        Ok(Self {
            kind: wire.name,
            after: wire.after,
            dialect: wire.dialect,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn faults_are_names_or_objects() {
        let stall = Fault {
            after: Some(3),
            ..Fault::from(Kind::Stall)
        };
        assert_eq!(Fault::read("stall:3"), Ok(stall.clone()));
        let read = |value: Value| serde_json::from_value::<Fault>(value).ok();
        assert_eq!(read(json!({"name": "stall", "after": 3})), Some(stall));
        let tagged = Fault {
            dialect: Dialect::Tagged,
            ..Fault::from(Kind::TextCall)
        };
        assert_eq!(
            read(json!({"name": "text_call", "dialect": "tagged"})),
            Some(tagged)
        );
        assert_eq!(read(json!("html502")), Some(Fault::from(Kind::Html502)));
        assert_eq!(read(json!("stal")), None);
        assert_eq!(read(json!({"name": "stall", "afer": 3})), None);
    }
}
