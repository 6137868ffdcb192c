//! What the log says of a request.

use bytes::Bytes;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

/// One request, as `GET /sim/log` shows it.
#[derive(Debug, Clone, Serialize)]
pub struct Record {
    /// Counts from 1 in order of the log, and goes on when the log is cleared.
    pub id: u64,
    /// When it was logged, UTC.
    pub at: Timestamp,
    /// The HTTP method.
    pub method: String,
    /// The path without the query.
    pub path: String,
    /// The model's name as the client wrote it; empty but for chats.
    pub model: String,
    /// The first 80 characters of the first system message.
    pub system: String,
    /// The first 200 characters of the last user message.
    pub prompt: String,
    /// How it stands.
    pub state: RequestState,
    /// The HTTP status, 0 until one is sent.
    pub status: u16,
    /// Milliseconds from the start of the program to the request.
    pub started_ms: u64,
    /// The same for its end, once it has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_ms: Option<u64>,
    /// Documents sent of a chat: lines of a stream (the one with `done` counts), or 1.
    pub chunks: u64,
    /// The document that the client sent, where it is asked for and still there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<Value>,
    #[serde(skip)]
    pub(super) bytes: Bytes,
}

/// How a request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RequestState {
    /// Not answered in full yet: it waits for a slot or its first token, or is being streamed.
    Running,
    /// Answered in full, with a 2xx status.
    Done,
    /// The client hung up before the answer was complete.
    Disconnected,
    /// Answered with an error, or cut off by a directive.
    Failed,
}

/// Counts of chats since the program started; clearing the log leaves them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// All that came in.
    pub chat: u64,
    /// Those in state running at this moment, also while they wait for a slot.
    pub running: u64,
    /// Those whose client hung up.
    pub disconnected: u64,
    /// The most that were running at one time: how many requests clients had open at once.
    pub max_running: u64,
}

/// What is known of a request when it comes in.
#[derive(Debug, Default)]
pub struct Opening {
    /// The endpoint.
    pub path: &'static str,
    /// See [`Record::model`].
    pub model: String,
    /// See [`Record::system`]; cut to length here.
    pub system: String,
    /// See [`Record::prompt`]; cut to length here.
    pub prompt: String,
    /// The body as it came.
    pub body: Bytes,
}

/// The first `count` characters.
pub(super) fn start_of(text: &str, count: usize) -> &str {
    text.char_indices()
        .nth(count)
        .and_then(|(end, _)| text.get(..end))
        .unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_at_characters() {
        assert_eq!(start_of("äöü", 2), "äö");
        assert_eq!(start_of("äöü", 3), "äöü");
    }
}
