//! A chat with a model: what is asked, and the pieces its answer comes in.

use futures_util::future::{BoxFuture, FutureExt as _, ready};
use futures_util::stream::BoxStream;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::ChatError;

/// An answer while it is being written.
///
/// Any number of [`ChatEvent::Text`], [`ChatEvent::Thinking`] and [`ChatEvent::ToolCall`], then exactly one
/// [`ChatEvent::Done`] or one error, then the end. Nothing is sent before the stream is first polled, and dropping it cancels the call.
pub type ChatStream = BoxStream<'static, Result<ChatEvent, ChatError>>;

/// A language model that one can chat with.
pub trait ChatModel: Send + Sync {
    /// Asks for one turn.
    fn chat(&self, request: ChatRequest) -> ChatStream;

    /// Looks whether a host answers, and whether it has the model. Takes 2 s at most.
    ///
    /// The error is [`ChatError::Connect`] when no host answers.
    fn look(&self, model: &str) -> BoxFuture<'static, Result<Look, ChatError>>;

    /// What a model can do, as its host says. Kept by the model's digest, so asking again costs nothing.
    ///
    /// The error is [`ChatError::Connect`] when no host answers, and [`ChatError::ModelNotFound`] when none has the model.
    fn facts(&self, model: &str) -> BoxFuture<'static, Result<ModelFacts, ChatError>>;

    /// Has a host load the model, if none has: the first chat then begins sooner. Nothing to do, by default.
    fn warm_up(&self, model: &str) -> BoxFuture<'static, Result<(), ChatError>> {
        tracing::trace!(model, "there is nothing to warm up");
        ready(Ok(())).boxed()
    }
}

/// What a model can do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelFacts {
    /// The digest of its weights and template; empty when the host did not say.
    pub digest: String,
    /// Whether it takes tools.
    pub tools: bool,
    /// Whether it can think before it answers.
    pub thinking: bool,
    /// The context window that it was trained for, in tokens.
    pub context_length: Option<u32>,
    /// The window that requests get, in tokens: the configured one, or the model's when that is smaller.
    pub window: u32,
}

/// What a look at the hosts found, when one answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// Whether one of those that answer has the model.
    pub has_model: bool,
    /// Whether one of them is a simulator.
    pub simulated: bool,
}

/// Who says a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Instructions that hold for the whole chat.
    System,
    /// Whoever asks.
    User,
    /// The model.
    Assistant,
    /// The result of a tool that the model called.
    Tool,
}

/// One message of a chat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Who says it.
    pub role: Role,
    /// What is said.
    pub content: String,
    /// The tools that the model calls, in a message of the model.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
    /// The tool that this is the result of, in a message of a tool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_name: Option<String>,
    /// The call that this is the result of, in a message of a tool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<String>,
}

/// A call of a tool, as a model asks for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolCall {
    /// Its id; none when the host gave none. Two calls of one turn may have the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The tool. It may be none that was offered.
    pub name: String,
    /// The arguments as they came: an object, as a rule.
    pub arguments: Value,
}

/// A tool that is offered to a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolOffer {
    /// Its name.
    pub name: String,
    /// What it does.
    pub description: String,
    /// JSON Schema of its arguments. A host passes only part of it on to the model.
    pub parameters: Value,
}

impl Message {
    /// A message of the system.
    #[must_use]
    pub fn system(content: impl Into<String>) -> Self {
        Self::new(Role::System, content)
    }

    /// A message of the user.
    #[must_use]
    pub fn user(content: impl Into<String>) -> Self {
        Self::new(Role::User, content)
    }

    /// A message of the model.
    #[must_use]
    pub fn assistant(content: impl Into<String>) -> Self {
        Self::new(Role::Assistant, content)
    }

    /// The result of a tool.
    #[must_use]
    pub fn tool(
        name: impl Into<String>,
        call_id: impl Into<String>,
        content: impl Into<String>,
    ) -> Self {
        Self {
            tool_name: Some(name.into()),
            tool_call_id: Some(call_id.into()),
            ..Self::new(Role::Tool, content)
        }
    }

    /// The same message of the model, with calls of tools.
    #[must_use]
    pub fn calling(mut self, tool_calls: Vec<ToolCall>) -> Self {
        self.tool_calls = tool_calls;
        self
    }

    fn new(role: Role, content: impl Into<String>) -> Self {
        Self {
            role,
            content: content.into(),
            tool_calls: Vec::new(),
            tool_name: None,
            tool_call_id: None,
        }
    }
}

/// One turn that is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct ChatRequest {
    /// The model, as its host names it: `llama3.2:3b`.
    pub model: String,
    /// The chat so far, oldest message first.
    pub messages: Vec<Message>,
    /// Tools that the model may call. Never together with `format`: hosts then take answers for calls.
    pub tools: Vec<ToolOffer>,
    /// JSON Schema that the answer is to satisfy; the host makes it so by a grammar.
    pub format: Option<Value>,
    /// Whether the model thinks before it answers; the host's choice when not set. With `format` it is always told not to:
    /// the grammar would begin only behind the thinking.
    pub think: Option<bool>,
    /// How freely tokens are chosen; the model's own value when not set.
    pub temperature: Option<f64>,
    /// Most tokens of the answer. At least one is asked for, and never more than the context window holds.
    pub num_predict: u32,
}

impl ChatRequest {
    /// A turn without tools and format.
    #[must_use]
    pub fn new(model: impl Into<String>, messages: Vec<Message>, num_predict: u32) -> Self {
        Self {
            model: model.into(),
            messages,
            tools: Vec::new(),
            format: None,
            think: None,
            temperature: None,
            num_predict,
        }
    }
}

/// A piece of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChatEvent {
    /// The next piece of the text, never empty.
    Text(String),
    /// The next piece of what the model thinks before it answers, never empty; no part of the answer.
    Thinking(String),
    /// A call of a tool.
    ToolCall(ToolCall),
    /// The answer is complete.
    Done(Completion),
}

/// A complete answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion {
    /// The whole text: all [`ChatEvent::Text`] in a row. Empty when the model wrote none.
    pub text: String,
    /// All that the model thought: all [`ChatEvent::Thinking`] in a row.
    pub thinking: String,
    /// The tools that the model calls, in its order: all [`ChatEvent::ToolCall`].
    pub tool_calls: Vec<ToolCall>,
    /// Why the answer ended.
    pub done_reason: DoneReason,
    /// Tokens of the prompt; 0 when the host did not say.
    pub input_tokens: u64,
    /// Tokens of the answer; 0 when the host did not say.
    pub output_tokens: u64,
    /// Whether a simulator wrote this, and no model.
    pub simulated: bool,
}

/// Why an answer ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DoneReason {
    /// The model was done.
    Stop,
    /// `num_predict` or the context window cut it off.
    Length,
    /// What else a host said (`load` and `unload` are known); empty when it gave no reason.
    Other(String),
}

impl From<String> for DoneReason {
    fn from(reason: String) -> Self {
        match reason.as_str() {
            "stop" => Self::Stop,
            "length" => Self::Length,
            _ => Self::Other(reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn messages_have_the_words_of_the_api() {
        let messages = vec![
            Message::system("s"),
            Message::user("u"),
            Message::assistant("a"),
            Message::new(Role::Tool, "t"),
        ];
        let value = json!([
            {"role": "system", "content": "s"},
            {"role": "user", "content": "u"},
            {"role": "assistant", "content": "a"},
            {"role": "tool", "content": "t"},
        ]);
        assert_eq!(serde_json::to_value(&messages).unwrap(), value);
        assert_eq!(
            serde_json::from_value::<Vec<Message>>(value).unwrap(),
            messages
        );
    }

    #[test]
    fn reasons() {
        let reasons =
            ["stop", "length", "load", ""].map(|reason| DoneReason::from(reason.to_owned()));
        let other = |reason: &str| DoneReason::Other(reason.to_owned());
        assert_eq!(
            reasons,
            [
                DoneReason::Stop,
                DoneReason::Length,
                other("load"),
                other("")
            ]
        );
    }
}
