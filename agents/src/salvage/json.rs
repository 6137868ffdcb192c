//! Calls as JSON.

use serde_json::{Map, Value};
use swarm_model::ToolCall;

/// Where the arguments stand.
const ARGUMENTS: [&str; 5] = ["arguments", "parameters", "args", "input", "kwargs"];

/// Where the name stands.
const NAMES: [&str; 4] = ["name", "tool", "tool_name", "function"];

/// What else a call may have. An object with any other property is data.
const BESIDE: [&str; 4] = ["type", "id", "index", "description"];

/// The calls of the JSON value that a text begins with, and how many bytes it takes.
pub fn calls(text: &str, offered: &[&str]) -> Option<(Vec<ToolCall>, usize)> {
    if !text.starts_with(['{', '[']) {
        return None;
    }
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    let value = values.next()?.ok()?;
    let calls = of_value(&value, offered)?;
    Some((calls, values.byte_offset()))
}

fn of_value(value: &Value, offered: &[&str]) -> Option<Vec<ToolCall>> {
    match value {
        Value::Array(list) => list
            .iter()
            .map(|value| of_object(value.as_object()?, offered))
            .collect(),
        Value::Object(object) => match object.get("tool_calls") {
            Some(Value::Array(list)) if object.len() == 1 => list
                .iter()
                .map(|value| of_object(value.as_object()?, offered))
                .collect(),
            _ => Some(vec![of_object(object, offered)?]),
        },
        _ => None,
    }
}

fn of_object(object: &Map<String, Value>, offered: &[&str]) -> Option<ToolCall> {
    if let Some(Value::Object(inner)) = object.get("function") {
        let only = object
            .keys()
            .all(|key| key == "function" || BESIDE.contains(&key.as_str()));
        return if only { plain(inner, offered) } else { None };
    }
    plain(object, offered)
}

fn plain(object: &Map<String, Value>, offered: &[&str]) -> Option<ToolCall> {
    let one = |keys: &'static [&'static str]| {
        let mut there = keys.iter().filter(|key| object.contains_key(**key));
        let key = *there.next()?;
        there.next().is_none().then_some(key)
    };
    let (name_at, arguments_at) = (one(&NAMES)?, one(&ARGUMENTS)?);
    let known = |key: &str| key == name_at || key == arguments_at || BESIDE.contains(&key);
    let name = object.get(name_at)?.as_str()?;
    if !offered.contains(&name) || !object.keys().all(|key| known(key)) {
        return None;
    }
    let arguments = match object.get(arguments_at)? {
        Value::Null => Value::Object(Map::new()),
        arguments @ (Value::Object(_) | Value::String(_)) => arguments.clone(),
        _ => return None,
    };
    Some(ToolCall {
        id: None,
        name: name.to_owned(),
        arguments,
    })
}
