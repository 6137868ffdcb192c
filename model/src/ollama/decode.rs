//! The stream of an answer: bytes to lines, lines to frames, without I/O.

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};
use serde::Deserialize;
use serde_json::Value;

use super::probe::is_remote;
use super::refusal;
use crate::chat::ToolCall;
use crate::error::ChatError;

/// Longest line that is read. Answers of tools that quote whole files reach several MiB.
const MAX_LINE: usize = 16 * 1024 * 1024;

/// Cuts chunks of bytes into lines.
///
/// Lines are cut at the byte, never at a character, so a chunk may end anywhere.
#[derive(Debug)]
pub struct Lines {
    /// The beginning of a line whose end has not come: it holds no line end.
    begun: BytesMut,
    /// What has come behind it.
    chunk: Bytes,
    max: usize,
}

impl Default for Lines {
    fn default() -> Self {
        Self::up_to(MAX_LINE)
    }
}

impl Lines {
    fn up_to(max: usize) -> Self {
        Self {
            begun: BytesMut::new(),
            chunk: Bytes::new(),
            max,
        }
    }

    /// Takes the next bytes of the stream.
    pub fn push(&mut self, bytes: Bytes) {
        if self.chunk.is_empty() {
            self.chunk = bytes;
        } else {
            self.chunk = [std::mem::take(&mut self.chunk), bytes].concat().into();
        }
    }

    /// The next complete line that is not blank, without its line end.
    ///
    /// # Errors
    /// [`ChatError::BadFrame`] for a line over the limit, also before its end has come.
    pub fn next(&mut self) -> Result<Option<Bytes>, ChatError> {
        while let Some(end) = memchr::memchr(b'\n', &self.chunk) {
            let mut line = self.chunk.split_to(end + 1);
            line.truncate(end);
            if !self.begun.is_empty() {
                self.begun.extend_from_slice(&line);
                line = self.begun.split().freeze();
            }
            if line.len() > self.max {
                return Err(self.too_long());
            }
            if !line.trim_ascii().is_empty() {
                return Ok(Some(line));
            }
        }
        let unended = std::mem::take(&mut self.chunk);
        self.begun.extend_from_slice(&unended);
        if self.begun.len() > self.max {
            return Err(self.too_long());
        }
        Ok(None)
    }

    /// What is left when the stream has ended: a last line that has no line end.
    pub fn rest(&mut self) -> Option<Bytes> {
        self.begun.extend_from_slice(&self.chunk);
        self.chunk.clear();
        let line = self.begun.split().freeze();
        (!line.trim_ascii().is_empty()).then_some(line)
    }

    fn too_long(&self) -> ChatError {
        let detail = format!("a line is longer than {} bytes", self.max);
        ChatError::BadFrame { detail }
    }
}

/// One line of an answer. Hosts leave out what is zero, empty or unknown to their version.
#[derive(Debug, Default, PartialEq, Deserialize)]
pub struct Frame<'a> {
    /// A piece of the answer; the last frame may hold one too.
    #[serde(borrow)]
    pub message: Option<FrameMessage<'a>>,
    /// Whether this is the last frame.
    pub done: Option<bool>,
    /// Why the answer ended.
    pub done_reason: Option<String>,
    /// Tokens of the prompt, on the last frame.
    pub prompt_eval_count: Option<u64>,
    /// Tokens of the answer, on the last frame.
    pub eval_count: Option<u64>,
    /// Something went wrong after the answer had begun.
    pub error: Option<Value>,
    /// Where a model of the cloud runs.
    pub remote_host: Option<String>,
    /// What it is called there.
    pub remote_model: Option<String>,
}

/// The message of a frame.
#[derive(Debug, Default, PartialEq, Deserialize)]
pub struct FrameMessage<'a> {
    /// The next piece of the text.
    #[serde(borrow)]
    pub content: Option<Piece<'a>>,
    /// The next piece of thinking.
    #[serde(borrow)]
    pub thinking: Option<Piece<'a>>,
    /// Calls of tools; in any frame, also in the last one.
    pub tool_calls: Option<Vec<FrameCall>>,
}

/// A piece of text as it stands in the line, where nothing in it is written by escapes.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(transparent)]
pub struct Piece<'a>(#[serde(borrow)] pub Cow<'a, str>);

/// A call of a tool.
#[derive(Debug, PartialEq, Deserialize)]
pub struct FrameCall {
    /// Missing on hosts before 0.12.10, and empty or doubled on others.
    id: Option<Value>,
    function: FrameFunction,
}

#[derive(Debug, PartialEq, Deserialize)]
struct FrameFunction {
    name: String,
    #[serde(default)]
    arguments: Value,
}

impl From<FrameCall> for ToolCall {
    fn from(call: FrameCall) -> Self {
        let id = match call.id {
            Some(Value::String(id)) if !id.is_empty() => Some(id),
            Some(Value::Number(id)) => Some(id.to_string()),
            _ => None,
        };
        Self {
            id,
            name: call.function.name,
            arguments: call.function.arguments,
        }
    }
}

impl<'a> Frame<'a> {
    /// Reads a line.
    ///
    /// # Errors
    /// [`ChatError::BadFrame`] for anything that is no JSON object with a message, an error or `done`.
    pub fn parse(line: &'a [u8]) -> Result<Self, ChatError> {
        let bad = |what: String| ChatError::BadFrame {
            detail: format!("{what}: {}", refusal::excerpt(line)),
        };
        // serde would take an array for the fields of a struct in their order.
        if !line.trim_ascii_start().starts_with(b"{") {
            return Err(bad("no JSON object".to_owned()));
        }
        let text = std::str::from_utf8(line).map_err(|error| bad(error.to_string()))?;
        let frame: Self = serde_json::from_str(text).map_err(|error| bad(error.to_string()))?;
        if frame.message.is_none() && frame.error.is_none() && frame.done.is_none() {
            return Err(bad("no message, error or `done`".to_owned()));
        }
        Ok(frame)
    }

    /// Whether another machine wrote this, behind the host that was asked.
    #[must_use]
    pub fn is_remote(&self) -> bool {
        is_remote(&self.remote_host, &self.remote_model)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Blank lines, both line ends, characters of one to four bytes, and a last line without an end.
    const STREAM: &str = "{\"a\":\"é\"}\n\n  \r\n{\"b\":\"日本\"}\r\n{\"c\":\"🦀\"}\n{\"d\":1}";
    const LINES: [&str; 4] = [
        "{\"a\":\"é\"}",
        "{\"b\":\"日本\"}\r",
        "{\"c\":\"🦀\"}",
        "{\"d\":1}",
    ];

    fn lines_of<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<String> {
        let (mut lines, mut found) = (Lines::default(), Vec::new());
        for chunk in chunks {
            lines.push(Bytes::copy_from_slice(chunk));
            while let Some(line) = lines.next().unwrap() {
                found.push(line);
            }
        }
        found.extend(lines.rest());
        assert_eq!(lines.rest(), None);
        found
            .into_iter()
            .map(|line| String::from_utf8(line.to_vec()).unwrap())
            .collect()
    }

    #[test]
    fn a_stream_may_be_cut_anywhere() {
        let stream = STREAM.as_bytes();
        for first in 0..=stream.len() {
            for second in first..=stream.len() {
                let chunks = [&stream[..first], &stream[first..second], &stream[second..]];
                assert_eq!(lines_of(chunks), LINES, "cut at {first} and {second}");
            }
        }
        for size in 1..=stream.len() {
            assert_eq!(lines_of(stream.chunks(size)), LINES, "chunks of {size}");
        }
    }

    #[test]
    fn nothing_and_blanks_are_no_line() {
        for stream in ["", "\n", " \n\t\r\n ", "\n\n\n"] {
            assert_eq!(lines_of([stream.as_bytes()]), [""; 0], "{stream:?}");
        }
    }

    #[test]
    fn a_line_has_a_limit() {
        let too_long = Err(ChatError::BadFrame {
            detail: "a line is longer than 4 bytes".into(),
        });
        let after = |bytes: &[u8]| {
            let mut lines = Lines::up_to(4);
            lines.push(Bytes::copy_from_slice(bytes));
            lines.next()
        };
        assert_eq!(after(b"1234\n5"), Ok(Some(Bytes::from_static(b"1234"))));
        assert_eq!(after(b"1234"), Ok(None));
        assert_eq!(after(b"12345"), too_long);
        assert_eq!(after(b"12345\n"), too_long);
        assert_eq!(Lines::default().max, 16 * 1024 * 1024);
    }

    #[test]
    fn a_large_line_in_small_chunks() {
        let line = "ü".repeat(3 * 1024 * 1024);
        let chunks = line.as_bytes().chunks(4097).chain([&b"\n"[..]]);
        assert_eq!(lines_of(chunks), [line.as_str()]);
    }

    #[test]
    fn frames() {
        let message = |content: &'static str| {
            Some(FrameMessage {
                content: Some(Piece(content.into())),
                ..FrameMessage::default()
            })
        };
        let table = [
            (
                json!({"model": "m", "created_at": "T", "message": {"role": "assistant", "content": "é"}, "done": false}),
                Frame {
                    message: message("é"),
                    done: Some(false),
                    ..Frame::default()
                },
            ),
            (
                json!({"message": {"role": "odd", "content": "a", "tool_calls": null, "images": null}, "done": true, "done_reason": "stop", "prompt_eval_count": 3, "eval_count": 4, "new": {}}),
                Frame {
                    message: message("a"),
                    done: Some(true),
                    done_reason: Some("stop".into()),
                    prompt_eval_count: Some(3),
                    eval_count: Some(4),
                    ..Frame::default()
                },
            ),
            (
                json!({"message": {"thinking": "hm", "content": null}}),
                Frame {
                    message: Some(FrameMessage {
                        thinking: Some(Piece("hm".into())),
                        ..FrameMessage::default()
                    }),
                    ..Frame::default()
                },
            ),
            (
                json!({"error": "x"}),
                Frame {
                    error: Some(json!("x")),
                    ..Frame::default()
                },
            ),
        ];
        for (line, frame) in table {
            let line = line.to_string();
            assert_eq!(Frame::parse(line.as_bytes()), Ok(frame));
        }
    }

    #[test]
    fn lines_that_are_no_frames() {
        let table = [
            (&b"<html>"[..], "no JSON object: \"<html>\""),
            (b"[]", "no JSON object: \"[]\""),
            (b"null", "no JSON object: \"null\""),
            (
                b"{\"done\":tru",
                "EOF while parsing a value at line 1 column 11: \"{\\\"done\\\":tru\"",
            ),
            (
                b"{\"status\":\"ok\"}",
                "no message, error or `done`: \"{\\\"status\\\":\\\"ok\\\"}\"",
            ),
            (
                b"{\"error\":null}",
                "no message, error or `done`: \"{\\\"error\\\":null}\"",
            ),
            (
                b"{\"message\":{\"content\":\"\xff\"}}",
                "invalid utf-8 sequence of 1 bytes from index 23: \"{\\\"message\\\":{\\\"content\\\":\\\"\u{fffd}\\\"}}\"",
            ),
        ];
        for (line, detail) in table {
            assert_eq!(
                Frame::parse(line),
                Err(ChatError::BadFrame {
                    detail: detail.into()
                })
            );
        }
    }

    #[test]
    fn calls_come_as_they_are() {
        let table = [
            (
                json!({"id": "call_1", "function": {"index": 0, "name": "f", "arguments": {"b": 1, "a": {"c": null}}}}),
                (Some("call_1"), json!({"b": 1, "a": {"c": null}})),
            ),
            (
                json!({"function": {"name": "f", "arguments": "{\"a\": \"{}\"}"}}),
                (None, json!("{\"a\": \"{}\"}")),
            ),
            (
                json!({"id": "", "type": "function", "function": {"name": "f", "arguments": [1]}}),
                (None, json!([1])),
            ),
            (
                json!({"id": 7, "function": {"name": "f", "arguments": null}}),
                (Some("7"), json!(null)),
            ),
            (
                json!({"id": null, "function": {"name": "f"}}),
                (None, json!(null)),
            ),
        ];
        for (came, (id, arguments)) in table {
            let line = json!({"message": {"tool_calls": [came]}, "done": true}).to_string();
            let calls = Frame::parse(line.as_bytes())
                .unwrap()
                .message
                .unwrap()
                .tool_calls;
            let calls: Vec<ToolCall> = calls.unwrap().into_iter().map(ToolCall::from).collect();
            let expected = ToolCall {
                id: id.map(str::to_owned),
                name: "f".into(),
                arguments,
            };
            assert_eq!(calls, [expected]);
        }
    }

    #[test]
    fn calls_that_are_none() {
        for calls in [
            json!({}),
            json!("f"),
            json!([null]),
            json!(["f"]),
            json!([{}]),
            json!([{"function": {}}]),
            json!([{"function": {"name": null}}]),
        ] {
            let line = json!({"message": {"tool_calls": calls}, "done": false}).to_string();
            let parsed = Frame::parse(line.as_bytes());
            assert!(matches!(parsed, Err(ChatError::BadFrame { .. })), "{line}");
        }
    }

    #[test]
    fn remote_frames() {
        let is_remote = |line: Value| {
            Frame::parse(line.to_string().as_bytes())
                .unwrap()
                .is_remote()
        };
        assert!(is_remote(
            json!({"done": false, "remote_host": "https://ollama.com:443"})
        ));
        assert!(is_remote(
            json!({"done": false, "remote_model": "gpt-oss:120b"})
        ));
        assert!(!is_remote(
            json!({"done": false, "remote_host": "", "remote_model": null})
        ));
        assert!(!is_remote(json!({"done": false})));
    }
}
