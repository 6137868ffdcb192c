//! Large payloads by reference: `<run>/<sha256>` in the object store `swarm_blobs` (ADR-20).

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::ids::{RunId, hex};
use crate::limits::BEGINNING_CHARS;

/// Media type of texts.
pub const TEXT: &str = "text/plain";
/// Media type of the answers of a run, one JSON document of them all.
pub const ANSWERS: &str = "application/vnd.swarm.answers+json";
/// Media type of JSON documents.
pub const JSON: &str = "application/json";

/// A blob of a run. Its content is what has this hash and this size, and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct BlobRef {
    /// SHA-256 of the content, in lower-case hexadecimal.
    pub sha256: String,
    /// Its size.
    pub bytes: u64,
    /// Its media type.
    #[serde(rename = "type")]
    pub media_type: String,
}

impl BlobRef {
    /// The reference to this content.
    #[must_use]
    pub fn of(content: &[u8], media_type: &str) -> Self {
        Self {
            sha256: hex(&Sha256::digest(content)),
            bytes: size(content.len()),
            media_type: media_type.to_owned(),
        }
    }

    /// Whether this is its content.
    #[must_use]
    pub fn is_of(&self, content: &[u8]) -> bool {
        size(content.len()) == self.bytes && hex(&Sha256::digest(content)) == self.sha256
    }

    /// Its name in the object store.
    #[must_use]
    pub fn name(&self, run: RunId) -> String {
        format!("{run}/{}", self.sha256)
    }

    /// Its digest as an object store writes it; nothing when the hash is none.
    #[must_use]
    pub fn digest(&self) -> Option<String> {
        let digits = self.sha256.as_bytes().chunks(2);
        let bytes: Option<Vec<u8>> = digits
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
            .collect();
        let bytes = bytes.filter(|bytes| bytes.len() == 32)?;
        Some(format!("SHA-256={}", BASE64_URL_SAFE.encode(bytes)))
    }
}

/// The beginning of a text that is elsewhere as a whole; it ends in `…`.
#[must_use]
pub fn beginning(text: &str) -> String {
    match text.char_indices().nth(BEGINNING_CHARS) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}

fn size(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_knows_its_content() {
        let known = BlobRef::of(b"abc", TEXT);
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!((known.sha256.as_str(), known.bytes), (expected, 3));
        assert!(known.is_of(b"abc"));
        assert!(!known.is_of(b"abd") && !known.is_of(b"abcd"));
        assert_eq!(
            known.digest().as_deref(),
            Some("SHA-256=ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0=")
        );
        let run = RunId::random();
        assert_eq!(known.name(run), format!("{run}/{expected}"));
        let foreign = BlobRef {
            sha256: "é".repeat(32),
            ..known
        };
        assert_eq!(foreign.digest(), None);
    }

    #[test]
    fn a_beginning_is_cut_between_characters() {
        assert_eq!(beginning("short"), "short");
        let long = "ä".repeat(BEGINNING_CHARS + 1);
        assert_eq!(
            beginning(&long),
            format!("{}…", "ä".repeat(BEGINNING_CHARS))
        );
    }
}
