//! What a host says instead of an answer.

use serde_json::Value;

use crate::error::ChatError;

/// Longest text of a host that goes into an error, in characters.
const MAX_TEXT: usize = 500;

/// Errors are wrapped in errors at most this often: a string in an object in a string is two.
const MAX_NESTING: usize = 8;

/// The error for a status other than 200. `body` is as much of the body as came.
pub fn from_status(status: u16, body: &[u8], model: &str) -> ChatError {
    let message = text_of_body(body);
    let model = model.to_owned();
    match status {
        404 if is_not_found(&message) => ChatError::ModelNotFound { model },
        403 if message.starts_with("ollama cloud is disabled") => ChatError::Cloud { model },
        503 => ChatError::Busy { message },
        _ => ChatError::Http { status, message },
    }
}

/// The text of a value of `error`.
///
/// llama-server's own errors come as a JSON document inside the string: `{"error":"{\"error\":{\"message\":…}}"}`.
pub fn text(error: &Value) -> String {
    let mut value = error.clone();
    for _ in 0..MAX_NESTING {
        match inner(&value) {
            Some(inside) => value = inside,
            None => break,
        }
    }
    match value {
        Value::String(text) => shortened(&text),
        other => shortened(&other.to_string()),
    }
}

/// The beginning of something that is not understood, in quotes and without control characters.
pub fn excerpt(bytes: &[u8]) -> String {
    // Four bytes a character at most, and one character more to see that there is more.
    let beginning = bytes.get(..4 * (MAX_TEXT + 1)).unwrap_or(bytes);
    format!("{:?}", shortened(&String::from_utf8_lossy(beginning)))
}

fn text_of_body(body: &[u8]) -> String {
    match serde_json::from_slice::<Value>(body) {
        Ok(document) => text(&document),
        Err(_) if body.trim_ascii().is_empty() => "no reason given".to_owned(),
        Err(_) => excerpt(body.trim_ascii()),
    }
}

fn inner(value: &Value) -> Option<Value> {
    match value {
        Value::Object(fields) => fields
            .get("error")
            .or_else(|| fields.get("message"))
            .cloned(),
        Value::String(text) => match serde_json::from_str(text) {
            Ok(Value::Object(fields)) => Some(Value::Object(fields)),
            _ => None,
        },
        _ => None,
    }
}

/// `model 'x' not found`, and `model "x" not found, try pulling it first`. Unknown paths are 404 too, with other texts.
fn is_not_found(message: &str) -> bool {
    (message.starts_with("model '") && message.contains("' not found"))
        || (message.starts_with("model \"") && message.contains("\" not found"))
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(MAX_TEXT) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or(text)),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refusal(status: u16, body: &str) -> ChatError {
        from_status(status, body.as_bytes(), "m:1b")
    }

    fn http(status: u16, message: &str) -> ChatError {
        ChatError::Http {
            status,
            message: message.to_owned(),
        }
    }

    #[test]
    fn a_missing_model() {
        let missing = ChatError::ModelNotFound {
            model: "m:1b".into(),
        };
        assert_eq!(
            refusal(404, r#"{"error":"model 'm:1b' not found"}"#),
            missing
        );
        assert_eq!(
            refusal(
                404,
                r#"{"error":"model \"m:1b\" not found, try pulling it first"}"#
            ),
            missing
        );
        assert_eq!(
            refusal(404, "404 page not found"),
            http(404, "\"404 page not found\"")
        );
        assert_eq!(
            refusal(400, r#"{"error":"model 'm:1b' not found"}"#),
            http(400, "model 'm:1b' not found")
        );
    }

    #[test]
    fn busy_and_cloud() {
        let text = "server busy, please try again.  maximum pending requests exceeded";
        assert_eq!(
            refusal(503, &json!({"error": text}).to_string()),
            ChatError::Busy {
                message: text.into()
            }
        );
        let off =
            json!({"error": "ollama cloud is disabled: remote model is unavailable"}).to_string();
        assert_eq!(
            refusal(403, &off),
            ChatError::Cloud {
                model: "m:1b".into()
            }
        );
        assert_eq!(refusal(403, ""), http(403, "no reason given"));
    }

    #[test]
    fn nested_errors_are_unwrapped() {
        let inside = json!({"error": {"code": 400, "message": "too long", "type": "exceed_context_size_error"}});
        assert_eq!(
            refusal(400, &json!({"error": inside.to_string()}).to_string()),
            http(400, "too long")
        );
        assert_eq!(refusal(400, &inside.to_string()), http(400, "too long"));
        assert_eq!(text(&json!("42")), "42");
        assert_eq!(text(&json!("{no json")), "{no json");
        assert_eq!(text(&json!({"code": 1})), r#"{"code":1}"#);
        let deep = (0..20).fold(json!("x"), |value, _| json!({"error": value}));
        assert!(text(&deep).contains(r#"{"error":"x"}"#));
    }

    #[test]
    fn foreign_bodies_are_quoted_and_short() {
        assert_eq!(refusal(502, "<html>\n"), http(502, "\"<html>\""));
        let long = "ü".repeat(2 * MAX_TEXT);
        let short = format!("{}…", "ü".repeat(MAX_TEXT));
        assert_eq!(
            refusal(500, &json!({"error": long}).to_string()),
            http(500, &short)
        );
        assert_eq!(refusal(500, &long), http(500, &format!("{short:?}")));
    }
}
