//! Calls as the loop compares and repeats them.

use serde_json::{Value, json};
use swarm_protocol::journal::ToolCall;

/// What makes two calls the same: tool and arguments, whatever the order of their fields.
pub(super) fn key(call: &ToolCall) -> String {
    let mut key = format!("{} ", call.name);
    write_canonical(&call.input, &mut key);
    key
}

fn write_canonical(value: &Value, out: &mut String) {
    match value {
        Value::Object(fields) => {
            let mut ordered: Vec<(&String, &Value)> = fields.iter().collect();
            ordered.sort_by_key(|(name, _)| *name);
            out.push('{');
            for (name, value) in ordered {
                out.push_str(&Value::from(name.as_str()).to_string());
                out.push(':');
                write_canonical(value, out);
                out.push(',');
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for item in items {
                write_canonical(item, out);
                out.push(',');
            }
            out.push(']');
        }
        other => out.push_str(&other.to_string()),
    }
}

/// Arguments as hosts take them back: anything but an object is refused with 400.
pub(super) fn as_object(input: &Value) -> Value {
    match input {
        Value::Object(_) => input.clone(),
        Value::Null => json!({}),
        Value::String(text) => serde_json::from_str(text)
            .ok()
            .filter(Value::is_object)
            .unwrap_or_else(|| json!({ "input": text })),
        other => json!({ "input": other }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(input: &str) -> ToolCall {
        ToolCall {
            tool_use_id: "c".into(),
            name: "t".into(),
            input: serde_json::from_str(input).unwrap(),
        }
    }

    #[test]
    fn the_order_of_fields_makes_no_other_call() {
        let one = key(&call(r#"{"a":1,"b":[{"x":null,"y":"z"}]}"#));
        assert_eq!(one, key(&call(r#"{"b":[{"y":"z","x":null}],"a":1}"#)));
        for other in [
            r#"{"a":2,"b":[]}"#,
            r#"{"a":"1","b":[{"x":null,"y":"z"}]}"#,
            "1",
        ] {
            assert_ne!(one, key(&call(other)), "{other}");
        }
    }

    #[test]
    fn what_goes_back_to_a_host_is_an_object() {
        for (input, object) in [
            (r#"{"a":1}"#, r#"{"a":1}"#),
            (r#""{\"a\":1}""#, r#"{"a":1}"#),
            (r#""so""#, r#"{"input":"so"}"#),
            ("null", "{}"),
            ("[1]", r#"{"input":[1]}"#),
        ] {
            assert_eq!(as_object(&call(input).input).to_string(), object);
        }
    }
}
