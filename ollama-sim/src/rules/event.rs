//! What a rule makes a model say.

use std::time::Duration;

use axum::http::StatusCode;
use serde::{Deserialize, Deserializer, de};
use serde_json::Value;

use super::Subject;
use super::when::Groups;
use crate::conversation;
use crate::default::{self, Question};
use crate::fault::Fault;
use crate::options;
use crate::refusal::Refusal;
use crate::script::{Ending, Say};

/// One thing that happens. In files: an object with one field, or the bare name.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// Text, as it is.
    Text(String),
    /// Text with `{name}` for what a group caught, and `{tool}`, `{tool_name}`, `{user}` and `{model}`.
    Template(String),
    /// What the model writes, out of which the server reads thinking and calls.
    Raw(String),
    /// The same over and over, until nothing more may be spoken.
    Endless(String),
    /// Thinking.
    Thinking(String),
    /// The last message, as text.
    Echo,
    /// A call.
    ToolCall(ToolCall),
    /// Several calls.
    ToolCalls(Vec<ToolCall>),
    /// A document; null for one that satisfies the `format`.
    Json(Value),
    /// What would be said without a rule.
    Default,
    /// An error: a status if it is the first event, else a last line.
    Error(Failure),
    /// How it ends.
    End(End),
    /// A fault besides.
    Fault(Fault),
    /// Time to the first token.
    #[serde(deserialize_with = "span")]
    Latency(Duration),
    /// Tokens per second.
    TokensPerSecond(f64),
}

/// A call that a rule makes.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolCall {
    name: String,
    /// Strings in it are templates; left out, they are made from the tool's schema.
    #[serde(default)]
    arguments: Value,
}

/// An error that a rule makes.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    #[serde(default = "internal")]
    status: u16,
    text: String,
}

/// How an answer ends.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// As it should.
    Stop,
    /// Cut by its length.
    Length,
    /// Without `done`.
    Missing,
}

/// What a rule leads to.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What is said.
    pub says: Vec<Say>,
    /// How it ends, if the rule says so.
    pub ending: Option<Ending>,
    /// What goes wrong.
    pub faults: Vec<Fault>,
    /// Time to the first token.
    pub latency: Option<Duration>,
    /// Tokens per second.
    pub tokens_per_second: Option<f64>,
}

impl Outcome {
    /// What these events lead to. Nothing said and no end is what would be said without a rule: so a rule can be for a
    /// fault or a pace alone.
    pub fn of(events: &[Event], subject: Subject<'_>, groups: &Groups) -> Self {
        let mut outcome = Self::default();
        for event in events {
            outcome.add(event, subject, groups);
        }
        if outcome.says.is_empty() && outcome.ending.is_none() {
            outcome.says = default::answer(question(subject));
        }
        outcome
    }

    fn add(&mut self, event: &Event, subject: Subject<'_>, groups: &Groups) {
        let template = |text: &str| filled(text, subject, groups);
        let call = |call: &ToolCall| Say::Call {
            name: template(&call.name),
            arguments: arguments(call, subject, groups),
        };
        match event {
            Event::Text(text) => self.says.push(Say::Text(text.clone())),
            Event::Template(text) => self.says.push(Say::Text(template(text))),
            Event::Raw(text) => self.says.push(Say::Raw(text.clone())),
            Event::Endless(text) => self.says.push(Say::Endless(text.clone())),
            Event::Thinking(text) => self.says.push(Say::Thinking(template(text))),
            Event::Echo => {
                let last = subject.messages.last();
                let last = last.map_or(String::new(), |message| message.content.clone());
                self.says.push(Say::Text(last));
            }
            Event::ToolCall(one) => self.says.push(call(one)),
            Event::ToolCalls(all) => self.says.extend(all.iter().map(call)),
            Event::Json(Value::Null) => {
                let instance = default::instance(question(subject));
                self.says.push(Say::Text(instance.to_string()));
            }
            Event::Json(document) => self.says.push(Say::Text(document.to_string())),
            Event::Default => self.says.extend(default::answer(question(subject))),
            Event::Error(failure) => self.ending = Some(Ending::Error(failure.refusal())),
            Event::End(end) => self.ending = Some(end.ending()),
            Event::Fault(fault) => self.faults.push(fault.clone()),
            Event::Latency(span) => self.latency = Some(*span),
            Event::TokensPerSecond(rate) => self.tokens_per_second = Some(*rate),
        }
    }
}

impl Failure {
    fn refusal(&self) -> Refusal {
        Refusal {
            status: StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            message: self.text.clone(),
        }
    }
}

impl End {
    fn ending(self) -> Ending {
        match self {
            Self::Stop => Ending::Done("stop"),
            Self::Length => Ending::Done("length"),
            Self::Missing => Ending::Missing,
        }
    }
}

fn question(subject: Subject<'_>) -> Question<'_> {
    Question {
        model: subject.model,
        messages: subject.messages,
        tools: subject.tools,
        format: subject.format,
        reads_calls: false,
    }
}

fn arguments(call: &ToolCall, subject: Subject<'_>, groups: &Groups) -> Value {
    if call.arguments.is_null() {
        let task = crate::answer::task(conversation::last(subject.messages, "user"));
        let mut tools = subject.tools.iter();
        let offered = tools.find(|tool| tool.name == call.name);
        return offered.map_or_else(|| serde_json::json!({}), |tool| tool.arguments(&task));
    }
    let mut arguments = call.arguments.clone();
    fill_strings(&mut arguments, subject, groups);
    arguments
}

fn fill_strings(value: &mut Value, subject: Subject<'_>, groups: &Groups) {
    match value {
        Value::String(text) => *text = filled(text, subject, groups),
        Value::Array(items) => {
            for item in items {
                fill_strings(item, subject, groups);
            }
        }
        Value::Object(fields) => {
            for field in fields.values_mut() {
                fill_strings(field, subject, groups);
            }
        }
        _ => {}
    }
}

/// Puts in what is known by name. Braces around anything else stay.
fn filled(text: &str, subject: Subject<'_>, groups: &Groups) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        let found = after
            .split_once('}')
            .and_then(|(name, behind)| Some((known(name, subject, groups)?, behind)));
        match found {
            Some((value, behind)) => {
                out.push_str(&value);
                rest = behind;
            }
            None => {
                out.push('{');
                rest = after;
            }
        }
    }
    out + rest
}

fn known(name: &str, subject: Subject<'_>, groups: &Groups) -> Option<String> {
    if let Some(caught) = groups.get(name) {
        return Some(caught.clone());
    }
    let results = || conversation::results(subject.messages);
    match name {
        "model" => Some(subject.model.to_owned()),
        "user" => Some(conversation::last(subject.messages, "user").to_owned()),
        "tool" => Some(
            results()
                .pop()
                .map_or(String::new(), |(_, result)| result.to_owned()),
        ),
        "tool_name" => Some(results().pop().map_or(String::new(), |(tool, _)| tool)),
        _ => None,
    }
}

fn span<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    options::duration(&text).map_err(de::Error::custom)
}

fn internal() -> u16 {
    500
}
