//! How long a model stays loaded after its last request.

use std::time::Duration;

use serde_json::Value;

use crate::refusal::Refusal;

/// A value of `keep_alive`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeepAlive {
    /// So long; zero unloads it at once.
    For(Duration),
    /// Until it has to make room.
    Forever,
}

impl Default for KeepAlive {
    /// Ollama's default.
    fn default() -> Self {
        Self::For(Duration::from_secs(5 * 60))
    }
}

impl KeepAlive {
    /// Reads seconds as a number, or a span as Go writes it: `5m`, `1h30m`, `-1s`.
    ///
    /// # Errors
    /// 400 with Go's words.
    pub fn read(value: &Value) -> Result<Self, Refusal> {
        match value {
            Value::Number(seconds) => {
                let seconds = seconds.as_f64().unwrap_or(-1.0);
                Ok(Duration::try_from_secs_f64(seconds).map_or(Self::Forever, Self::For))
            }
            Value::String(text) => span(text)
                .ok_or_else(|| Refusal::bad_request(format!("time: invalid duration {text:?}"))),
            other => Err(Refusal::bad_request(format!(
                "Unsupported type: '{}'",
                go_type(other)
            ))),
        }
    }

    /// Whether the model is to go at once.
    pub fn is_zero(self) -> bool {
        self == Self::For(Duration::ZERO)
    }
}

fn span(text: &str) -> Option<KeepAlive> {
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let span = if text == "0" {
        Duration::ZERO
    } else {
        humantime::parse_duration(text).ok()?
    };
    if negative && !span.is_zero() {
        return Some(KeepAlive::Forever);
    }
    Some(KeepAlive::For(span))
}

fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Bool(_) => "bool",
        Value::Array(_) => "[]interface {}",
        _ => "map[string]interface {}",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn spans_are_read_as_go_does() {
        let span = |seconds| Ok(KeepAlive::For(Duration::from_secs(seconds)));
        let cases = [
            (json!(0), span(0)),
            (json!(90), span(90)),
            (json!(-1), Ok(KeepAlive::Forever)),
            (json!("0"), span(0)),
            (json!("1h30m"), span(5400)),
            (json!("-1m"), Ok(KeepAlive::Forever)),
            (
                json!("soon"),
                Err(Refusal::bad_request("time: invalid duration \"soon\"")),
            ),
            (
                json!(true),
                Err(Refusal::bad_request("Unsupported type: 'bool'")),
            ),
        ];
        for (value, expected) in cases {
            assert_eq!(KeepAlive::read(&value), expected, "{value}");
        }
    }
}
