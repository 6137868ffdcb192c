//! Tools for models that know none: every answer is one JSON object, the call of a tool or the final answer.

use serde::Deserialize;
use serde_json::{Value, json};
use swarm_model::{Message, Role, ToolOffer};

/// The name of the action that ends the loop.
const FINAL: &str = "final";

/// What an answer says.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Action {
    /// Call a tool, which may be none that was offered.
    Call {
        /// The tool.
        name: String,
        /// Its arguments as they came.
        arguments: Value,
    },
    /// The answer.
    Final(String),
}

/// The JSON Schema of an answer: an alternative per tool, with its arguments, and the final answer.
pub(super) fn format(tools: &[ToolOffer]) -> Value {
    let call = |tool: &ToolOffer| {
        json!({
            "type": "object",
            "properties": { "action": { "const": tool.name }, "arguments": arguments(tool) },
            "required": ["action", "arguments"],
        })
    };
    let answer = json!({
        "type": "object",
        "properties": { "action": { "const": FINAL }, "answer": { "type": "string" } },
        "required": ["action", "answer"],
    });
    let alternatives: Vec<Value> = tools.iter().map(call).chain([answer]).collect();
    json!({ "anyOf": alternatives })
}

/// References would point into the schema that this one is put into: such arguments are checked when they are there.
fn arguments(tool: &ToolOffer) -> Value {
    if tool.parameters.to_string().contains("\"$ref\"") {
        json!({ "type": "object" })
    } else {
        tool.parameters.clone()
    }
}

/// A message of the chat for a model that knows no tools: its calls are the JSON that it was asked for, and the results
/// are said by the user.
pub(super) fn message(message: Message) -> Message {
    match message.role {
        Role::Assistant if !message.tool_calls.is_empty() => {
            let calls = message.tool_calls.iter();
            let actions = calls.map(|call| {
                json!({ "action": call.name, "arguments": call.arguments }).to_string()
            });
            Message::assistant(actions.collect::<Vec<_>>().join("\n"))
        }
        Role::Tool => {
            let name = message.tool_name.unwrap_or_default();
            Message::user(format!("Tool {name} returned: {}", message.content))
        }
        _ => message,
    }
}

/// What is added to the system prompt.
pub(super) fn instructions(tools: &[ToolOffer]) -> String {
    let line = |tool: &ToolOffer| {
        format!(
            "- {}: {} Arguments: {}",
            tool.name,
            tool.description.trim(),
            tool.parameters
        )
    };
    let tools: Vec<String> = tools.iter().map(line).collect();
    format!(
        "Answer with one JSON object and nothing else. To use a tool: {{\"action\": \"<tool>\", \"arguments\": {{…}}}}. \
         When you know enough: {{\"action\": \"{FINAL}\", \"answer\": \"<your answer to the task>\"}}.\n\nTools:\n{}",
        tools.join("\n")
    )
}

/// Reads an answer.
///
/// # Errors
/// What is wrong with it when it is none of the two, in words for the model.
pub(super) fn read(text: &str) -> Result<Action, String> {
    #[derive(Deserialize)]
    struct Raw {
        action: String,
        #[serde(default)]
        arguments: Value,
        #[serde(default)]
        answer: Value,
    }
    let raw: Raw = serde_json::from_str(text.trim()).map_err(|error| error.to_string())?;
    if raw.action != FINAL {
        return Ok(Action::Call {
            name: raw.action,
            arguments: raw.arguments,
        });
    }
    match raw.answer {
        Value::String(answer) => Ok(Action::Final(answer)),
        Value::Null => Err("missing field `answer`".to_owned()),
        other => Ok(Action::Final(other.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_has_an_alternative_per_tool_and_the_end() {
        let tool = ToolOffer {
            name: "t".into(),
            description: "d".into(),
            parameters: json!({"type": "object"}),
        };
        let format = format(&[tool]);
        let names: Vec<&Value> = format["anyOf"]
            .as_array()
            .unwrap()
            .iter()
            .map(|alternative| &alternative["properties"]["action"]["const"])
            .collect();
        assert_eq!(names, [&json!("t"), &json!("final")]);
    }

    #[test]
    fn a_schema_that_refers_to_itself_is_left_to_the_check() {
        let parameters = json!({
            "type": "object",
            "properties": {"a": {"$ref": "#/$defs/a"}},
            "$defs": {"a": {"type": "string"}},
        });
        let tool = ToolOffer {
            name: "t".into(),
            description: "d".into(),
            parameters,
        };
        let format = format(&[tool]);
        let arguments = &format["anyOf"][0]["properties"]["arguments"];
        assert_eq!(*arguments, json!({"type": "object"}));
    }

    #[test]
    fn calls_and_results_are_text() {
        let call = swarm_model::ToolCall {
            id: Some("c".into()),
            name: "t".into(),
            arguments: json!({"a": 1}),
        };
        let said = message(Message::assistant("Hm.").calling(vec![call]));
        assert_eq!(
            said,
            Message::assistant(r#"{"action":"t","arguments":{"a":1}}"#)
        );
        let result = message(Message::tool("t", "c", "2"));
        assert_eq!(result, Message::user("Tool t returned: 2"));
        assert_eq!(message(Message::user("u")), Message::user("u"));
    }

    #[test]
    fn answers_are_read() {
        let call = Action::Call {
            name: "t".into(),
            arguments: json!({"a": 1}),
        };
        assert_eq!(
            read(" {\"action\":\"t\",\"arguments\":{\"a\":1}}\n"),
            Ok(call)
        );
        assert_eq!(
            read("{\"action\":\"final\",\"answer\":\"So.\"}"),
            Ok(Action::Final("So.".into()))
        );
        for (wrong, fault) in [
            ("So.", "expected value at line 1 column 1"),
            ("{\"action\":\"final\"}", "missing field `answer`"),
            (
                "{\"answer\":\"x\"}",
                "missing field `action` at line 1 column 14",
            ),
            (
                "{\"action\":",
                "EOF while parsing a value at line 1 column 10",
            ),
        ] {
            assert_eq!(read(wrong), Err(fault.to_owned()));
        }
    }
}
