//! What came of a request, in a form that can be compared: without times, ids and names of folders.

use std::fmt;

use serde_json::Value;
use swarm_model::{ChatError, Completion};

/// What the models of `scripts/ollama_models.py` say that were not told what to say.
const PLAIN: &str = "Hello, this model was made by hand.";

/// What came of a case.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The server refused the request.
    Refused {
        /// The status.
        status: u16,
        /// The text of `error`, or the body.
        text: String,
    },
    /// The server began to answer.
    Answer(Vec<Part>),
    /// The client of the product gave an answer.
    Completed(Completion),
    /// The client of the product gave a typed error.
    Failed(ChatError),
    /// What a case found out by itself.
    Fact(String),
}

/// A part of an answer, in the order of its chunks.
#[derive(Debug, Clone, PartialEq)]
pub enum Part {
    /// Text; that of neighbouring chunks in one.
    Text(String),
    /// Thinking; that of neighbouring chunks in one.
    Thinking(String),
    /// A call of a tool.
    Call {
        /// The tool.
        name: String,
        /// Its arguments, as they came.
        arguments: Value,
        /// What ids look like: `call_+8` is a prefix and eight more characters.
        id: String,
    },
    /// The chunk that ends the answer, and its reason. What follows is in that chunk.
    Done(Option<String>),
    /// An error in the middle of the answer.
    Error(String),
    /// The answer ends without `done`.
    NoDone,
}

/// An answer, chunk by chunk.
#[derive(Debug)]
pub struct Reply {
    status: u16,
    streamed: bool,
    raw: String,
    /// Its chunks; one alone when it was not streamed.
    pub chunks: Vec<Value>,
}

impl Reply {
    /// Reads a response to its end.
    pub async fn read(response: reqwest::Response) -> Self {
        let status = response.status().as_u16();
        let content = response.headers().get("content-type").cloned();
        let streamed = content.is_some_and(|content| content == "application/x-ndjson");
        let raw = response.text().await.expect("a whole body");
        Self {
            status,
            streamed,
            ..Self::of_stream(raw.as_bytes())
        }
    }

    /// A stream that was read.
    pub fn of_stream(body: &[u8]) -> Self {
        let raw = String::from_utf8_lossy(body).into_owned();
        let chunks = raw.lines().map(serde_json::from_str);
        let chunks = chunks.collect::<Result<_, _>>().unwrap_or_default();
        Self {
            status: 200,
            streamed: true,
            raw,
            chunks,
        }
    }

    /// The value of a field of the last chunk; null when it has none.
    pub fn last(&self, field: &str) -> &Value {
        self.chunks.last().map_or(&Value::Null, |last| &last[field])
    }

    /// Whether the answer is complete.
    pub fn is_done(&self) -> bool {
        self.last("done") == true
    }

    /// When the server wrote the first chunk and the last one, by its clock.
    pub fn span(&self) -> (Moment, Moment) {
        let moment = |chunk: Option<&Value>| moment(&chunk.expect("a chunk")["created_at"]);
        (moment(self.chunks.first()), moment(self.chunks.last()))
    }

    /// All text in a row.
    pub fn text(&self) -> String {
        let texts = self.chunks.iter();
        texts
            .filter_map(|chunk| chunk["message"]["content"].as_str())
            .collect()
    }

    /// What it comes to.
    pub fn outcome(&self) -> Outcome {
        if self.status != 200 {
            return Outcome::Refused {
                status: self.status,
                text: self.refusal(),
            };
        }
        let mut parts = Vec::new();
        for chunk in &self.chunks {
            read_chunk(chunk, &mut parts);
        }
        if !self.streamed {
            // There is one chunk, and nothing to tell apart.
            let done_is_first = matches!(parts.first(), Some(Part::Done(_)));
            parts.rotate_left(usize::from(done_is_first));
        }
        let ended = |part: &Part| matches!(part, Part::Done(_) | Part::Error(_));
        if !parts.iter().any(ended) {
            parts.push(Part::NoDone);
        }
        Outcome::Answer(parts)
    }

    fn refusal(&self) -> String {
        match self.chunks.first().map(|body| &body["error"]) {
            Some(Value::String(text)) => text.clone(),
            _ => self.raw.clone(),
        }
    }
}

/// A moment in UTC: to the second, and the digits behind, without zeros at the end.
pub type Moment = (String, String);

fn moment(value: &Value) -> Moment {
    let text = value.as_str().expect("a time").trim_end_matches('Z');
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    (seconds.to_owned(), fraction.to_owned())
}

fn read_chunk(chunk: &Value, parts: &mut Vec<Part>) {
    if let Some(text) = chunk["error"].as_str() {
        parts.push(Part::Error(text.to_owned()));
        return;
    }
    if chunk["done"] == true {
        let reason = chunk["done_reason"].as_str();
        parts.push(Part::Done(reason.map(str::to_owned)));
    }
    let message = &chunk["message"];
    if let Some(more) = message["thinking"].as_str().filter(|text| !text.is_empty()) {
        match parts.last_mut() {
            Some(Part::Thinking(text)) => text.push_str(more),
            _ => parts.push(Part::Thinking(more.to_owned())),
        }
    }
    if let Some(more) = message["content"].as_str().filter(|text| !text.is_empty()) {
        match parts.last_mut() {
            Some(Part::Text(text)) => text.push_str(more),
            _ => parts.push(Part::Text(more.to_owned())),
        }
    }
    for call in message["tool_calls"].as_array().into_iter().flatten() {
        parts.push(Part::Call {
            name: call["function"]["name"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
            arguments: sorted(&call["function"]["arguments"]),
            id: shape(call["id"].as_str()),
        });
    }
}

/// A server gives the members of an object in any order.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_unstable_by_key(|(name, _)| *name);
            let sorted = members
                .into_iter()
                .map(|(name, value)| (name.clone(), sorted(value)));
            Value::Object(sorted.collect())
        }
        Value::Array(items) => items.iter().map(sorted).collect(),
        other => other.clone(),
    }
}

/// What an id looks like.
fn shape(id: Option<&str>) -> String {
    let Some(id) = id else {
        return "no id".to_owned();
    };
    match id.split_once('_') {
        Some((prefix, rest)) => format!("id {prefix}_+{}", rest.len()),
        None => format!("id +{}", id.len()),
    }
}

impl Outcome {
    /// Of an answer of the product's client.
    pub fn of_client(result: Result<Completion, ChatError>) -> Self {
        match result {
            Ok(completion) => Self::Completed(completion),
            Err(error) => Self::Failed(error),
        }
    }

    /// A text that a person reads.
    pub fn said(text: &str) -> Self {
        Self::Fact(shortened(text))
    }

    /// A fact.
    pub fn fact(text: impl Into<String>) -> Self {
        Self::Fact(text.into())
    }
}

/// A text in quotes, when it matters which it is, and its beginning alone when it is long.
fn shortened(text: &str) -> String {
    const MOST: usize = 90;
    // What a model says that was not told what to say.
    if text == PLAIN {
        return "a text".to_owned();
    }
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

/// Addresses and ports are another on each run.
fn without_address(text: &str) -> String {
    let mut kept = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("127.0.0.1:") {
        kept.push_str(before);
        kept.push_str("HOST");
        rest = after.trim_start_matches(|letter: char| letter.is_ascii_digit());
    }
    kept + rest
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { status, text } if text.is_empty() => {
                write!(formatter, "{status}, empty body")
            }
            Self::Refused { status, text } => {
                write!(formatter, "{status} `{}`", without_address(text.trim()))
            }
            Self::Answer(parts) => {
                let shown: Vec<String> = parts.iter().map(ToString::to_string).collect();
                formatter.write_str(&shown.join(", "))
            }
            Self::Completed(completion) => {
                let text = shortened(&completion.text);
                write!(formatter, "{text}, {:?}", completion.done_reason)
            }
            Self::Failed(error) => {
                let said = without_address(&error.to_string());
                write!(formatter, "{}: {said}", error.code().as_str())
            }
            Self::Fact(text) => formatter.write_str(text),
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => formatter.write_str(&shortened(text)),
            Self::Thinking(text) => write!(formatter, "thinking {}", shortened(text)),
            Self::Call {
                name,
                arguments,
                id,
            } => write!(formatter, "call {name} {arguments} ({id})"),
            Self::Done(Some(reason)) => write!(formatter, "done {reason}"),
            Self::Done(None) => formatter.write_str("done without a reason"),
            Self::Error(text) => write!(formatter, "error `{}`", without_address(text)),
            Self::NoDone => formatter.write_str("ends without done"),
        }
    }
}
