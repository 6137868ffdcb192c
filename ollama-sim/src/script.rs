//! What a model says in one answer, piece by piece, and how it ends. Pure: it knows no time and no connection.

use serde::Serialize;
use serde_json::{Value, json};

use crate::refusal::Refusal;
use crate::tokens::Tokens;

mod emit;
mod hear;
mod ids;

pub use emit::{REPEATS, Rules};
pub use hear::Hearing;
pub use ids::Ids;

/// One thing that a model says.
#[derive(Debug, Clone, PartialEq)]
pub enum Say {
    /// Text for the reader.
    Text(String),
    /// Thinking, which comes in a field of its own.
    Thinking(String),
    /// A call of a tool.
    Call {
        /// The tool.
        name: String,
        /// Most often an object.
        arguments: Value,
    },
    /// What the model writes; the server reads thinking and calls out of it.
    Raw(String),
    /// The same over and over, until nothing more may be spoken.
    Endless(String),
}

/// A tool call as answers have it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Call {
    /// Left out when there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The rest.
    pub function: Function,
}

/// What is called.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Function {
    /// Counts the calls of an answer from 0.
    pub index: usize,
    /// The tool.
    pub name: String,
    /// Most often an object.
    pub arguments: Value,
}

/// An answer that is ready to be told.
#[derive(Debug, Clone, PartialEq)]
pub struct Script {
    /// What comes in chunks of its own, in order.
    pub parts: Vec<Part>,
    /// Text in the last document.
    pub closing: String,
    /// Calls in the last document.
    pub calls: Vec<Call>,
    /// How it ends.
    pub ending: Ending,
    /// `eval_count`.
    pub spoken: usize,
}

/// A part of an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Part {
    /// Text, a chunk for each token.
    Text(Tokens),
    /// Thinking, a chunk for each token.
    Thinking(Tokens),
    /// Calls in one chunk.
    Calls(Vec<Call>),
}

/// How an answer ends.
#[derive(Debug, Clone, PartialEq)]
pub enum Ending {
    /// With `done` and this reason.
    Done(&'static str),
    /// With an error: a status if nothing was sent before, else a last line.
    Error(Refusal),
    /// Without a word, as if all was said.
    Missing,
}

/// One chunk of a stream.
#[derive(Debug, PartialEq)]
pub enum Step<'a> {
    /// A token of the text.
    Text(std::borrow::Cow<'a, str>),
    /// A token of the thinking.
    Thinking(std::borrow::Cow<'a, str>),
    /// Calls.
    Calls(&'a [Call]),
}

impl Call {
    /// The call as a model writes it.
    pub fn text(name: &str, arguments: &Value) -> String {
        json!({"name": name, "parameters": arguments}).to_string()
    }

    /// The error of the runner for a call that it could not read to its end.
    pub fn unfinished(name: &str) -> Refusal {
        Refusal::internal(format!(
            "llama-server returned invalid tool call arguments for {name:?}: unexpected end of JSON input"
        ))
    }
}

impl Script {
    /// The answer that these sayings become under the rules of a model.
    pub fn new(says: Vec<Say>, rules: &Rules) -> Self {
        emit::emit(says, rules)
    }

    /// How many chunks come before the last document.
    pub fn steps(&self) -> usize {
        self.parts.iter().map(Part::steps).sum()
    }

    /// The chunk at this place.
    pub fn step(&self, mut place: usize) -> Option<Step<'_>> {
        for part in &self.parts {
            if place < part.steps() {
                return part.step(place);
            }
            place -= part.steps();
        }
        None
    }

    /// Leaves out what comes after so many chunks, but for the end.
    pub fn shorten(&mut self, steps: usize) {
        let mut left = steps;
        self.parts.retain_mut(|part| {
            let kept = part.steps().min(left);
            left -= kept;
            if let Part::Text(tokens) | Part::Thinking(tokens) = part {
                *tokens = tokens.clone().resized(kept);
            }
            kept > 0
        });
    }

    /// Changes every call.
    pub fn each_call(&mut self, mut change: impl FnMut(&mut Call)) {
        for part in &mut self.parts {
            if let Part::Calls(calls) = part {
                calls.iter_mut().for_each(&mut change);
            }
        }
        self.calls.iter_mut().for_each(change);
    }

    /// All the text, as an answer in one document has it.
    pub fn text(&self) -> String {
        let texts = self.parts.iter().filter_map(|part| match part {
            Part::Text(tokens) => Some(tokens.joined()),
            Part::Thinking(_) | Part::Calls(_) => None,
        });
        texts.chain([self.closing.clone()]).collect()
    }

    /// All the thinking.
    pub fn thinking(&self) -> String {
        let texts = self.parts.iter().filter_map(|part| match part {
            Part::Thinking(tokens) => Some(tokens.joined()),
            Part::Text(_) | Part::Calls(_) => None,
        });
        texts.collect()
    }

    /// All the calls.
    pub fn all_calls(&self) -> Vec<Call> {
        let calls = self.parts.iter().filter_map(|part| match part {
            Part::Calls(calls) => Some(calls.clone()),
            Part::Text(_) | Part::Thinking(_) => None,
        });
        calls.flatten().chain(self.calls.iter().cloned()).collect()
    }
}

impl Part {
    fn steps(&self) -> usize {
        match self {
            Self::Text(tokens) | Self::Thinking(tokens) => tokens.count(),
            Self::Calls(_) => 1,
        }
    }

    fn step(&self, place: usize) -> Option<Step<'_>> {
        match self {
            Self::Text(tokens) => tokens.get(place).map(Step::Text),
            Self::Thinking(tokens) => tokens.get(place).map(Step::Thinking),
            Self::Calls(calls) => Some(Step::Calls(calls)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::Emission;
    use crate::tokens::Tokenizer;

    fn call(name: &str) -> Say {
        Say::Call {
            name: name.to_owned(),
            arguments: json!({"a": 1}),
        }
    }

    fn script(emission: Emission, limit: Option<usize>, says: Vec<Say>) -> Script {
        let hearing = Hearing {
            emission,
            tag: None,
            tools: vec!["f".to_owned()],
            thinks: true,
        };
        Script::new(
            says,
            &Rules {
                hearing,
                limit: limit.unwrap_or(1000),
                length: None,
                ids: Ids::of(b"x"),
                tokenizer: Tokenizer::default(),
            },
        )
    }

    fn says() -> Vec<Say> {
        vec![
            Say::Thinking("hm hm".to_owned()),
            Say::Text("Let me see".to_owned()),
            call("f"),
            call("g"),
        ]
    }

    #[test]
    fn rendered_calls_have_chunks_of_their_own() {
        let script = script(Emission::Rendered, None, says());
        assert_eq!(script.steps(), 7);
        assert_eq!(script.step(1), Some(Step::Thinking(" hm".into())));
        assert_eq!(script.step(2), Some(Step::Text("Let".into())));
        let Some(Step::Calls([second])) = script.step(6) else {
            panic!("{script:?}")
        };
        assert_eq!(
            (second.function.index, second.function.name.as_str()),
            (1, "g")
        );
        let id = second.id.as_deref().unwrap();
        assert!(id.starts_with("call_") && id.len() == 13, "{id}");
        assert_eq!((script.calls.len(), script.all_calls().len()), (0, 2));
        assert_eq!(script.step(7), None);
        assert_eq!(script.ending, Ending::Done("stop"));
    }

    #[test]
    fn native_calls_come_last() {
        let script = script(Emission::Native, None, says());
        assert_eq!((script.steps(), script.calls.len()), (5, 2));
        let id = script.calls[0].id.as_deref().unwrap();
        assert!(
            id.len() == 32 && id.chars().all(char::is_alphanumeric),
            "{id}"
        );
        assert_ne!(script.calls[1].id.as_deref(), Some(id));
    }

    #[test]
    fn calls_can_be_text_or_nothing() {
        let text = script(Emission::Text, None, vec![call("f")]);
        assert_eq!(text.text(), r#"{"name":"f","parameters":{"a":1}}"#);
        let nothing = script(Emission::Swallow, None, vec![call("f")]);
        assert_eq!(
            (nothing.text(), nothing.all_calls().len()),
            (String::new(), 0)
        );
        assert!(nothing.spoken > 0);
    }

    #[test]
    fn a_limit_cuts_text() {
        let script = script(Emission::Rendered, Some(3), says());
        assert_eq!((script.steps(), script.text().as_str()), (3, "Let"));
        assert_eq!((script.ending, script.spoken), (Ending::Done("length"), 3));
    }

    #[test]
    fn a_limit_inside_a_call_depends_on_the_server() {
        let rendered = script(Emission::Rendered, Some(6), says());
        assert_eq!(rendered.all_calls(), []);
        assert_eq!(rendered.ending, Ending::Done("length"));
        assert!(r#"{"name":"f","parameters":{"a":1}}"#.starts_with(&rendered.closing));
        assert!(!rendered.closing.is_empty());
        let native = script(Emission::Native, Some(6), says());
        let message = r#"llama-server returned invalid tool call arguments for "f": unexpected end of JSON input"#;
        assert_eq!(native.ending, Ending::Error(Refusal::internal(message)));
        assert_eq!(native.steps(), 5);
    }

    #[test]
    fn what_a_model_writes_is_heard_by_the_server() {
        let written = r#"<think>Hm hm</think>{"name": "f", "parameters": {"a": 1}}"#;
        let rendered = script(Emission::Rendered, None, vec![Say::Raw(written.to_owned())]);
        assert_eq!(rendered.thinking(), "Hm hm");
        assert_eq!(rendered.all_calls()[0].function.arguments, json!({"a": 1}));
        assert_eq!(rendered.ending, Ending::Done("stop"));
        let cut = script(
            Emission::Rendered,
            Some(5),
            vec![Say::Raw(written.to_owned())],
        );
        assert_eq!(cut.all_calls(), []);
        assert_eq!(cut.closing, r#"{"name": "f", "parameters": {"a":"#);
        assert_eq!((cut.ending, cut.spoken), (Ending::Done("length"), 5));
    }

    #[test]
    fn an_endless_text_ends_by_its_length_or_by_equal_tokens() {
        let told =
            |emission, text: &str| script(emission, Some(40), vec![Say::Endless(text.to_owned())]);
        let lines = told(Emission::Rendered, "a b ");
        assert_eq!((lines.ending, lines.spoken), (Ending::Done("length"), 40));
        let equal = told(Emission::Rendered, " a");
        assert_eq!((equal.ending, equal.spoken), (Ending::Missing, REPEATS));
        let native = told(Emission::Native, " a");
        assert_eq!((native.ending, native.spoken), (Ending::Done("length"), 40));
        let nothing = told(Emission::Rendered, "");
        assert_eq!((nothing.ending, nothing.spoken), (Ending::Done("stop"), 0));
    }
}
