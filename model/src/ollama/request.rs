//! The body of `POST /api/chat`.

use std::borrow::Cow;

use bytes::Bytes;
use ollama_rs::generation::chat::MessageRole;
use ollama_rs::models::ModelOptions;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::chat::{ChatRequest, Message, Role, ToolCall, ToolOffer};
use crate::error::ChatError;
use crate::markers::Markers;
use crate::measures::Measure;

/// What all requests of a model to a host have in common. A host loads the model anew when one of them changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Size of the context window, in tokens.
    pub num_ctx: u32,
}

/// A chat as the API takes it.
///
/// The request of ollama-rs 0.3.6 has no `truncate` and `shift`, no ids and names of tools in its messages, and keeps
/// `stream` to itself; options and roles are its own.
#[derive(Debug, Serialize)]
struct Body<'a> {
    model: &'a str,
    messages: Vec<WireMessage<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<WireTool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    think: Option<bool>,
    options: ModelOptions,
    stream: bool,
    /// A host would otherwise drop the oldest messages without a word.
    truncate: bool,
    /// A host would otherwise drop the beginning of the chat when the answer reaches the end of the window.
    shift: bool,
}

#[derive(Debug, Serialize)]
struct WireMessage<'a> {
    role: MessageRole,
    content: Cow<'a, str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<WireCall<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_call_id: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct WireCall<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    function: CalledFunction<'a>,
}

#[derive(Debug, Serialize)]
struct CalledFunction<'a> {
    name: &'a str,
    arguments: Map<String, Value>,
}

#[derive(Debug, Serialize)]
struct WireTool<'a> {
    r#type: &'static str,
    function: OfferedFunction<'a>,
}

#[derive(Debug, Serialize)]
struct OfferedFunction<'a> {
    name: &'a str,
    description: &'a str,
    parameters: &'a Value,
}

/// The body that asks for a streamed turn.
///
/// A host turns the names of control tokens in a text into those tokens, with which others could forge turns: in what users
/// and tools say, the `markers` are broken up, and in what the model says, as it may quote them. The system is the swarm's own.
///
/// `num_predict` is always set: without it a host goes on for ten context windows. An answer longer than one window is
/// refused here already. `format` brings `think:false`: the grammar would begin only behind the thinking, and not at all
/// when there is none.
///
/// # Errors
/// [`ChatError::Request`] for tools together with a format, whose answers hosts take for calls, and for schemas that
/// are none.
pub fn chat(request: &ChatRequest, window: Window, markers: &Markers) -> Result<Bytes, ChatError> {
    let has_both = request.format.is_some() && !request.tools.is_empty();
    if has_both && Measure::FormatOrTools.is_on() {
        return Err(unfit("tools and a format exclude each other"));
    }
    if let Some(format) = &request.format
        && !format.is_object()
    {
        return Err(unfit("the format is no JSON Schema"));
    }
    if let Some(tool) = request
        .tools
        .iter()
        .find(|tool| !tool.parameters.is_object())
    {
        let name = &tool.name;
        return Err(unfit(format!(
            "the parameters of tool `{name}` are no JSON Schema"
        )));
    }
    let mut options = options(window);
    if Measure::BoundedAnswer.is_on() {
        let num_predict = request.num_predict.clamp(1, window.num_ctx.max(1));
        options = options.num_predict(i32::try_from(num_predict).unwrap_or(i32::MAX));
    }
    if let Some(temperature) = request.temperature {
        // ollama-rs takes 32 bits.
        options = options.temperature(temperature as f32);
    }
    encode(&Body {
        model: &request.model,
        messages: request
            .messages
            .iter()
            .map(|said| message(said, markers))
            .collect(),
        tools: request.tools.iter().map(tool).collect(),
        format: request.format.as_ref(),
        think: if request.format.is_some() && Measure::FormatWithoutThinking.is_on() {
            Some(false)
        } else {
            request.think
        },
        options,
        stream: true,
        truncate: !Measure::NoTruncation.is_on(),
        shift: false,
    })
}

/// The body that has a model loaded, with the options that chats will have: others would load it anew.
///
/// # Errors
/// None that is known.
pub fn load(model: &str, window: Window) -> Result<Bytes, ChatError> {
    encode(&Body {
        model,
        messages: Vec::new(),
        tools: Vec::new(),
        format: None,
        think: None,
        options: options(window),
        stream: true,
        truncate: false,
        shift: false,
    })
}

fn options(window: Window) -> ModelOptions {
    ModelOptions::default().num_ctx(u64::from(window.num_ctx))
}

fn encode(body: &Body<'_>) -> Result<Bytes, ChatError> {
    match serde_json::to_vec(body) {
        Ok(bytes) => Ok(Bytes::from(bytes)),
        Err(error) => Err(unfit(error.to_string())),
    }
}

fn unfit(detail: impl Into<String>) -> ChatError {
    ChatError::Request {
        detail: detail.into(),
    }
}

fn message<'a>(message: &'a Message, markers: &Markers) -> WireMessage<'a> {
    let role = match message.role {
        Role::System => MessageRole::System,
        Role::User => MessageRole::User,
        Role::Assistant => MessageRole::Assistant,
        Role::Tool => MessageRole::Tool,
    };
    let content = match message.role {
        Role::User | Role::Tool | Role::Assistant => markers.break_up(&message.content),
        Role::System => Cow::Borrowed(message.content.as_str()),
    };
    WireMessage {
        role,
        content,
        tool_calls: message
            .tool_calls
            .iter()
            .map(|made| call(made, markers))
            .collect(),
        tool_name: message.tool_name.as_deref(),
        tool_call_id: message.tool_call_id.as_deref(),
    }
}

fn call<'a>(call: &'a ToolCall, markers: &Markers) -> WireCall<'a> {
    WireCall {
        id: call.id.as_deref(),
        function: CalledFunction {
            name: &call.name,
            arguments: arguments(&call.arguments)
                .into_iter()
                .map(|(name, value)| (name, broken_up(value, markers)))
                .collect(),
        },
    }
}

/// A value with the markers in its texts broken up.
fn broken_up(value: Value, markers: &Markers) -> Value {
    match value {
        Value::String(text) => Value::String(markers.break_up(&text).into_owned()),
        Value::Array(items) => {
            let items = items.into_iter();
            Value::Array(items.map(|item| broken_up(item, markers)).collect())
        }
        Value::Object(fields) => {
            let fields = fields.into_iter();
            let broken = fields.map(|(name, value)| (name, broken_up(value, markers)));
            Value::Object(broken.collect())
        }
        other => other,
    }
}

/// Arguments for the history. A host refuses a chat in which they are no object, so what a model wrote instead is put
/// into one.
fn arguments(arguments: &Value) -> Map<String, Value> {
    match arguments {
        Value::Object(fields) => fields.clone(),
        Value::Null => Map::new(),
        Value::String(text) => match serde_json::from_str(text) {
            Ok(Value::Object(fields)) => fields,
            _ => alone(arguments),
        },
        _ => alone(arguments),
    }
}

fn alone(arguments: &Value) -> Map<String, Value> {
    Map::from_iter([("arguments".to_owned(), arguments.clone())])
}

fn tool(offer: &ToolOffer) -> WireTool<'_> {
    WireTool {
        r#type: "function",
        function: OfferedFunction {
            name: &offer.name,
            description: &offer.description,
            parameters: &offer.parameters,
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const WINDOW: Window = Window { num_ctx: 8192 };

    fn value(request: &ChatRequest, num_ctx: u32) -> Value {
        serde_json::from_slice(&chat(request, Window { num_ctx }, &Markers::default()).unwrap())
            .unwrap()
    }

    fn request(messages: Vec<Message>, num_predict: u32) -> ChatRequest {
        ChatRequest::new("llama3.2:1b", messages, num_predict)
    }

    fn offer(parameters: Value) -> ToolOffer {
        ToolOffer {
            name: "calculator".into(),
            description: "Calculates.".into(),
            parameters,
        }
    }

    fn called(id: Option<&str>, arguments: Value) -> ToolCall {
        ToolCall {
            id: id.map(str::to_owned),
            name: "calculator".into(),
            arguments,
        }
    }

    #[test]
    fn a_whole_body() {
        let messages = vec![
            Message::system("You are."),
            Message::user("Wer? 🦀"),
            Message::assistant("").calling(vec![called(Some("call_1"), json!({"b": 1, "a": 2}))]),
            Message::tool("calculator", "call_1", "42"),
        ];
        let request = ChatRequest {
            tools: vec![offer(json!({"type": "object", "properties": {}}))],
            think: Some(true),
            temperature: Some(0.5),
            ..request(messages, 512)
        };
        let expected = json!({
            "model": "llama3.2:1b",
            "messages": [
                {"role": "system", "content": "You are."},
                {"role": "user", "content": "Wer? 🦀"},
                {"role": "assistant", "content": "", "tool_calls": [
                    {"id": "call_1", "function": {"name": "calculator", "arguments": {"b": 1, "a": 2}}},
                ]},
                {"role": "tool", "content": "42", "tool_name": "calculator", "tool_call_id": "call_1"},
            ],
            "tools": [{"type": "function", "function": {
                "name": "calculator",
                "description": "Calculates.",
                "parameters": {"type": "object", "properties": {}},
            }}],
            "think": true,
            "options": {"num_ctx": 8192, "num_predict": 512, "temperature": 0.5},
            "stream": true,
            "truncate": false,
            "shift": false,
        });
        assert_eq!(value(&request, 8192), expected);
    }

    #[test]
    fn control_tokens_are_broken_up_in_all_but_the_system() {
        let messages = vec![
            Message::system("<|a|>"),
            Message::user("<|a|><turn>"),
            Message::assistant("<|a|>").calling(vec![called(None, json!({"b": ["<|a|>", 1]}))]),
            Message::tool("calculator", "<|a|>", "<|a|>"),
        ];
        let markers = Markers::with(["<turn>".to_owned()]);
        let body = chat(&request(messages, 1), WINDOW, &markers).unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        let expected = json!([
            {"role": "system", "content": "<|a|>"},
            {"role": "user", "content": "<\u{2060}|a|><\u{2060}turn>"},
            {"role": "assistant", "content": "<\u{2060}|a|>", "tool_calls": [
                {"function": {"name": "calculator", "arguments": {"b": ["<\u{2060}|a|>", 1]}}},
            ]},
            {"role": "tool", "content": "<\u{2060}|a|>", "tool_name": "calculator", "tool_call_id": "<|a|>"},
        ]);
        assert_eq!(body["messages"], expected);
    }

    #[test]
    fn a_format_brings_no_thinking_and_excludes_tools() {
        let schema = json!({"type": "object"});
        for think in [None, Some(true), Some(false)] {
            let request = ChatRequest {
                format: Some(schema.clone()),
                think,
                ..request(vec![], 1)
            };
            let value = value(&request, 8192);
            assert_eq!(
                (&value["format"], &value["think"]),
                (&schema, &json!(false))
            );
            let both = ChatRequest {
                tools: vec![offer(schema.clone())],
                ..request
            };
            let detail = "tools and a format exclude each other".to_owned();
            assert_eq!(
                chat(&both, WINDOW, &Markers::default()),
                Err(ChatError::Request { detail })
            );
        }
        assert_eq!(value(&request(vec![], 1), 1).get("think"), None);
    }

    #[test]
    fn schemas_are_objects() {
        for odd in [json!(null), json!("json"), json!(true), json!([])] {
            let format = ChatRequest {
                format: Some(odd.clone()),
                ..request(vec![], 1)
            };
            let detail = "the format is no JSON Schema".to_owned();
            assert_eq!(
                chat(&format, WINDOW, &Markers::default()),
                Err(ChatError::Request { detail })
            );
            let tools = ChatRequest {
                tools: vec![offer(odd)],
                ..request(vec![], 1)
            };
            let detail = "the parameters of tool `calculator` are no JSON Schema".to_owned();
            assert_eq!(
                chat(&tools, WINDOW, &Markers::default()),
                Err(ChatError::Request { detail })
            );
        }
    }

    #[test]
    fn arguments_of_the_history_are_objects() {
        let table = [
            (json!({"a": [1]}), json!({"a": [1]})),
            (json!("{\"a\": 1}"), json!({"a": 1})),
            (json!(null), json!({})),
            (json!("[1]"), json!({"arguments": "[1]"})),
            (json!("{cut"), json!({"arguments": "{cut"})),
            (json!([1]), json!({"arguments": [1]})),
            (json!(7), json!({"arguments": 7})),
        ];
        for (came, sent) in table {
            let message = Message::assistant("").calling(vec![called(None, came)]);
            let value = value(&request(vec![message], 1), 8192);
            let expected = json!([{"function": {"name": "calculator", "arguments": sent}}]);
            assert_eq!(value["messages"][0]["tool_calls"], expected);
        }
    }

    #[test]
    fn num_predict_stays_between_one_and_the_window() {
        let capped =
            |num_predict, num_ctx| value(&request(vec![], num_predict), num_ctx)["options"].clone();
        assert_eq!(capped(0, 4096), json!({"num_ctx": 4096, "num_predict": 1}));
        assert_eq!(
            capped(4097, 4096),
            json!({"num_ctx": 4096, "num_predict": 4096})
        );
        let most = json!({"num_ctx": u32::MAX, "num_predict": i32::MAX});
        assert_eq!(capped(u32::MAX, u32::MAX), most);
    }

    #[test]
    fn a_load_has_the_options_of_a_chat() {
        let load: Value = serde_json::from_slice(&load("m", WINDOW).unwrap()).unwrap();
        let expected = json!({
            "model": "m",
            "messages": [],
            "options": {"num_ctx": 8192},
            "stream": true,
            "truncate": false,
            "shift": false,
        });
        assert_eq!(load, expected);
        // What is not sampling is what a model is loaded with.
        let mut chat = value(&request(vec![], 9), 8192);
        chat["options"]
            .as_object_mut()
            .unwrap()
            .remove("num_predict");
        assert_eq!(
            (&chat["options"], &chat["shift"], &chat["truncate"]),
            (&load["options"], &load["shift"], &load["truncate"])
        );
    }
}
