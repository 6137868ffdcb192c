//! Dead letters: what could not be worked on, with where it came from and why.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::ErrorBody;
use crate::ids::{RunId, TaskId};
use crate::time::Timestamp;
use crate::version::Version;

/// Where a dead letter came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Origin {
    /// The subject it was published on.
    pub subject: String,
    /// The stream that held it.
    pub stream: String,
    /// Its sequence there.
    pub seq: u64,
    /// The run it belongs to, when that is known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub run: Option<RunId>,
    /// The task it belongs to, when that is known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub task: Option<TaskId>,
    /// The attempt it belongs to, when that is known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub attempt: Option<u32>,
}

/// A dead letter: DEAD.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Dead {
    /// Wire version.
    pub v: Version,
    /// When it was set aside.
    pub at: Timestamp,
    /// Stable error code.
    pub code: String,
    /// Why, in one line.
    pub reason: String,
    /// Where it came from.
    pub origin: Origin,
    /// Its payload when that is UTF-8.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub payload: Option<String>,
    /// Its payload in base64 when it is not.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub payload_base64: Option<String>,
}

impl Dead {
    /// A dead letter of `payload`, set aside for `error`.
    #[must_use]
    pub fn new(at: Timestamp, error: &ErrorBody, origin: Origin, payload: &[u8]) -> Self {
        let (text, base64) = match std::str::from_utf8(payload) {
            Ok(text) => (Some(text.to_owned()), None),
            Err(_) => (None, Some(BASE64_STANDARD.encode(payload))),
        };
        Self {
            v: Version,
            at,
            code: error.code.clone(),
            reason: error.message.clone(),
            origin,
            payload: text,
            payload_base64: base64,
        }
    }
}
