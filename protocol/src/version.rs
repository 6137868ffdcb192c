//! The wire version that every message carries as `v`, and reading what another version may have written.
//!
//! The rule of mixed versions: a newer writer may add fields that it is right to pass over, types, and kinds of effects; whatever
//! an older reader would do wrongly without knowing a field has a new type or a new major version. A reader passes over
//! unknown fields, and leaves what it does not know for somebody who does.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::event::Event;
use crate::journal::{self, Entry};
use crate::work::Work;

/// The major version of the wire shapes; reading any other than 1 is an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "u64", into = "u64")]
#[schemars(with = "u64", extend("const" = 1))]
pub struct Version;

/// A message of a version that this build does not read.
#[derive(Debug, thiserror::Error)]
#[error("wire version {0} is not supported: this build reads version 1, start a newer one")]
pub struct UnsupportedVersion(u64);

impl TryFrom<u64> for Version {
    type Error = UnsupportedVersion;

    fn try_from(v: u64) -> Result<Self, UnsupportedVersion> {
        if v == 1 {
            Ok(Self)
        } else {
            Err(UnsupportedVersion(v))
        }
    }
}

impl From<Version> for u64 {
    fn from(_: Version) -> Self {
        1
    }
}

/// A stored message that another version of Swarm may have written, and another one may have to read.
pub trait Stored: DeserializeOwned {
    /// Whether a message of this shape that cannot be read, of this wire version and this type, is a newer one's.
    fn is_later(kind: Option<&str>) -> bool;
}

/// Why a stored message was not read.
#[derive(Debug, thiserror::Error)]
pub enum Unread {
    /// Of a major version that this build does not read.
    #[error(
        "it is of wire version {0}, this process reads version 1: it is left for a newer Swarm"
    )]
    Major(u64),
    /// Of this major version, and of a type or with a word that this build does not know.
    #[error("this process does not know it: it is left for a newer Swarm")]
    Later(#[source] serde_json::Error),
    /// Nothing that any version writes.
    #[error("it is not understood")]
    Garbled(#[source] serde_json::Error),
}

impl Unread {
    /// Whether a newer version wrote it: it is neither lost nor wrong, and somebody else reads it.
    #[must_use]
    pub fn is_newer(&self) -> bool {
        match self {
            Self::Major(_) | Self::Later(_) => true,
            Self::Garbled(_) => false,
        }
    }
}

/// Reads a stored message. Unknown fields are passed over.
///
/// # Errors
/// See [`Unread`]; what is of a newer version must be kept for somebody who reads it.
pub fn read<T: Stored>(payload: &[u8]) -> Result<T, Unread> {
    /// What every version has.
    #[derive(Deserialize)]
    struct Envelope {
        v: u64,
        #[serde(rename = "type")]
        kind: Option<String>,
    }
    serde_json::from_slice(payload).map_err(|error| match serde_json::from_slice(payload) {
        Ok(Envelope { v, .. }) if v > 1 => Unread::Major(v),
        Ok(Envelope { v: 1, kind }) if T::is_later(kind.as_deref()) => Unread::Later(error),
        _ => Unread::Garbled(error),
    })
}

impl Stored for Event {
    /// Only coordinators write events: whatever is wrong with one, another version wrote it.
    fn is_later(_kind: Option<&str>) -> bool {
        true
    }
}

impl Stored for Entry {
    fn is_later(kind: Option<&str>) -> bool {
        kind.is_some_and(|kind| !journal::Body::TYPES.contains(&kind))
    }
}

impl Stored for Work {
    /// Work has no type: what an older agent must not take for something else is of a new major version.
    fn is_later(_kind: Option<&str>) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn outcome<T: Stored>(message: &serde_json::Value) -> &'static str {
        match read::<T>(message.to_string().as_bytes()) {
            Ok(_) => "read",
            Err(Unread::Major(_)) => "major",
            Err(Unread::Later(_)) => "later",
            Err(Unread::Garbled(_)) => "garbled",
        }
    }

    fn with(
        mut message: serde_json::Value,
        field: &str,
        value: serde_json::Value,
    ) -> serde_json::Value {
        message[field] = value;
        message
    }

    fn event() -> serde_json::Value {
        json!({ "v": 1, "run": crate::RunId::random(), "n": 2, "at": "2026-01-01T00:00:00Z", "by": "c1",
            "cause": { "endpoint": "cancel" }, "type": "canceling", "data": {}, "effects": [{ "kind": "signal_cancel" }] })
    }

    fn entry() -> serde_json::Value {
        json!({ "v": 1, "run": crate::RunId::random(), "task": "t", "attempt": 1, "instance": "i1", "at": "2026-01-01T00:00:00Z",
            "type": "tool_result", "data": { "toolUseId": "c", "name": "t", "status": "success", "content": [] } })
    }

    fn work() -> serde_json::Value {
        json!({ "v": 1, "run": crate::RunId::random(), "task": "t", "attempt": 1, "agent": "a", "input": "x",
            "budget": {}, "deadline": "2026-01-01T00:00:00Z" })
    }

    #[test]
    fn unknown_fields_are_passed_over() {
        assert_eq!(
            outcome::<Event>(&with(event(), "later", json!([1]))),
            "read"
        );
        assert_eq!(
            outcome::<Entry>(&with(entry(), "later", json!({ "a": 1 }))),
            "read"
        );
        assert_eq!(outcome::<Work>(&with(work(), "later", json!(null))), "read");
    }

    #[test]
    fn another_major_version_is_told_from_what_is_wrong() {
        let two = || json!(2);
        assert_eq!(outcome::<Event>(&with(event(), "v", two())), "major");
        assert_eq!(outcome::<Entry>(&with(entry(), "v", two())), "major");
        assert_eq!(outcome::<Work>(&with(work(), "v", two())), "major");
        assert_eq!(
            outcome::<Work>(&json!({ "v": 3, "nothing": "known" })),
            "major"
        );
        assert_eq!(outcome::<Work>(&with(work(), "v", json!("2"))), "garbled");
        assert_eq!(outcome::<Work>(&with(work(), "v", json!(0))), "garbled");
        assert_eq!(outcome::<Work>(&json!({ "input": "x" })), "garbled");
        assert_eq!(outcome::<Event>(&json!("text")), "garbled");
    }

    #[test]
    fn types_and_words_of_a_later_version_are_told_from_what_is_wrong() {
        assert_eq!(
            outcome::<Event>(&with(event(), "type", json!("step_skipped"))),
            "later"
        );
        assert_eq!(
            outcome::<Event>(&with(event(), "effects", json!([{ "kind": "nudge" }]))),
            "later"
        );
        assert_eq!(
            outcome::<Entry>(&with(entry(), "type", json!("handoff"))),
            "later"
        );
        assert_eq!(
            outcome::<Entry>(&with(entry(), "data", json!({}))),
            "garbled"
        );
        assert_eq!(outcome::<Work>(&with(work(), "input", json!(5))), "garbled");
    }

    #[test]
    fn the_types_of_entries_are_all_named() {
        let unknown = with(entry(), "type", json!("?"));
        let error = serde_json::from_value::<Entry>(unknown)
            .unwrap_err()
            .to_string();
        let named: Vec<String> = journal::Body::TYPES
            .iter()
            .map(|kind| format!("`{kind}`"))
            .collect();
        assert!(
            error.contains(&format!("expected one of {}", named.join(", "))),
            "{error}"
        );
    }
}
