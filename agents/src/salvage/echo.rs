//! Calls in what a model was given to read, however it writes them down again.

use serde_json::Value;
use swarm_model::ToolCall;
use swarm_model::markers::BREAK;

use super::{Form, forms};

/// Whether one of these calls stands anywhere in the texts, in any form.
pub fn any(calls: &[ToolCall], texts: &[&str], offered: &[&str]) -> bool {
    let wanted: Vec<_> = calls.iter().map(meaning).collect();
    texts.iter().any(|text| {
        let text = text.replace(BREAK, "");
        // Text inside of JSON has its quotes escaped; the model reads through that.
        let inner = text
            .contains("\\\"")
            .then(|| text.replace("\\n", "\n").replace("\\\"", "\""));
        found_in(&text, &wanted, offered)
            || inner.is_some_and(|inner| found_in(&inner, &wanted, offered))
    })
}

fn found_in(text: &str, wanted: &[(String, Value)], offered: &[&str]) -> bool {
    text.char_indices().any(|(at, first)| {
        let Some(rest) = text.get(at..) else {
            return false;
        };
        let possible: &[Form] = match first {
            '{' | '[' => &[Form::Json],
            // A tag around a call may close one that is not closed itself.
            '<' => &[Form::FunctionTag, Form::Tagged],
            _ if offered.iter().any(|name| rest.starts_with(name)) => &[Form::Pythonic],
            _ => return false,
        };
        possible.iter().any(|form| {
            forms::parse(*form, rest, offered)
                .is_some_and(|(calls, _)| calls.iter().any(|call| wanted.contains(&meaning(call))))
        })
    })
}

/// What a call says: arguments as text are read.
fn meaning(call: &ToolCall) -> (String, Value) {
    let arguments = match &call.arguments {
        Value::String(text) => {
            serde_json::from_str(text).unwrap_or_else(|_| call.arguments.clone())
        }
        arguments => arguments.clone(),
    };
    (call.name.clone(), arguments)
}
