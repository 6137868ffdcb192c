//! Replies of the JetStream API, and the few error codes that mean something here.
//!
//! Codes: nats-server `server/errors.json`.

use serde::Deserialize;

/// Wrong last sequence: a CAS was refused.
pub(crate) const WRONG_LAST_SEQUENCE: u64 = 10071;
/// Wrong last sequence, as a replicated stream says it to racing appends.
pub(crate) const WRONG_LAST_SEQUENCE_CONSTANT: u64 = 10164;
/// A limit of the stream is reached.
pub(crate) const STREAM_STORE_FAILED: u64 = 10077;
/// No such stream.
pub(crate) const STREAM_NOT_FOUND: u64 = 10059;
/// No such consumer.
pub(crate) const CONSUMER_NOT_FOUND: u64 = 10014;
/// No such message.
pub(crate) const MESSAGE_NOT_FOUND: u64 = 10037;
/// JetStream is not enabled for the account.
pub(crate) const NOT_ENABLED_FOR_ACCOUNT: u64 = 10039;
/// The limits of an account, of a server or of a cluster leave no room for a stream.
pub(crate) const NO_STORAGE: [u64; 3] = [10002, 10023, 10047];

/// An error of the JetStream API.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, thiserror::Error)]
#[error("{description} (JetStream {err_code})")]
pub struct ApiError {
    /// HTTP-like status.
    pub code: u16,
    /// The precise code.
    #[serde(default)]
    pub err_code: u64,
    /// The server's words.
    #[serde(default)]
    pub description: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum Reply<T> {
    Failed { error: ApiError },
    Done(T),
}

impl<T> Reply<T> {
    pub(crate) fn into_result(self) -> Result<T, ApiError> {
        match self {
            Self::Done(done) => Ok(done),
            Self::Failed { error } => Err(error),
        }
    }
}
