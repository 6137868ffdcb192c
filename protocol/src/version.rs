//! The wire version that every message carries as `v`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
