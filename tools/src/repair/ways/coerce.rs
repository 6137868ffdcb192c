//! Values that stand for the right one: JSON inside of strings, numbers for texts, one for a list of one, another case.

use jsonschema::JsonType;
use jsonschema::error::TypeKind;
use serde_json::{Value, json};

use crate::repair::Change;
use crate::repair::edit::Edit;

/// How often JSON inside of a string may be inside of a string again.
const MAX_NESTED: usize = 3;

/// Ways to make a value one of the right type.
pub fn to_type(at: &str, value: &Value, kind: &TypeKind) -> Vec<Edit> {
    let accepts = |kind_of: JsonType| match kind {
        TypeKind::Single(one) => *one == kind_of,
        TypeKind::Multiple(set) => set.iter().any(|one| one == kind_of),
    };
    let fits = |value: &Value| match value {
        Value::Number(number) => {
            accepts(JsonType::Number) || accepts(JsonType::Integer) && is_integer(number)
        }
        other => accepts(JsonType::from(other)),
    };
    let replace = |value: Value, what: Change| Edit::Replace {
        at: at.to_owned(),
        value,
        what,
    };
    let mut ways = Vec::new();
    match value {
        Value::String(text) => {
            if let Some(parsed) = parsed(text, fits) {
                ways.push(replace(parsed, Change::Parsed));
            }
            if at.is_empty() && text.trim().is_empty() && accepts(JsonType::Object) {
                ways.push(replace(json!({}), Change::Emptied));
            }
        }
        Value::Number(_) | Value::Bool(_) if accepts(JsonType::String) => {
            ways.push(replace(json!(value.to_string()), Change::ToText));
        }
        Value::Null if at.is_empty() && accepts(JsonType::Object) => {
            ways.push(replace(json!({}), Change::Emptied));
        }
        _ => {}
    }
    let single = !value.is_null() && value.as_str().is_none_or(|text| !text.trim().is_empty());
    if accepts(JsonType::Array) && single && !at.is_empty() {
        ways.push(replace(json!([value]), Change::Listed));
    }
    ways
}

/// Ways to make a value one of these options: the only one that it can be meant for.
pub fn to_option(at: &str, value: &Value, options: &[Value]) -> Vec<Edit> {
    let replace = |value: &Value, what: Change| Edit::Replace {
        at: at.to_owned(),
        value: value.clone(),
        what,
    };
    let Some(text) = value.as_str() else {
        let written = value.to_string();
        return options
            .iter()
            .find(|option| option.as_str() == Some(&written))
            .map(|option| replace(option, Change::ToText))
            .into_iter()
            .collect();
    };
    let plain = text.trim().to_lowercase();
    let mut near = options.iter().filter(|option| {
        option
            .as_str()
            .is_some_and(|option| option.trim().to_lowercase() == plain)
    });
    match (near.next(), near.next()) {
        (Some(option), None) => vec![replace(option, Change::Recased)],
        (Some(_), Some(_)) => Vec::new(),
        (None, _) => parsed(text, |value| options.contains(value))
            .map(|value| replace(&value, Change::Parsed))
            .into_iter()
            .collect(),
    }
}

/// The value that a text holds as JSON, when it is one that fits and no text.
fn parsed(text: &str, fits: impl Fn(&Value) -> bool) -> Option<Value> {
    let mut text = text.trim().to_owned();
    for _ in 0..MAX_NESTED {
        let value = match text.to_ascii_lowercase().as_str() {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            _ => serde_json::from_str(&text).ok()?,
        };
        match value {
            Value::String(inner) => text = inner.trim().to_owned(),
            Value::Number(number) if !is_exact(&text, &number) => return None,
            other => return fits(&other).then_some(other),
        }
    }
    None
}

/// Whether no digit of an integer was lost.
fn is_exact(text: &str, number: &serde_json::Number) -> bool {
    !number.is_f64() || text.contains(['.', 'e', 'E'])
}

fn is_integer(number: &serde_json::Number) -> bool {
    !number.is_f64() || number.as_f64().is_some_and(|float| float.fract() == 0.0)
}
