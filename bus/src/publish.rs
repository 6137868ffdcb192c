//! Storing messages: publish and wait for the stream's word.

use std::time::Duration;

use serde::Deserialize;

use crate::api::{self, ApiError};
use crate::connection::{Bus, RequestError};
use crate::message::Outgoing;

/// A stream's word is waited for this long.
const ACK_TIMEOUT: Duration = Duration::from_secs(5);

/// Pauses between tries of a message that must be stored.
const RETRY_PAUSES: [Duration; 5] = [
    Duration::from_millis(50),
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(3),
];

/// Pause between all further tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Why a message is not known to be stored.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The CAS was refused: something else was stored first.
    #[error("something else was stored on {0} first")]
    Refused(String),
    /// The stream takes nothing now.
    #[error("the stream of {subject} takes nothing now: {detail}")]
    Full {
        /// The subject.
        subject: String,
        /// The server's words.
        detail: String,
    },
    /// No word in time, or nobody there: it may be stored or not.
    #[error("not confirmed")]
    Unconfirmed(#[source] RequestError),
    /// The message is larger than the server takes; nothing was sent.
    #[error("{bytes} bytes are too many, the server takes {limit}")]
    TooLarge {
        /// Size of the payload.
        bytes: usize,
        /// The server's limit, headers included.
        limit: usize,
    },
    /// The server refused it for good.
    #[error("{subject} was refused")]
    Server {
        /// The subject.
        subject: String,
        /// Its error.
        #[source]
        error: ApiError,
    },
}

impl PublishError {
    /// Whether the same message may be stored later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Full { .. }
            | Self::Unconfirmed(RequestError::NoResponders(_) | RequestError::TimedOut { .. }) => {
                true
            }
            Self::Server { error, .. } => error.code == 503,
            Self::Refused(_)
            | Self::TooLarge { .. }
            | Self::Unconfirmed(RequestError::NotSent { .. }) => false,
        }
    }
}

/// A stream's word about a stored message.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Stored {
    /// The stream.
    pub stream: String,
    /// Where it stands in it.
    pub seq: u64,
    /// Whether it stood there before, under the same message id.
    #[serde(default)]
    pub duplicate: bool,
}

/// The answer to a publication: of its fields either those of [`Stored`] or the error count. Read in one pass, as there is
/// one for every message; [`api::Reply`] looks twice.
#[derive(Deserialize)]
struct Word {
    error: Option<ApiError>,
    #[serde(default)]
    stream: String,
    seq: Option<u64>,
    #[serde(default)]
    duplicate: bool,
}

impl Word {
    fn read(payload: &[u8]) -> Result<Result<Stored, ApiError>, serde_json::Error> {
        let word: Self = serde_json::from_slice(payload)?;
        match (word.error, word.seq) {
            (Some(error), _) => Ok(Err(error)),
            (None, Some(seq)) => Ok(Ok(Stored {
                stream: word.stream,
                seq,
                duplicate: word.duplicate,
            })),
            (None, None) => Err(serde::de::Error::missing_field("seq")),
        }
    }
}

impl Bus {
    /// Publishes to a stream and waits for its word.
    ///
    /// # Errors
    /// See [`PublishError`].
    pub async fn store(&self, message: Outgoing) -> Result<Stored, PublishError> {
        let subject = message.subject.clone();
        let (bytes, limit) = (message.payload.len(), self.max_payload());
        if bytes > limit {
            return Err(PublishError::TooLarge { bytes, limit });
        }
        let reply = self
            .request(message, ACK_TIMEOUT)
            .await
            .map_err(PublishError::Unconfirmed)?;
        let word = Word::read(reply.payload()).map_err(|error| {
            let detail = format!("the answer is no stream's: {error}");
            PublishError::Unconfirmed(RequestError::NotSent {
                subject: subject.clone(),
                detail,
            })
        })?;
        word.map_err(|error| match error.err_code {
            api::WRONG_LAST_SEQUENCE | api::WRONG_LAST_SEQUENCE_CONSTANT => {
                PublishError::Refused(subject)
            }
            api::STREAM_STORE_FAILED => PublishError::Full {
                subject,
                detail: error.description,
            },
            _ => PublishError::Server { subject, error },
        })
    }

    /// Stores a message that must not be lost: tries again with growing pauses while the stream is full or silent.
    ///
    /// The message needs an id or a CAS, so that storing it twice is impossible.
    ///
    /// # Errors
    /// [`PublishError::Refused`], or what cannot be mended by waiting.
    pub async fn store_patiently(&self, message: Outgoing) -> Result<Stored, PublishError> {
        let mut pauses = RETRY_PAUSES.into_iter();
        loop {
            match self.store(message.clone()).await {
                Err(error) if error.is_transient() => {
                    tracing::warn!(%error, subject = message.subject(), "not stored yet");
                    tokio::time::sleep(pauses.next().unwrap_or(LONGEST_PAUSE)).await;
                }
                settled => return settled,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_a_place_or_an_error() {
        let read = |text: &str| Word::read(text.as_bytes());
        let stored = |seq, duplicate| Stored {
            stream: "S".into(),
            seq,
            duplicate,
        };
        assert_eq!(
            read(r#"{"stream":"S","seq":7}"#).unwrap(),
            Ok(stored(7, false))
        );
        assert_eq!(
            read(r#"{"stream":"S","domain":"d","seq":7,"duplicate":true}"#).unwrap(),
            Ok(stored(7, true))
        );
        let refused = r#"{"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 3"},"stream":"S","seq":0}"#;
        assert_eq!(
            read(refused).unwrap().map_err(|error| error.err_code),
            Err(api::WRONG_LAST_SEQUENCE)
        );
        for other in ["{}", "", "hello", r#"{"stream":"S"}"#] {
            assert!(read(other).is_err(), "{other}");
        }
    }
}
