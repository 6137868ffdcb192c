//! The `options` of a chat request.

use serde_json::{Map, Value};

use crate::refusal::Refusal;

/// So many windows are spoken where nothing bounds the answer.
const OPEN_END: u64 = 10;
/// What a `num_ctx` below it becomes, without a word.
const SMALLEST_WINDOW: u64 = 4;

/// What the simulator follows of the options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunOptions {
    /// `num_ctx` between 4 and the model's context length, in tokens.
    pub window: u64,
    /// The most tokens of the answer: `num_predict` if it is above 0, else ten windows.
    pub limit: usize,
}

enum Type {
    Integer,
    Float,
    Boolean,
    Strings,
}

/// The options that Ollama 0.33 knows; others are ignored.
const KNOWN: [(&str, Type); 20] = [
    ("draft_num_predict", Type::Integer),
    ("frequency_penalty", Type::Float),
    ("main_gpu", Type::Integer),
    ("min_p", Type::Float),
    ("num_batch", Type::Integer),
    ("num_ctx", Type::Integer),
    ("num_gpu", Type::Integer),
    ("num_keep", Type::Integer),
    ("num_predict", Type::Integer),
    ("num_thread", Type::Integer),
    ("presence_penalty", Type::Float),
    ("repeat_last_n", Type::Integer),
    ("repeat_penalty", Type::Float),
    ("seed", Type::Integer),
    ("stop", Type::Strings),
    ("temperature", Type::Float),
    ("top_k", Type::Integer),
    ("top_p", Type::Float),
    ("typical_p", Type::Float),
    ("use_mmap", Type::Boolean),
];

impl RunOptions {
    /// Checks the types of all known options and reads those that matter here.
    ///
    /// # Errors
    /// 500, as from Ollama, for a wrong type. Numbers with a fraction are taken for integers.
    pub fn read(
        options: &Map<String, Value>,
        default_window: u64,
        context_length: u64,
    ) -> Result<Self, Refusal> {
        for (name, kind) in &KNOWN {
            if let Some(value) = options.get(*name) {
                kind.check(name, value)?;
            }
        }
        let window =
            integer(options, "num_ctx").map_or(default_window, |n| u64::try_from(n).unwrap_or(0));
        let window = window.min(context_length).max(SMALLEST_WINDOW);
        let limit = integer(options, "num_predict").filter(|n| *n > 0);
        let limit = limit.and_then(|n| u64::try_from(n).ok());
        let limit = limit.unwrap_or(window.saturating_mul(OPEN_END));
        Ok(Self {
            window,
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
        })
    }
}

impl Type {
    fn check(&self, name: &str, value: &Value) -> Result<(), Refusal> {
        let wanted = match (self, value) {
            (_, Value::Null)
            | (Self::Integer | Self::Float, Value::Number(_))
            | (Self::Boolean, Value::Bool(_)) => return Ok(()),
            (Self::Strings, Value::Array(items)) if items.iter().all(Value::is_string) => {
                return Ok(());
            }
            (Self::Strings, Value::Array(_)) => "an array of strings",
            (Self::Strings, _) => "type array",
            (Self::Integer, _) => "type integer",
            (Self::Float, _) => "type float32",
            (Self::Boolean, _) => "type boolean",
        };
        Err(Refusal::internal(format!(
            "option {name:?} must be of {wanted}"
        )))
    }
}

/// A number without its fraction.
fn integer(options: &Map<String, Value>, name: &str) -> Option<i64> {
    let value = options.get(name)?;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a cast that saturates is what Ollama does too"
    )]
    value
        .as_i64()
        .or_else(|| value.as_f64().map(|number| number as i64))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(options: Value) -> Result<RunOptions, Refusal> {
        RunOptions::read(options.as_object().unwrap(), 4096, 8192)
    }

    #[test]
    fn windows_and_limits() {
        let cases = [
            (json!({}), 4096, 40_960),
            (json!({"num_ctx": null, "num_predict": -1}), 4096, 40_960),
            (json!({"num_ctx": 10_000, "num_predict": 7}), 8192, 7),
            (json!({"num_ctx": -5, "num_predict": 1.5}), 4, 1),
            (
                json!({"num_ctx": 0, "num_predict": 0, "unknown": {}}),
                4,
                40,
            ),
        ];
        for (options, window, limit) in cases {
            assert_eq!(
                read(options.clone()),
                Ok(RunOptions { window, limit }),
                "{options}"
            );
        }
    }

    #[test]
    fn wrong_types_are_refused() {
        let cases = [
            (
                json!({"num_ctx": "x"}),
                r#"option "num_ctx" must be of type integer"#,
            ),
            (
                json!({"temperature": "hot"}),
                r#"option "temperature" must be of type float32"#,
            ),
            (
                json!({"use_mmap": 1}),
                r#"option "use_mmap" must be of type boolean"#,
            ),
            (
                json!({"stop": "x"}),
                r#"option "stop" must be of type array"#,
            ),
            (
                json!({"stop": [1]}),
                r#"option "stop" must be of an array of strings"#,
            ),
        ];
        for (options, message) in cases {
            assert_eq!(read(options), Err(Refusal::internal(message)));
        }
    }
}
