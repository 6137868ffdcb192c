//! What someone submits: plain text, or a JSON document that begins with `{`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::answer::Usage;
use crate::error::{Code, ErrorBody};
use crate::ids::{AgentName, hex};
use crate::limits::{MAX_LABEL_BYTES, MAX_LABELS, MAX_TASKS};
use crate::time::Span;

/// How the answers of several agents become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Aggregate {
    /// The summarizer agent writes one text from them.
    Summarize,
    /// The texts under their agents' names.
    Concat,
    /// The most frequent text; of equally frequent ones the earliest.
    Vote,
    /// The first answer that comes; the others are canceled.
    First,
    /// A JSON object with the answer of each task, parsed where it is JSON.
    Json,
}

/// What a run may use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Budget {
    /// Model calls.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub model_calls: Option<u64>,
    /// Tool calls.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tool_calls: Option<u64>,
    /// Tokens, read and written.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tokens: Option<u64>,
    /// Handoffs between agents.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub handoffs: Option<u64>,
    /// Depth of agents that ask agents.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub depth: Option<u64>,
}

impl Budget {
    /// What this one says, and of what it does not say, the other one.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            model_calls: self.model_calls.or(other.model_calls),
            tool_calls: self.tool_calls.or(other.tool_calls),
            tokens: self.tokens.or(other.tokens),
            handoffs: self.handoffs.or(other.handoffs),
            depth: self.depth.or(other.depth),
        }
    }

    /// What is left when this was used.
    #[must_use]
    pub fn without(self, used: Usage) -> Self {
        let left = |bound: Option<u64>, used: u64| bound.map(|bound| bound.saturating_sub(used));
        Self {
            model_calls: left(self.model_calls, used.model_calls),
            tool_calls: left(self.tool_calls, used.tool_calls),
            tokens: left(
                self.tokens,
                used.input_tokens.saturating_add(used.output_tokens),
            ),
            ..self
        }
    }

    /// The share of the `index`th of `parts`, all of which together are the whole. Depth is no amount, and stays.
    #[must_use]
    pub fn share(self, index: u64, parts: u64) -> Self {
        let parts = parts.max(1);
        let share = |bound: Option<u64>| {
            bound.map(|bound| bound / parts + u64::from(index < bound % parts))
        };
        Self {
            model_calls: share(self.model_calls),
            tool_calls: share(self.tool_calls),
            tokens: share(self.tokens),
            handoffs: share(self.handoffs),
            depth: self.depth,
        }
    }

    /// Whether it bounds nothing.
    #[must_use]
    pub fn is_unbounded(&self) -> bool {
        *self == Self::default()
    }
}

/// A submission: SUBMISSION. `task` or `workflow` is needed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Submission {
    /// What is to be done.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub task: Option<String>,
    /// The agents that get it, each its own copy.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub agents: Option<Vec<AgentName>>,
    /// How their answers become one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub aggregate: Option<Aggregate>,
    /// Answers that are enough: 1 to the number of agents; all but one when not given.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub min_answers: Option<u32>,
    /// More text that every agent gets beside the task.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub context: Option<String>,
    /// The workflow to run.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub workflow: Option<String>,
    /// Inputs of the workflow.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub inputs: Option<Map<String, Value>>,
    /// From submission to end.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub timeout: Option<Span>,
    /// How long a task may wait for an agent.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub queue_timeout: Option<Span>,
    /// What the run may use.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub budget: Option<Budget>,
    /// Names and values to find the run by.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub labels: Option<BTreeMap<String, String>>,
}

impl Submission {
    /// A submission of plain text.
    pub fn of_task(task: impl Into<String>) -> Self {
        Self {
            task: Some(task.into()),
            ..Self::default()
        }
    }

    /// Reads a payload: JSON when it begins with `{`, otherwise the text of a task.
    ///
    /// # Errors
    /// `SW-EMPTY`, `SW-ENCODING`, `SW-JSON` or `SW-FIELD`, the last with the field's name.
    pub fn parse(payload: &[u8]) -> Result<Self, ErrorBody> {
        let text = std::str::from_utf8(payload).map_err(|error| {
            let message = format!(
                "the payload is not UTF-8: byte {} is wrong",
                error.valid_up_to() + 1
            );
            ErrorBody::new(Code::Encoding, message)
        })?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        if text.trim_start().starts_with('{') {
            return Self::from_json(text);
        }
        check_text("task", text, Code::Encoding)?;
        Ok(Self::of_task(text.trim()))
    }

    fn from_json(text: &str) -> Result<Self, ErrorBody> {
        let mut fields: Map<String, Value> = serde_json::from_str(text).map_err(|error| {
            let advice = "a payload that begins with { must be a JSON object, any other is taken as the task's text";
            ErrorBody::new(Code::Json, format!("{error}; {advice}"))
        })?;
        let submission = Self {
            task: read(&mut fields, "task", "a text")?,
            agents: read(&mut fields, "agents", "a list of agent names")?,
            aggregate: read(&mut fields, "aggregate", "summarize or concat")?,
            min_answers: read(
                &mut fields,
                "min_answers",
                "a whole number from 1 to the number of agents",
            )?,
            context: read(&mut fields, "context", "a text")?,
            workflow: read(&mut fields, "workflow", "the name of a workflow")?,
            inputs: read(&mut fields, "inputs", "an object")?,
            timeout: read(&mut fields, "timeout", "a length of time such as \"10m\"")?,
            queue_timeout: read(
                &mut fields,
                "queue_timeout",
                "a length of time such as \"10m\"",
            )?,
            budget: read(&mut fields, "budget", "an object of whole numbers")?,
            labels: read(&mut fields, "labels", "an object of texts")?,
        };
        submission.check()?;
        Ok(submission)
    }

    /// Checks what the types alone cannot.
    ///
    /// # Errors
    /// `SW-EMPTY`, `SW-ENCODING` or `SW-FIELD`.
    pub fn check(&self) -> Result<(), ErrorBody> {
        if self.task.is_none() && self.workflow.is_none() {
            return Err(
                ErrorBody::new(Code::Field, "task is missing: give the text of the task")
                    .field("task"),
            );
        }
        for (field, text) in [("task", &self.task), ("context", &self.context)] {
            if let Some(text) = text {
                check_text(field, text, Code::Field)?;
            }
        }
        self.check_agents()?;
        self.check_labels()
    }

    fn check_agents(&self) -> Result<(), ErrorBody> {
        let Some(agents) = &self.agents else {
            return Ok(());
        };
        if agents.is_empty() {
            let message =
                "agents is empty: name at least one, or leave the field out for the default team";
            return Err(ErrorBody::new(Code::Field, message).field("agents"));
        }
        if agents.len() >= MAX_TASKS {
            let message = format!(
                "{} agents are too many: a run has at most {MAX_TASKS} open tasks",
                agents.len()
            );
            return Err(ErrorBody::new(Code::Field, message).field("agents"));
        }
        Ok(())
    }

    fn check_labels(&self) -> Result<(), ErrorBody> {
        let Some(labels) = &self.labels else {
            return Ok(());
        };
        let fits = |text: &String| text.len() <= MAX_LABEL_BYTES;
        if labels.len() <= MAX_LABELS
            && labels.iter().all(|(name, value)| fits(name) && fits(value))
        {
            return Ok(());
        }
        let message = format!(
            "labels: at most {MAX_LABELS}, their names and values of at most {MAX_LABEL_BYTES} bytes"
        );
        Err(ErrorBody::new(Code::Field, message).field("labels"))
    }
}

/// What makes two submissions of one id the same: SHA-256 of payload and target, in hexadecimal.
#[must_use]
pub fn content_hash(payload: &[u8], target: Option<&str>) -> String {
    let mut hash = Sha256::new();
    hash.update(payload.len().to_be_bytes());
    hash.update(payload);
    if let Some(target) = target {
        hash.update(b".");
        hash.update(target.as_bytes());
    }
    hex(&hash.finalize())
}

fn read<T: DeserializeOwned>(
    fields: &mut Map<String, Value>,
    field: &str,
    wanted: &str,
) -> Result<Option<T>, ErrorBody> {
    match fields.remove(field) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => serde_json::from_value(value).map(Some).map_err(|error| {
            ErrorBody::new(
                Code::Field,
                format!("{field} is wrong: {error}; {wanted} is accepted"),
            )
            .field(field)
        }),
    }
}

fn check_text(field: &str, text: &str, code: Code) -> Result<(), ErrorBody> {
    if text.trim().is_empty() {
        let message = format!("the {field} is empty: give its text");
        return Err(ErrorBody::new(Code::Empty, message).field(field));
    }
    let control = text
        .char_indices()
        .find(|(_, c)| c.is_control() && !matches!(c, '\t' | '\n' | '\r'));
    match control {
        None => Ok(()),
        Some((at, c)) => {
            let message = format!(
                "the {field} holds the control character {} at byte {}",
                c.escape_unicode(),
                at + 1
            );
            Err(ErrorBody::new(code, message).field(field))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refused(payload: &[u8]) -> (String, Option<String>) {
        let error = Submission::parse(payload).unwrap_err();
        (error.code, error.field)
    }

    #[test]
    fn text_is_a_task() {
        assert_eq!(
            Submission::parse("\u{feff}Why?\n".as_bytes()),
            Ok(Submission::of_task("Why?"))
        );
        assert_eq!(
            Submission::parse(b"[1, 2]"),
            Ok(Submission::of_task("[1, 2]"))
        );
    }

    #[test]
    fn a_whole_document_is_read() {
        let payload = br#" {"task":"t","agents":["a","b"],"aggregate":"concat","min_answers":1,"context":"c","timeout":"10m",
            "queue_timeout":"1m","budget":{"model_calls":3},"labels":{"k":"v"},"unknown":true}"#;
        let expected = Submission {
            task: Some("t".into()),
            agents: Some(vec!["a".parse().unwrap(), "b".parse().unwrap()]),
            aggregate: Some(Aggregate::Concat),
            min_answers: Some(1),
            context: Some("c".into()),
            timeout: Some(Span::from_secs(600)),
            queue_timeout: Some(Span::from_secs(60)),
            budget: Some(Budget {
                model_calls: Some(3),
                ..Budget::default()
            }),
            labels: Some(BTreeMap::from([("k".into(), "v".into())])),
            ..Submission::default()
        };
        assert_eq!(Submission::parse(payload), Ok(expected));
    }

    #[test]
    fn bad_payloads_name_code_and_field() {
        let at = |code: &str, field: Option<&str>| (code.to_owned(), field.map(str::to_owned));
        assert_eq!(refused(b""), at("SW-EMPTY", Some("task")));
        assert_eq!(refused(b" \n"), at("SW-EMPTY", Some("task")));
        assert_eq!(refused(b"\xff\xfe"), at("SW-ENCODING", None));
        assert_eq!(refused(b"a\x00b"), at("SW-ENCODING", Some("task")));
        assert_eq!(refused(b"{\"task\":"), at("SW-JSON", None));
        assert_eq!(refused(b"{}"), at("SW-FIELD", Some("task")));
        assert_eq!(refused(br#"{"task":7}"#), at("SW-FIELD", Some("task")));
        assert_eq!(refused(br#"{"task":""}"#), at("SW-EMPTY", Some("task")));
        assert_eq!(
            refused(br#"{"task":"t","agents":[]}"#),
            at("SW-FIELD", Some("agents"))
        );
        assert_eq!(
            refused(br#"{"task":"t","agents":["a.b"]}"#),
            at("SW-FIELD", Some("agents"))
        );
        assert_eq!(
            refused(br#"{"task":"t","agents":"a"}"#),
            at("SW-FIELD", Some("agents"))
        );
        assert_eq!(
            refused(br#"{"task":"t","min_answers":-1}"#),
            at("SW-FIELD", Some("min_answers"))
        );
        assert_eq!(
            refused(br#"{"task":"t","min_answers":1e99}"#),
            at("SW-FIELD", Some("min_answers"))
        );
        assert_eq!(
            refused(br#"{"task":"t","timeout":"-1s"}"#),
            at("SW-FIELD", Some("timeout"))
        );
        assert_eq!(
            refused(br#"{"task":"t","aggregate":"sum"}"#),
            at("SW-FIELD", Some("aggregate"))
        );
        let long = format!(r#"{{"task":"t","labels":{{"k":"{}"}}}}"#, "v".repeat(65));
        assert_eq!(refused(long.as_bytes()), at("SW-FIELD", Some("labels")));
    }

    #[test]
    fn content_is_payload_and_target() {
        let hash = |payload: &str, target| content_hash(payload.as_bytes(), target);
        assert_eq!(hash("a", Some("b")), hash("a", Some("b")));
        assert_ne!(hash("a", Some("b")), hash("a", None));
        assert_ne!(hash("a.b", None), hash("a", Some("b")));
    }

    proptest! {
        #[test]
        fn no_payload_panics(payload in proptest::collection::vec(any::<u8>(), 0..200)) {
            Submission::parse(&payload).ok();
        }

        #[test]
        fn what_is_written_is_read(task in "[a-z ]{1,40}x", min in proptest::option::of(1u32..9)) {
            let submission = Submission { min_answers: min, ..Submission::of_task(task) };
            let json = serde_json::to_vec(&submission).unwrap();
            prop_assert_eq!(Submission::parse(&json), Ok(submission));
        }
    }
}
