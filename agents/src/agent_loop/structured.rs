//! Tools for models that know none: every answer is one JSON object, the call of a tool or the final answer.

use serde::Deserialize;
use serde_json::{Value, json};
use swarm_model::ToolOffer;

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
            "properties": { "action": { "const": tool.name }, "arguments": tool.parameters },
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

/// What is added to the system prompt.
pub(super) fn instructions(tools: &[ToolOffer]) -> String {
    let mut text = "Answer with one JSON object and nothing else. To use a tool: {\"action\": \"<tool>\", \"arguments\": {…}}. \
        When you know enough: {\"action\": \"final\", \"answer\": \"<your answer to the task>\"}.\n\nTools:\n"
        .to_owned();
    for tool in tools {
        let ToolOffer {
            name,
            description,
            parameters,
        } = tool;
        text.push_str(&format!("- {name}: {description} Arguments: {parameters}\n"));
    }
    text
}

/// Reads an answer; nothing when it is none of the two.
pub(super) fn read(text: &str) -> Option<Action> {
    #[derive(Deserialize)]
    struct Raw {
        action: String,
        #[serde(default)]
        arguments: Value,
        #[serde(default)]
        answer: Value,
    }
    let raw: Raw = serde_json::from_str(text.trim()).ok()?;
    if raw.action != FINAL {
        return Some(Action::Call {
            name: raw.action,
            arguments: raw.arguments,
        });
    }
    match raw.answer {
        Value::String(answer) => Some(Action::Final(answer)),
        Value::Null => None,
        other => Some(Action::Final(other.to_string())),
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
    fn answers_are_read() {
        let call = Action::Call {
            name: "t".into(),
            arguments: json!({"a": 1}),
        };
        assert_eq!(
            read(" {\"action\":\"t\",\"arguments\":{\"a\":1}}\n"),
            Some(call)
        );
        assert_eq!(
            read("{\"action\":\"final\",\"answer\":\"So.\"}"),
            Some(Action::Final("So.".into()))
        );
        for wrong in ["So.", "{\"action\":\"final\"}", "{\"answer\":\"x\"}", "{\"action\":"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
