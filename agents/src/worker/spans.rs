//! A chat as spans show it, when the environment asks for content.

use serde_json::Value;
use swarm_model::{Message, Role};
use swarm_telemetry::Part;

/// The messages of a chat.
pub(super) fn chat(messages: &[Message]) -> Vec<swarm_telemetry::Message> {
    messages.iter().map(message).collect()
}

fn message(message: &Message) -> swarm_telemetry::Message {
    let content = || message.content.clone();
    let said = match message.role {
        Role::Tool => Part::ToolCallResponse {
            id: message.tool_call_id.clone(),
            response: Value::String(content()),
        },
        Role::System | Role::User | Role::Assistant => Part::Text { content: content() },
    };
    let calls = message.tool_calls.iter().map(|call| Part::ToolCall {
        id: call.id.clone(),
        name: call.name.clone(),
        arguments: call.arguments.clone(),
    });
    swarm_telemetry::Message {
        role: match message.role {
            Role::System => "system",
            Role::User => "user",
            Role::Assistant => "assistant",
            Role::Tool => "tool",
        },
        parts: std::iter::once(said).chain(calls).collect(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use swarm_model::ToolCall;

    use super::*;

    #[test]
    fn a_chat_keeps_its_order_calls_and_results() {
        let call = ToolCall {
            id: Some("c1".into()),
            name: "calculator".into(),
            arguments: json!({"expression": "1+1"}),
        };
        let messages = [
            Message::user("u"),
            Message::assistant("a").calling(vec![call]),
            Message::tool("calculator", "c1", "2"),
        ];
        let expected = [
            swarm_telemetry::Message::text("user", "u"),
            swarm_telemetry::Message {
                role: "assistant",
                parts: vec![
                    Part::Text {
                        content: "a".into(),
                    },
                    Part::ToolCall {
                        id: Some("c1".into()),
                        name: "calculator".into(),
                        arguments: json!({"expression": "1+1"}),
                    },
                ],
            },
            swarm_telemetry::Message {
                role: "tool",
                parts: vec![Part::ToolCallResponse {
                    id: Some("c1".into()),
                    response: json!("2"),
                }],
            },
        ];
        assert_eq!(chat(&messages), expected);
    }
}
