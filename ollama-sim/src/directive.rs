//! Marks of the form `[[sim:name=value]]` in the last user message, with which a test steers one answer.

use std::time::Duration;

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::fault::Fault;
use crate::options;
use crate::refusal::Refusal;

const OPENING: &str = "[[sim:";
const CLOSING: &str = "]]";
/// Keeps a slip of the pen from filling the memory.
const MOST_TOKENS: usize = 1_000_000;

/// What the marks of one message ask for. A mark that is given twice counts as it was given last.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Directives {
    /// `[[sim:latency=200ms]]`: time to the first token.
    pub latency: Option<Duration>,
    /// `[[sim:tps=20]]`: tokens per second, 0 = all at once.
    pub tokens_per_second: Option<f64>,
    /// `[[sim:tokens=50]]`: the answer's exact length, reached by cutting it or telling it again; 1 to 1,000,000.
    pub tokens: Option<usize>,
    /// `[[sim:reply=some text]]`: the answer's text after its `[SIMULATED <model>] `. It cannot hold `]]`.
    pub reply: Option<String>,
    /// `[[sim:call=name {"argument": 1}]]`: a call of this tool, offered or not. It cannot hold `]]`.
    pub call: Option<Call>,
    /// `[[sim:fault=stall:3]]`: something that goes wrong, by its name and the number of chunks before it.
    pub fault: Option<Fault>,
    /// `[[sim:fail=500]]`: after the latency, an HTTP error with this status (400 to 599).
    pub fail: Option<StatusCode>,
    /// `[[sim:cut]]`: the connection is closed after half of the answer, without `done`.
    pub cut: bool,
}

/// A tool call that a mark asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// The tool.
    pub name: String,
    /// What it is called with.
    pub arguments: Value,
}

/// Takes the marks out of a message: what is left, and what they ask for.
///
/// # Errors
/// 400 for a mark that is unknown, not closed or has a bad value: a test that misspells one must not pass.
pub fn extract(message: &str) -> Result<(String, Directives), Refusal> {
    let mut rest = message;
    let mut left = String::with_capacity(message.len());
    let mut directives = Directives::default();
    while let Some((before, after)) = rest.split_once(OPENING) {
        let (mark, behind) = after
            .split_once(CLOSING)
            .ok_or_else(|| refuse(after, "is not closed by ]]"))?;
        directives.set(mark)?;
        left.push_str(before);
        rest = behind;
    }
    left.push_str(rest);
    Ok((left, directives))
}

impl Directives {
    fn set(&mut self, mark: &str) -> Result<(), Refusal> {
        match mark.split_once('=').unwrap_or((mark, "")) {
            ("latency", value) => {
                self.latency = Some(options::duration(value).map_err(|error| refuse(mark, error))?)
            }
            ("tps", value) => {
                self.tokens_per_second =
                    Some(options::rate(value).map_err(|error| refuse(mark, error))?)
            }
            ("tokens", value) => self.tokens = Some(tokens(mark, value)?),
            ("reply", value) => self.reply = Some(value.to_owned()),
            ("call", value) => self.call = Some(call(mark, value)?),
            ("fault", value) => {
                self.fault = Some(Fault::read(value).map_err(|error| refuse(mark, error))?)
            }
            ("fail", value) => self.fail = Some(status(mark, value)?),
            ("cut", "") => self.cut = true,
            _ => {
                return Err(refuse(
                    mark,
                    "is unknown; there are latency, tps, tokens, reply, call, fault, fail and cut",
                ));
            }
        }
        Ok(())
    }
}

fn tokens(mark: &str, value: &str) -> Result<usize, Refusal> {
    let count = value.parse().map_err(|error| refuse(mark, error))?;
    match count {
        1..=MOST_TOKENS => Ok(count),
        _ => Err(refuse(mark, "must be 1 to 1000000")),
    }
}

fn call(mark: &str, value: &str) -> Result<Call, Refusal> {
    let (name, arguments) = value.split_once(' ').unwrap_or((value, ""));
    let arguments = match arguments.trim() {
        "" => json!({}),
        text => serde_json::from_str(text).map_err(|error| refuse(mark, error))?,
    };
    Ok(Call {
        name: name.to_owned(),
        arguments,
    })
}

fn status(mark: &str, value: &str) -> Result<StatusCode, Refusal> {
    let status: StatusCode = value.parse().map_err(|error| refuse(mark, error))?;
    match status.as_u16() {
        400..=599 => Ok(status),
        _ => Err(refuse(mark, "must be 400 to 599")),
    }
}

fn refuse(mark: &str, why: impl std::fmt::Display) -> Refusal {
    Refusal::bad_request(format!("ollama-sim: directive {mark:?} {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Kind;

    #[test]
    fn all_marks_are_taken_out_together() {
        let message = "a [[sim:latency=1s]][[sim:tps=0.5]]b[[sim:tokens=7]] \
                       [[sim:reply=x = [y]\n.]][[sim:call=f {\"a\": [1]}]][[sim:fault=stall:3]][[sim:fail=503]][[sim:cut]]c [[x]]";
        let expected = Directives {
            latency: Some(Duration::from_secs(1)),
            tokens_per_second: Some(0.5),
            tokens: Some(7),
            reply: Some("x = [y]\n.".to_owned()),
            call: Some(Call {
                name: "f".to_owned(),
                arguments: json!({"a": [1]}),
            }),
            fault: Some(Fault {
                after: Some(3),
                ..Fault::from(Kind::Stall)
            }),
            fail: Some(StatusCode::SERVICE_UNAVAILABLE),
            cut: true,
        };
        assert_eq!(extract(message), Ok(("a b c [[x]]".to_owned(), expected)));
    }

    #[test]
    fn a_message_without_marks_stays_as_it_is() {
        assert_eq!(
            extract(" [[sim]] "),
            Ok((" [[sim]] ".to_owned(), Directives::default()))
        );
    }

    #[test]
    fn bad_marks_are_refused() {
        let errors = [
            "[[sim:cut",
            "[[sim:cut=1]]",
            "[[sim:tokens=0]]",
            "[[sim:tokens=x]]",
            "[[sim:fail=200]]",
        ];
        let expected = [
            r#"ollama-sim: directive "cut" is not closed by ]]"#,
            r#"ollama-sim: directive "cut=1" is unknown; there are latency, tps, tokens, reply, call, fault, fail and cut"#,
            r#"ollama-sim: directive "tokens=0" must be 1 to 1000000"#,
            r#"ollama-sim: directive "tokens=x" invalid digit found in string"#,
            r#"ollama-sim: directive "fail=200" must be 400 to 599"#,
        ];
        assert_eq!(
            errors.map(extract),
            expected.map(|error| Err(Refusal::bad_request(error)))
        );
        assert!(extract("[[sim:latency=5]]").is_err());
        assert!(extract("[[sim:tps=-1]]").is_err());
    }
}
