//! The body of a chat request.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::answer::Message;
use crate::directive::{self, Directives};
use crate::refusal::Refusal;

/// A chat request whose JSON is sound. Nothing is checked against the model yet.
#[derive(Debug)]
pub struct ChatRequest {
    /// The model's name as the client wrote it, not empty.
    pub model: String,
    /// All messages; the directives of the last user message are taken out.
    pub messages: Vec<Message>,
    /// What those directives ask for.
    pub directives: Directives,
    /// Whether the answer is to come in chunks; it is unless the client says no.
    pub stream: bool,
    /// Whether tools are offered.
    pub tools: bool,
    /// Whether the client asks the model to think.
    pub think: bool,
    /// Whether a prompt that is too long may be cut; it may unless the client says no.
    pub truncate: bool,
    /// Whether the model is to be unloaded (`keep_alive` is zero).
    pub unload: bool,
    /// `format` as it came.
    pub format: Value,
    /// `options` as they came.
    pub options: Map<String, Value>,
}

/// The JSON document. Null and missing are the same for every field, as in Go.
#[derive(Deserialize)]
struct Wire {
    model: Option<String>,
    messages: Option<Vec<WireMessage>>,
    stream: Option<bool>,
    format: Option<Value>,
    keep_alive: Option<Value>,
    tools: Option<Vec<Value>>,
    options: Option<Map<String, Value>>,
    think: Option<Value>,
    truncate: Option<bool>,
}

#[derive(Deserialize)]
struct WireMessage {
    role: Option<String>,
    content: Option<String>,
}

impl ChatRequest {
    /// Reads a body.
    ///
    /// # Errors
    /// 400: no JSON, a field of a wrong type, no model, a bad directive.
    pub fn parse(body: &[u8]) -> Result<Self, Refusal> {
        let wire: Wire =
            serde_json::from_slice(body).map_err(|error| Refusal::bad_json(&error, body))?;
        let think = wire.think.as_ref().map_or(Ok(false), think)?;
        let model = wire.model.unwrap_or_default();
        if model.trim().is_empty() {
            return Err(Refusal::bad_request("model is required"));
        }
        let mut messages: Vec<Message> = wire
            .messages
            .unwrap_or_default()
            .into_iter()
            .map(Message::from)
            .collect();
        let mut directives = Directives::default();
        if let Some(user) = messages.iter_mut().rfind(|message| message.role == "user") {
            (user.content, directives) = directive::extract(&user.content)?;
        }
        Ok(Self {
            model,
            messages,
            directives,
            stream: wire.stream.unwrap_or(true),
            tools: wire.tools.is_some_and(|tools| !tools.is_empty()),
            think,
            truncate: wire.truncate.unwrap_or(true),
            unload: wire.keep_alive.as_ref().is_some_and(is_zero),
            format: wire.format.unwrap_or_default(),
            options: wire.options.unwrap_or_default(),
        })
    }
}

impl From<WireMessage> for Message {
    fn from(wire: WireMessage) -> Self {
        Self {
            role: wire.role.unwrap_or_default().to_lowercase(),
            content: wire.content.unwrap_or_default(),
        }
    }
}

fn think(value: &Value) -> Result<bool, Refusal> {
    const LEVELS: [&str; 4] = ["high", "medium", "low", "max"];
    match value {
        Value::Bool(think) => Ok(*think),
        Value::String(level) if LEVELS.contains(&level.as_str()) => Ok(true),
        other => Err(Refusal::bad_request(format!(
            r#"invalid think value: {other} (must be "high", "medium", "low", "max", true, or false)"#
        ))),
    }
}

fn is_zero(keep_alive: &Value) -> bool {
    match keep_alive {
        Value::Number(seconds) => seconds.as_f64() == Some(0.0),
        Value::String(span) => matches!(span.as_str(), "0" | "0s" | "0m" | "0h"),
        _ => false,
    }
}
