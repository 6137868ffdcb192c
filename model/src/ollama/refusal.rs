//! What a host says instead of an answer.

use serde_json::Value;

use crate::error::ChatError;

/// Longest text of a host that goes into an error, in characters.
const MAX_TEXT: usize = 500;

/// Errors are wrapped in errors at most this often: a string in an object in a string is two.
const MAX_NESTING: usize = 8;

/// What the server says in some form when a chat is longer than the window: the runners before 0.30, Ollama 0.30 and
/// later, and llama-server, whose own words also have the numbers.
const TOO_LONG: [&str; 4] = [
    "the input length exceeds the context length",
    "the prompt is longer than the context length",
    "exceeds the available context size",
    "input after truncation exceeds maximum context length",
];

/// What the server says when it cannot read a call that the model wrote: its own parsers (they differ by model), that of
/// llama-server, and the JSON decoder of Go.
/// In lower case.
const NO_CALL: [&str; 9] = [
    "error parsing tool call",
    "invalid tool call",
    "failed to parse ",
    "incomplete glm tool call",
    "no tool call",
    "invalid function call format",
    "empty function name",
    "invalid function name",
    "invalid character '",
];

/// The error for a status other than 200. `body` is as much of the body as came.
pub fn from_status(status: u16, body: &[u8], model: &str) -> ChatError {
    let said = Said::in_body(body);
    let model = model.to_owned();
    match status {
        404 if is_not_found(&said.text) => ChatError::ModelNotFound { model },
        403 if said.text.starts_with("ollama cloud is disabled") => ChatError::Cloud { model },
        // Only what goes to ollama.com asks to sign in.
        401 if said.asks_to_sign_in => ChatError::Cloud { model },
        // Ollama says 503; 429 is of a gateway before it.
        429 | 503 => ChatError::Busy { message: said.text },
        400 if said.text.ends_with("does not support tools") => {
            ChatError::ToolsUnsupported { model }
        }
        400 if said.text.contains("does not support thinking") => {
            ChatError::ThinkingUnsupported { model }
        }
        400 | 413 | 500 if said.is_too_long() => said.too_long(),
        500 if said.is_no_call() => ChatError::ToolParse { message: said.text },
        _ => ChatError::Http {
            status,
            message: said.text,
        },
    }
}

/// The error for a value of `error` in the middle of an answer.
pub fn in_a_stream(error: &Value) -> ChatError {
    let said = Said::new(error);
    if said.is_too_long() {
        said.too_long()
    } else if said.is_no_call() {
        ChatError::ToolParse { message: said.text }
    } else {
        ChatError::MidStream { message: said.text }
    }
}

/// What a host said, out of all that it is wrapped in.
#[derive(Debug, Default)]
struct Said {
    text: String,
    /// llama-server's `type` is the one for a chat that is too long.
    exceeds: bool,
    prompt: Option<u64>,
    window: Option<u64>,
    asks_to_sign_in: bool,
}

impl Said {
    fn in_body(body: &[u8]) -> Self {
        let text = match serde_json::from_slice::<Value>(body) {
            Ok(document) => return Self::new(&document),
            Err(_) if body.trim_ascii().is_empty() => "no reason given".to_owned(),
            Err(_) => excerpt(body.trim_ascii()),
        };
        Self {
            text,
            ..Self::default()
        }
    }

    /// Of a value of `error`, or of a whole document.
    ///
    /// llama-server's own errors come as a JSON document inside the string: `{"error":"{\"error\":{\"message\":…}}"}`.
    fn new(error: &Value) -> Self {
        let mut said = Self::default();
        let mut value = error.clone();
        for _ in 0..MAX_NESTING {
            said.note(&value);
            match inner(&value) {
                Some(inside) => value = inside,
                None => break,
            }
        }
        said.text = match value {
            Value::String(text) => shortened(&text),
            other => shortened(&other.to_string()),
        };
        said
    }

    fn note(&mut self, value: &Value) {
        let number = |field| value.get(field).and_then(Value::as_u64);
        self.exceeds |=
            value.get("type").and_then(Value::as_str) == Some("exceed_context_size_error");
        self.prompt = self.prompt.or_else(|| number("n_prompt_tokens"));
        self.window = self.window.or_else(|| number("n_ctx"));
        self.asks_to_sign_in |= value.get("signin_url").is_some();
    }

    fn is_too_long(&self) -> bool {
        self.exceeds || TOO_LONG.iter().any(|words| self.text.contains(words))
    }

    fn is_no_call(&self) -> bool {
        let text = self.text.to_lowercase();
        NO_CALL.iter().any(|words| text.contains(words))
    }

    /// The numbers stand in fields, or in the text: `request (3003 tokens) exceeds … size (256 tokens)`.
    fn too_long(self) -> ChatError {
        let (first, second) = {
            let mut told = numbers_of_tokens(&self.text);
            (told.next(), told.next())
        };
        ChatError::ContextTooLong {
            prompt: self.prompt.or(first),
            window: self.window.or(second),
            message: self.text,
        }
    }
}

fn numbers_of_tokens(text: &str) -> impl Iterator<Item = u64> {
    text.split('(').filter_map(|part| {
        let (number, _) = part.split_once(" tokens)")?;
        number.parse().ok()
    })
}

/// The beginning of something that is not understood, in quotes and without control characters.
pub fn excerpt(bytes: &[u8]) -> String {
    // Four bytes a character at most, and one character more to see that there is more.
    let beginning = bytes.get(..4 * (MAX_TEXT + 1)).unwrap_or(bytes);
    format!("{:?}", shortened(&String::from_utf8_lossy(beginning)))
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
        for status in [429, 503] {
            assert_eq!(
                refusal(status, &json!({"error": text}).to_string()),
                ChatError::Busy {
                    message: text.into()
                }
            );
        }
        let off =
            json!({"error": "ollama cloud is disabled: remote model is unavailable"}).to_string();
        assert_eq!(
            refusal(403, &off),
            ChatError::Cloud {
                model: "m:1b".into()
            }
        );
        assert_eq!(refusal(403, ""), http(403, "no reason given"));
        let sign_in = json!({"error": "unauthorized", "signin_url": "https://ollama.com/connect"});
        assert_eq!(
            refusal(401, &sign_in.to_string()),
            ChatError::Cloud {
                model: "m:1b".into()
            }
        );
        assert_eq!(
            refusal(401, r#"{"error":"unauthorized"}"#),
            http(401, "unauthorized")
        );
    }

    #[test]
    fn nested_errors_are_unwrapped() {
        let inside = json!({"error": {"code": 400, "message": "no room", "type": "odd"}});
        assert_eq!(
            refusal(400, &json!({"error": inside.to_string()}).to_string()),
            http(400, "no room")
        );
        assert_eq!(refusal(400, &inside.to_string()), http(400, "no room"));
        let text = |error: Value| Said::new(&error).text;
        assert_eq!(text(json!("42")), "42");
        assert_eq!(text(json!("{no json")), "{no json");
        assert_eq!(text(json!({"code": 1})), r#"{"code":1}"#);
        let deep = (0..20).fold(json!("x"), |value, _| json!({"error": value}));
        assert!(text(deep).contains(r#"{"error":"x"}"#));
    }

    #[test]
    fn what_a_model_cannot_do() {
        let model = || "m:1b".to_owned();
        let tools = json!({"error": "registry.ollama.ai/library/m:1b does not support tools"});
        let thinking = json!({"error": "\"m:1b\" does not support thinking"});
        assert_eq!(
            refusal(400, &tools.to_string()),
            ChatError::ToolsUnsupported { model: model() }
        );
        assert_eq!(
            refusal(400, &thinking.to_string()),
            ChatError::ThinkingUnsupported { model: model() }
        );
        let chat = json!({"error": "\"m:1b\" does not support chat"});
        assert_eq!(
            refusal(400, &chat.to_string()),
            http(400, "\"m:1b\" does not support chat")
        );
    }

    fn too_long(prompt: Option<u64>, window: Option<u64>, message: &str) -> ChatError {
        ChatError::ContextTooLong {
            prompt,
            window,
            message: message.to_owned(),
        }
    }

    #[test]
    fn the_wordings_of_too_long() {
        let old = "the input length exceeds the context length";
        let new = "the prompt is longer than the context length currently available to the model; shorten the prompt";
        let runner = "request (3003 tokens) exceeds the available context size (256 tokens), try increasing it";
        for text in [old, new] {
            let document = json!({"error": text});
            assert_eq!(
                refusal(400, &document.to_string()),
                too_long(None, None, text)
            );
            assert_eq!(in_a_stream(&document), too_long(None, None, text));
        }
        let numbers = too_long(Some(3003), Some(256), runner);
        let plain = json!({"error": runner});
        assert_eq!(refusal(400, &plain.to_string()), numbers);
        let fields = json!({"error": {
            "code": 400, "message": "words of tomorrow", "type": "exceed_context_size_error",
            "n_prompt_tokens": 3003, "n_ctx": 256,
        }});
        let nested = json!({"error": fields.to_string()});
        let expected = too_long(Some(3003), Some(256), "words of tomorrow");
        assert_eq!(refusal(400, &nested.to_string()), expected);
        assert_eq!(refusal(400, &fields.to_string()), expected);
        assert_eq!(in_a_stream(&nested["error"]), expected);
    }

    #[test]
    fn calls_that_a_host_cannot_read() {
        let words = [
            "error parsing tool call: raw='{\"a\":', err=unexpected end of JSON input",
            "llama-server returned invalid tool call arguments for \"x\": unexpected end of JSON input",
            "failed to parse JSON: invalid character '}' after object key",
            "Failed to parse input at pos 12: <tool_call>",
            "invalid character 'f' looking for beginning of value",
        ];
        for text in words {
            let error = ChatError::ToolParse {
                message: text.to_owned(),
            };
            assert_eq!(refusal(500, &json!({"error": text}).to_string()), error);
            assert_eq!(in_a_stream(&json!(text)), error);
        }
        // A body of ours that is broken is no fault of the model.
        let broken = "invalid character 'f' looking for beginning of value";
        assert_eq!(
            refusal(400, &json!({"error": broken}).to_string()),
            http(400, broken)
        );
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
