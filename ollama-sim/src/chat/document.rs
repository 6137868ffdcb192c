//! The JSON documents of answers: chunks, and the last one with its metrics.

use std::time::Duration;

use serde::Serialize;

use crate::clock::Spans;
use crate::log::CHAT;
use crate::models::Remote;
use crate::script::Call;

/// What an endpoint calls the text of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// `/api/chat`: a `message`.
    Chat,
    /// `/api/generate`: a `response`.
    Generate,
}

impl Shape {
    /// The endpoint.
    pub fn path(self) -> &'static str {
        match self {
            Self::Chat => CHAT,
            Self::Generate => "/api/generate",
        }
    }

    /// What models are asked for there.
    pub fn verb(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Generate => "generate",
        }
    }
}

/// What every document of an answer begins with.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    /// The model's name as the client wrote it.
    pub model: &'a str,
    /// Set if the model runs elsewhere.
    pub remote: Option<&'a Remote>,
    /// RFC 3339.
    pub created_at: &'a str,
    /// The endpoint.
    pub shape: Shape,
}

/// What was said since the last document.
#[derive(Debug, Clone, Copy, Default)]
pub struct Said<'a> {
    /// Text.
    pub text: &'a str,
    /// Thinking.
    pub thinking: &'a str,
    /// Calls.
    pub calls: &'a [Call],
}

/// How the answer ended.
#[derive(Debug, Clone, Copy)]
pub struct End<'a> {
    /// `stop`, `length`, `load` or `unload`.
    pub reason: &'a str,
    /// Left out of answers without text.
    pub metrics: Option<Metrics>,
}

/// Durations in nanoseconds. Ollama leaves zeros out.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Metrics {
    total_duration: u64,
    load_duration: u64,
    prompt_eval_count: u64,
    prompt_eval_duration: u64,
    #[serde(skip_serializing_if = "is_zero")]
    eval_count: usize,
    #[serde(skip_serializing_if = "is_zero")]
    eval_duration: u64,
}

#[derive(Serialize)]
struct Document<'a> {
    model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    remote_model: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remote_host: Option<&'a str>,
    created_at: &'a str,
    #[serde(flatten)]
    said: Body<'a>,
    done: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    done_reason: Option<&'a str>,
    #[serde(flatten)]
    metrics: Option<Metrics>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Body<'a> {
    Chat {
        message: Message<'a>,
    },
    Generate {
        response: &'a str,
        #[serde(skip_serializing_if = "str::is_empty")]
        thinking: &'a str,
    },
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'static str,
    content: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    thinking: &'a str,
    #[serde(skip_serializing_if = "<[Call]>::is_empty")]
    tool_calls: &'a [Call],
}

impl Head<'_> {
    /// Writes one document, without a line end.
    pub fn write(self, out: &mut Vec<u8>, said: Said<'_>, end: Option<End<'_>>) {
        let body = match self.shape {
            Shape::Chat => Body::Chat {
                message: Message {
                    role: "assistant",
                    content: said.text,
                    thinking: said.thinking,
                    tool_calls: said.calls,
                },
            },
            Shape::Generate => Body::Generate {
                response: said.text,
                thinking: said.thinking,
            },
        };
        let document = Document {
            model: self.model,
            remote_model: self.remote.map(|remote| remote.model.as_str()),
            remote_host: self.remote.map(|remote| remote.host.as_str()),
            created_at: self.created_at,
            said: body,
            done: end.is_some(),
            done_reason: end.map(|end| end.reason),
            metrics: end.and_then(|end| end.metrics),
        };
        // Structs of strings and numbers always serialize, and a Vec takes whatever is written to it.
        serde_json::to_writer(out, &document).unwrap_or_default();
    }
}

impl Metrics {
    /// The metrics of an answer.
    pub fn new(spans: Spans, prompt: u64, spoken: usize) -> Self {
        Self {
            total_duration: nanoseconds(spans.load + spans.prompt + spans.answer),
            load_duration: nanoseconds(spans.load),
            prompt_eval_count: prompt.max(1),
            prompt_eval_duration: nanoseconds(spans.prompt),
            eval_count: spoken,
            eval_duration: nanoseconds(spans.answer),
        }
    }
}

fn nanoseconds(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX).max(1)
}

fn is_zero<T: PartialEq + From<u8>>(value: &T) -> bool {
    *value == T::from(0)
}
