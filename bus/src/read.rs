//! Reading stored messages without a consumer.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::json;
use swarm_protocol::headers;
use swarm_protocol::trace::TraceParent;

use crate::api::{self, ApiError};
use crate::connection::{Bus, RequestError};
use crate::message::{Incoming, Outgoing};
use crate::topology::RUNS;

/// Messages of one batched get.
const BATCH: usize = 512;

/// Bytes of one batched get, about: the server ends the connection of whoever has more on its way than its `max_pending`,
/// 64 MB, and a batch that is bounded by a count alone may be larger.
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// A batch that did not come is asked for again so often.
const MOST_TRIES: u32 = 2;

/// The next message of a batch is waited for this long.
const BATCH_TIMEOUT: Duration = Duration::from_secs(5);

/// Why stored messages cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// No answer.
    #[error("the stream does not answer")]
    Request(#[source] RequestError),
    /// The server refused.
    #[error("the stream cannot be read")]
    Server(#[source] ApiError),
    /// An answer that is not understood.
    #[error("the stream's answer is not understood: {0}")]
    Garbled(String),
}

/// A message as it stands in its stream.
#[derive(Debug, Clone)]
pub struct StoredMessage {
    /// Its subject.
    pub subject: String,
    /// Where it stands.
    pub seq: u64,
    /// Its payload.
    pub payload: Bytes,
    /// What it is.
    pub kind: Kind,
}

/// What a message of the run stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An event of a run's log: it carries a summary.
    Event,
    /// An entry of a journal.
    Entry,
    /// Nothing that a role of Swarm wrote.
    ///
    /// Whoever names a run's subject as the reply subject of a request makes the server itself store its reply there
    /// (nats-server issue 8274): an acknowledgement, or a copy of a message. Such a message has no trace, or carries the
    /// headers of a copy. It counts for the CAS, and for nothing else.
    Foreign,
}

impl Kind {
    /// By the headers that a message was stored with: whether it has a trace, whether it is a copy, whether it has a summary.
    #[must_use]
    pub const fn of(has_trace: bool, is_copy: bool, has_summary: bool) -> Self {
        match (has_trace && !is_copy, has_summary) {
            (false, _) => Self::Foreign,
            (true, true) => Self::Event,
            (true, false) => Self::Entry,
        }
    }
}

impl Bus {
    /// All messages of one subject (wildcards allowed) of the run stream from sequence `from` on, oldest first.
    ///
    /// By batched direct get (ADR-31), which needs no consumer and no consumer rights.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn read_runs(
        &self,
        subject: &str,
        from: u64,
    ) -> Result<Vec<StoredMessage>, ReadError> {
        self.read_window(RUNS, subject, from, u64::MAX).await
    }

    /// The messages of a stream from one sequence on and before another, oldest first.
    pub(crate) async fn read_window(
        &self,
        stream: &str,
        subject: &str,
        from: u64,
        before: u64,
    ) -> Result<Vec<StoredMessage>, ReadError> {
        let mut messages: Vec<StoredMessage> = Vec::new();
        let (mut next, mut tries) = (from.max(1), 0);
        while next < before {
            let batch = usize::try_from(before - next).unwrap_or(BATCH).min(BATCH);
            let read = self
                .read_batch(stream, subject, next, batch, &mut messages)
                .await;
            let last = messages.last().map_or(0, |message| message.seq);
            match read {
                Ok(true) if last >= next => tries = 0,
                Ok(_) => break,
                // A busy server, or a connection that is made anew: what came is kept, the rest is asked for again.
                Err(ReadError::Request(RequestError::TimedOut { .. })) if tries < MOST_TRIES => {
                    tries += 1;
                }
                Err(error) => return Err(error),
            }
            next = next.max(last + 1);
        }
        messages.retain(|message| message.seq < before);
        Ok(messages)
    }

    /// Reads one batch; whether there is more behind it.
    async fn read_batch(
        &self,
        stream: &str,
        subject: &str,
        from: u64,
        batch: usize,
        into: &mut Vec<StoredMessage>,
    ) -> Result<bool, ReadError> {
        #[derive(Serialize)]
        struct Request<'a> {
            batch: usize,
            max_bytes: usize,
            seq: u64,
            next_by_subj: &'a str,
        }
        let inbox = self.new_inbox();
        let mut replies = self.subscribe(&inbox).await.map_err(ReadError::Request)?;
        let request = json!(Request {
            batch,
            max_bytes: BATCH_BYTES,
            seq: from,
            next_by_subj: subject
        });
        let api = format!("$JS.API.DIRECT.GET.{stream}");
        let request = Outgoing::new(&api, request.to_string(), TraceParent::root());
        self.send_with_reply(request, &inbox)
            .await
            .map_err(ReadError::Request)?;
        loop {
            let Ok(Some(reply)) = tokio::time::timeout(BATCH_TIMEOUT, replies.next()).await else {
                return Err(ReadError::Request(RequestError::TimedOut {
                    subject: api,
                    after: BATCH_TIMEOUT,
                }));
            };
            match reply.status() {
                None | Some(200) => into.push(stored(&reply)?),
                Some(204) => {
                    return Ok(reply
                        .header("Nats-Num-Pending")
                        .is_some_and(|pending| pending != "0"));
                }
                Some(404) => return Ok(false),
                Some(503) => return Err(ReadError::Request(RequestError::NoResponders(api))),
                Some(status) => {
                    return Err(ReadError::Garbled(format!(
                        "{status} {}",
                        reply.description()
                    )));
                }
            }
        }
    }

    /// The last message on a subject (wildcards allowed) of the run stream, as its leader has it.
    ///
    /// Not a direct get: a replica that is behind would make a fence look lost.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn last_of_runs(&self, subject: &str) -> Result<Option<StoredMessage>, ReadError> {
        #[derive(Deserialize)]
        struct Found {
            message: Raw,
        }
        #[derive(Deserialize)]
        struct Raw {
            subject: String,
            seq: u64,
            #[serde(default)]
            data: String,
            #[serde(default)]
            hdrs: String,
        }
        let api = format!("$JS.API.STREAM.MSG.GET.{RUNS}");
        let request = json!({ "last_by_subj": subject }).to_string().into_bytes();
        let reply = self
            .api_request(&api, request)
            .await
            .map_err(ReadError::Request)?;
        let parsed: api::Reply<Found> = serde_json::from_slice(reply.payload())
            .map_err(|error| ReadError::Garbled(error.to_string()))?;
        match parsed.into_result() {
            Err(error) if error.err_code == api::MESSAGE_NOT_FOUND => Ok(None),
            Err(error) => Err(ReadError::Server(error)),
            Ok(Found { message }) => {
                let payload = BASE64_STANDARD
                    .decode(&message.data)
                    .map_err(|error| ReadError::Garbled(error.to_string()))?;
                let head = BASE64_STANDARD
                    .decode(&message.hdrs)
                    .map_err(|error| ReadError::Garbled(error.to_string()))?;
                let head = String::from_utf8_lossy(&head);
                let has = |name: &str| head.contains(&format!("\r\n{name}:"));
                let kind = Kind::of(
                    has(headers::TRACEPARENT),
                    has(headers::STREAM),
                    has(headers::SUMMARY),
                );
                Ok(Some(StoredMessage {
                    subject: message.subject,
                    seq: message.seq,
                    payload: payload.into(),
                    kind,
                }))
            }
        }
    }
}

fn stored(reply: &Incoming) -> Result<StoredMessage, ReadError> {
    // The server's own headers come last; a copy has those of its original before them.
    let header = |name: &'static str| {
        reply
            .last_header(name)
            .ok_or_else(|| ReadError::Garbled(format!("{name} is missing")))
    };
    let seq = header(headers::SEQUENCE)?
        .parse()
        .map_err(|error| ReadError::Garbled(format!("{}: {error}", headers::SEQUENCE)))?;
    Ok(StoredMessage {
        subject: header(headers::SUBJECT)?.to_owned(),
        seq,
        payload: reply.payload().clone(),
        kind: reply.kind(),
    })
}
