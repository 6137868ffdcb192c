//! What models and persons write, in the form of the conventions. Exported only when the environment asks for it.

use serde::Serialize;
use serde_json::Value;
use swarm_protocol::journal::ModelTurn;

/// A message of a chat.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Message {
    /// Who says it: `system`, `user`, `assistant`, `tool`.
    pub role: &'static str,
    /// What is said.
    pub parts: Vec<Part>,
}

/// A part of a message.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Part {
    /// Text.
    Text {
        /// The text.
        content: String,
    },
    /// A call of a tool by the model.
    ToolCall {
        /// Its id.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<String>,
        /// The tool.
        name: String,
        /// The arguments.
        arguments: Value,
    },
    /// What a tool gave back.
    ToolCallResponse {
        /// The id of the call.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<String>,
        /// The result.
        response: Value,
    },
}

impl Message {
    /// A message of text alone.
    #[must_use]
    pub fn text(role: &'static str, content: impl Into<String>) -> Self {
        let content = content.into();
        Self {
            role,
            parts: vec![Part::Text { content }],
        }
    }

    /// What the model said and called in a turn.
    pub(crate) fn of_turn(turn: &ModelTurn) -> Self {
        let calls = turn.tool_calls.iter().map(|call| Part::ToolCall {
            id: Some(call.tool_use_id.clone()),
            name: call.name.clone(),
            arguments: call.input.clone(),
        });
        let mut message = Self::text("assistant", &turn.text);
        message.parts.extend(calls);
        message
    }
}

/// A value as JSON, as an attribute holds it.
pub(crate) fn written(value: &impl Serialize) -> Option<String> {
    serde_json::to_string(value).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn messages_have_the_form_of_the_conventions() {
        let messages = [
            Message::text("system", "You are."),
            Message {
                role: "assistant",
                parts: vec![Part::ToolCall {
                    id: Some("c1".into()),
                    name: "calculator".into(),
                    arguments: json!({"expression": "1+1"}),
                }],
            },
            Message {
                role: "tool",
                parts: vec![Part::ToolCallResponse {
                    id: None,
                    response: json!(2),
                }],
            },
        ];
        let expected = json!([
            {"role": "system", "parts": [{"type": "text", "content": "You are."}]},
            {"role": "assistant", "parts": [
                {"type": "tool_call", "id": "c1", "name": "calculator", "arguments": {"expression": "1+1"}},
            ]},
            {"role": "tool", "parts": [{"type": "tool_call_response", "response": 2}]},
        ]);
        let written: Value = serde_json::from_str(&written(&messages).unwrap()).unwrap();
        assert_eq!(written, expected);
    }
}
