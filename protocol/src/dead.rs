//! Dead letters: what could not be worked on, with where it came from and why.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::error::ErrorBody;
use crate::ids::{RunId, TaskId, hex};
use crate::limits::{MAX_ENCODED, encoded_len};
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
    /// A dead letter of `payload`, set aside for `error`. A payload that no message can hold beside the rest is left out, and
    /// the reason says so, with its size and SHA-256.
    #[must_use]
    pub fn new(at: Timestamp, error: &ErrorBody, origin: Origin, payload: &[u8]) -> Self {
        let (text, base64) = match std::str::from_utf8(payload) {
            Ok(text) if encoded_len(text) <= MAX_ENCODED => (Some(text.to_owned()), None),
            Err(_) if payload.len() <= MAX_ENCODED / 4 * 3 => {
                (None, Some(BASE64_STANDARD.encode(payload)))
            }
            Ok(_) | Err(_) => (None, None),
        };
        let reason = if text.is_none() && base64.is_none() {
            format!(
                "{} (its payload of {} bytes is too large to be kept, sha256 {})",
                error.message,
                payload.len(),
                hex(&Sha256::digest(payload))
            )
        } else {
            error.message.clone()
        };
        Self {
            v: Version,
            at,
            code: error.code.clone(),
            reason,
            origin,
            payload: text,
            payload_base64: base64,
        }
    }

    /// The payload as it was; nothing when it was not kept.
    #[must_use]
    pub fn content(&self) -> Option<Vec<u8>> {
        match (&self.payload, &self.payload_base64) {
            (Some(text), _) => Some(text.clone().into_bytes()),
            (None, Some(base64)) => BASE64_STANDARD.decode(base64).ok(),
            (None, None) => None,
        }
    }
}
