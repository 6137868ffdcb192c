//! The body of a chat request.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::conversation::Message;
use crate::default::Tool;
use crate::directive::{self, Directives};
use crate::keep_alive::KeepAlive;
use crate::models::Model;
use crate::refusal::Refusal;
use crate::release::Release;

use super::document::Shape;

/// A chat request whose JSON is sound. Nothing is checked against the model yet.
#[derive(Debug)]
pub struct ChatRequest {
    /// The model's name as the client wrote it, not empty.
    pub model: String,
    /// How the answer looks.
    pub shape: Shape,
    /// Whether a gap is to be filled, which few models can.
    pub suffix: bool,
    /// All messages; the directives of the last user message are taken out.
    pub messages: Vec<Message>,
    /// What those directives ask for.
    pub directives: Directives,
    /// Whether the answer is to come in chunks; it is unless the client says no.
    pub stream: bool,
    /// The offered tools.
    pub tools: Vec<Tool>,
    /// The size of the tools in the prompt.
    pub tool_bytes: usize,
    /// Whether the client asks the model to think, or not to; `Level` for one of the words.
    pub think: Option<Think>,
    /// Whether a prompt that is too long may be cut; it may unless the client says no.
    pub truncate: bool,
    /// Whether the window slides when it is full; it does unless the client says no.
    pub shift: bool,
    /// How long the model is to stay loaded.
    pub keep_alive: Option<KeepAlive>,
    /// `format` as it came; null when it is empty.
    pub format: Value,
    /// `options` as they came.
    pub options: Map<String, Value>,
}

/// A value of `think`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Think {
    /// Yes or no.
    Flag(bool),
    /// Yes, so much.
    Level(String),
}

/// The JSON document. Null and missing are the same for every field, as in Go.
#[derive(Deserialize)]
struct Wire {
    model: Option<String>,
    messages: Option<Vec<Option<WireMessage>>>,
    stream: Option<bool>,
    format: Option<Value>,
    keep_alive: Option<Value>,
    tools: Option<Vec<Value>>,
    options: Option<Map<String, Value>>,
    think: Option<Value>,
    truncate: Option<bool>,
    shift: Option<bool>,
    top_logprobs: Option<i64>,
}

/// What `/api/generate` has in place of messages.
#[derive(Deserialize)]
struct Prompt {
    model: Option<String>,
    prompt: Option<String>,
    system: Option<String>,
    suffix: Option<String>,
    images: Option<Vec<String>>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

#[derive(Default, Deserialize)]
struct WireMessage {
    role: Option<String>,
    content: Option<String>,
    thinking: Option<String>,
    tool_calls: Option<Vec<Value>>,
    tool_name: Option<String>,
    tool_call_id: Option<String>,
    images: Option<Vec<String>>,
}

impl ChatRequest {
    /// Reads a body.
    ///
    /// # Errors
    /// 400: no JSON, a field of a wrong type, no model, a bad directive.
    pub fn parse(body: &[u8], release: Release) -> Result<Self, Refusal> {
        let wire: Wire =
            serde_json::from_slice(body).map_err(|error| Refusal::bad_json(&error, body))?;
        let think = wire
            .think
            .map(|value| Think::read(&value, release))
            .transpose()?;
        let keep_alive = wire.keep_alive.as_ref().map(KeepAlive::read).transpose()?;
        let messages = wire.messages.unwrap_or_default().into_iter();
        let mut messages = messages
            .map(|message| Message::try_from(message.unwrap_or_default()))
            .collect::<Result<Vec<_>, _>>()?;
        if !(0..=20).contains(&wire.top_logprobs.unwrap_or(0)) {
            return Err(Refusal::bad_request(
                "top_logprobs must be between 0 and 20",
            ));
        }
        let model = wire.model.unwrap_or_default();
        if model.trim().is_empty() {
            return Err(Refusal::bad_request("model is required"));
        }
        let mut directives = Directives::default();
        if let Some(user) = messages.iter_mut().rfind(|message| message.role == "user") {
            (user.content, directives) = directive::extract(&user.content)?;
        }
        let tools = wire.tools.unwrap_or_default();
        let format = wire.format.filter(|format| format != "");
        Ok(Self {
            model,
            shape: Shape::Chat,
            suffix: false,
            messages,
            directives,
            stream: wire.stream.unwrap_or(true),
            tool_bytes: tools.iter().map(|tool| tool.to_string().len()).sum(),
            tools: tools.iter().map(Tool::read).collect(),
            think,
            truncate: wire.truncate.unwrap_or(true),
            shift: wire.shift.unwrap_or(true),
            keep_alive,
            format: format.unwrap_or_default(),
            options: wire.options.unwrap_or_default(),
        })
    }

    /// Reads the body of a request for `/api/generate`: the prompt is a user message.
    ///
    /// # Errors
    /// 400 as for a chat; 404 without a model.
    pub fn parse_prompt(body: &[u8], release: Release) -> Result<Self, Refusal> {
        let wire: Prompt =
            serde_json::from_slice(body).map_err(|error| Refusal::bad_json(&error, body))?;
        let model = wire.model.unwrap_or_default();
        if model.trim().is_empty() {
            return Err(Refusal::no_model(&model));
        }
        let text = |content: Option<String>| content.filter(|content| !content.is_empty());
        let mut messages = Vec::new();
        if let Some(prompt) = text(wire.prompt) {
            if let Some(system) = text(wire.system) {
                messages.push(json!({"role": "system", "content": system}));
            }
            messages.push(json!({"role": "user", "content": prompt, "images": wire.images}));
        }
        let mut rest = Value::Object(wire.rest);
        if let Some(fields) = rest.as_object_mut() {
            fields.insert("model".to_owned(), Value::String(model));
            fields.insert("messages".to_owned(), Value::Array(messages));
            fields.remove("tools");
        }
        Ok(Self {
            shape: Shape::Generate,
            suffix: text(wire.suffix).is_some(),
            ..Self::parse(rest.to_string().as_bytes(), release)?
        })
    }

    /// Adds the system message and the options that the model has for requests without them.
    pub fn take_defaults(&mut self, model: &Model) {
        let has_system = self
            .messages
            .first()
            .is_none_or(|first| first.role == "system");
        if let (Some(system), false) = (&model.system, has_system) {
            let message = Message {
                role: "system".to_owned(),
                content: system.clone(),
                ..Message::default()
            };
            self.messages.insert(0, message);
        }
        for (name, value) in &model.parameters {
            let option = self.options.entry(name.clone());
            option.or_insert_with(|| value.clone());
        }
    }

    /// Whether the client asks for thinking.
    pub fn wants_thinking(&self) -> bool {
        matches!(self.think, Some(Think::Flag(true) | Think::Level(_)))
    }
}

impl TryFrom<WireMessage> for Message {
    type Error = Refusal;

    fn try_from(wire: WireMessage) -> Result<Self, Refusal> {
        let calls = wire.tool_calls.unwrap_or_default();
        for call in &calls {
            match call.pointer("/function/arguments") {
                None | Some(Value::Null | Value::Object(_)) => {}
                Some(_) => {
                    return Err(Refusal::bad_request(
                        "Value looks like object, but can't find closing '}' symbol",
                    ));
                }
            }
        }
        Ok(Self {
            role: wire.role.unwrap_or_default().to_lowercase(),
            content: wire.content.unwrap_or_default(),
            thinking: wire.thinking.unwrap_or_default(),
            calls,
            tool_name: wire.tool_name.unwrap_or_default(),
            tool_call_id: wire.tool_call_id.unwrap_or_default(),
            images: wire.images.map_or(0, |images| images.len()),
        })
    }
}

impl Think {
    /// Reads a value of `think`.
    ///
    /// # Errors
    /// 400 for what the release does not know.
    pub fn read(value: &Value, release: Release) -> Result<Self, Refusal> {
        let levels = release.think_levels();
        match value {
            Value::Bool(think) => return Ok(Self::Flag(*think)),
            Value::String(level) if levels.contains(&level.as_str()) => {
                return Ok(Self::Level(level.clone()));
            }
            _ => {}
        }
        let known: Vec<_> = levels.iter().map(|level| format!("{level:?}")).collect();
        let known = known.join(", ");
        Err(Refusal::bad_request(if value.is_string() {
            format!("invalid think value: {value} (must be {known}, true, or false)")
        } else {
            format!("think must be a boolean or string ({known}, true, or false)")
        }))
    }
}
