//! Telling an answer: as a stream of chunks, or as one document.

use std::io;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use jiff::Timestamp;
use serde::Serialize;
use tokio::time::Instant;

use crate::host::Slot;
use crate::log::Exchange;

use super::plan::Job;

/// The most tokens that go into one write when there is no pace to keep.
const BATCH: usize = 512;

/// An answer that is being told. It holds the slot, and its place in the log, until the last byte is handed over.
pub struct Reply {
    job: Job,
    exchange: Exchange,
    _slot: Slot,
    told: usize,
    arrived: Instant,
    admitted: Instant,
    first_token: Instant,
}

#[derive(Serialize)]
struct Chunk<'a> {
    model: &'a str,
    created_at: &'a str,
    message: Message<'a>,
    done: bool,
}

#[derive(Serialize)]
struct Final<'a> {
    #[serde(flatten)]
    chunk: Chunk<'a>,
    done_reason: &'a str,
    #[serde(flatten)]
    metrics: Option<Metrics>,
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'static str,
    content: &'a str,
}

/// Durations in nanoseconds, never 0: Ollama leaves zeros out.
#[derive(Serialize)]
struct Metrics {
    total_duration: u64,
    load_duration: u64,
    prompt_eval_count: u64,
    prompt_eval_duration: u64,
    eval_count: usize,
    eval_duration: u64,
}

/// The document for a chat without messages.
pub fn without_text(model: &str, done_reason: &str) -> Vec<u8> {
    let mut document = Vec::new();
    write_json(
        &mut document,
        &Final {
            chunk: chunk(model, &now(), "", true),
            done_reason,
            metrics: None,
        },
    );
    document
}

impl Reply {
    /// A reply whose first token is due now.
    pub fn new(
        job: Job,
        exchange: Exchange,
        slot: Slot,
        arrived: Instant,
        admitted: Instant,
    ) -> Self {
        Self {
            job,
            exchange,
            _slot: slot,
            told: 0,
            arrived,
            admitted,
            first_token: Instant::now(),
        }
    }

    /// One line of JSON for each token and one with the metrics, each sent when it is due.
    pub fn into_stream(self) -> Body {
        Body::from_stream(stream::unfold(Some(self), async |reply| {
            reply?.next().await
        }))
    }

    /// One document with the whole answer, ready when its last token is due.
    pub async fn into_document(self) -> Body {
        self.due(self.job.tokens.count().saturating_sub(1)).await;
        let mut document = Vec::new();
        self.write_final(&mut document, &self.job.tokens.joined());
        self.exchange.sent(1);
        if self.job.cut {
            document.truncate(document.len() / 2);
            let pieces = stream::unfold(Some((self, document)), async |state| {
                let (reply, document) = state?;
                Some(match document.is_empty() {
                    false => (Ok(Bytes::from(document)), Some((reply, Vec::new()))),
                    true => (Err(reply.hang_up().await), None),
                })
            });
            return Body::from_stream(pieces);
        }
        self.exchange.done();
        Body::from(document)
    }

    /// The next piece of the stream, and what comes after it.
    async fn next(mut self) -> Option<(io::Result<Bytes>, Option<Self>)> {
        let end = self.end();
        if self.told == end && self.job.cut {
            return Some((Err(self.hang_up().await), None));
        }
        self.due(self.told).await;
        let batch = if self.job.pace.tokens_per_second > 0.0 {
            1
        } else {
            BATCH
        };
        let until = end.min(self.told + batch);
        let mut lines = Vec::with_capacity(160 * (until - self.told + 2));
        let chunks = self.write_chunks(&mut lines, until);
        self.exchange.sent(chunks);
        if until < end || self.job.cut {
            return Some((Ok(Bytes::from(lines)), Some(self)));
        }
        self.write_final(&mut lines, "");
        lines.push(b'\n');
        self.exchange.sent(1);
        self.exchange.done();
        Some((Ok(Bytes::from(lines)), None))
    }

    /// How many tokens will be told.
    fn end(&self) -> usize {
        let count = self.job.tokens.count();
        if self.job.cut {
            count.div_ceil(2)
        } else {
            count
        }
    }

    /// Waits until the token at this place is due, counted from the first one so that delays do not add up.
    async fn due(&self, place: usize) {
        let rate = self.job.pace.tokens_per_second;
        if rate > 0.0 && place > 0 {
            #[expect(
                clippy::cast_precision_loss,
                reason = "there are at most a million tokens"
            )]
            let seconds = place as f64 / rate;
            // A wait beyond the range of a duration is for ever.
            let wait = Duration::try_from_secs_f64(seconds)
                .unwrap_or(Duration::from_secs(u32::MAX.into()));
            tokio::time::sleep_until(self.first_token + wait).await;
        }
    }

    /// Ends the exchange as failed. The error that it gives, handed to the server, closes the connection.
    async fn hang_up(self) -> io::Error {
        // The server sends what it has when a body makes it wait.
        tokio::task::yield_now().await;
        self.exchange.failed(200);
        io::Error::other("cut off by a directive")
    }

    fn write_chunks(&mut self, lines: &mut Vec<u8>, until: usize) -> u64 {
        let created_at = now();
        let mut chunks = 0;
        for token in (self.told..until).filter_map(|place| self.job.tokens.get(place)) {
            write_json(lines, &chunk(&self.job.model, &created_at, &token, false));
            lines.push(b'\n');
            chunks += 1;
        }
        self.told = until;
        chunks
    }

    fn write_final(&self, document: &mut Vec<u8>, content: &str) {
        let end = Instant::now();
        write_json(
            document,
            &Final {
                chunk: chunk(&self.job.model, &now(), content, true),
                done_reason: self.job.done_reason,
                metrics: Some(Metrics {
                    total_duration: nanoseconds(end - self.arrived),
                    load_duration: nanoseconds(self.admitted - self.arrived),
                    prompt_eval_count: self.job.prompt_tokens.max(1),
                    prompt_eval_duration: nanoseconds(self.first_token - self.admitted),
                    eval_count: self.job.tokens.count(),
                    eval_duration: nanoseconds(end - self.first_token),
                }),
            },
        );
    }
}

fn chunk<'a>(model: &'a str, created_at: &'a str, content: &'a str, done: bool) -> Chunk<'a> {
    let message = Message {
        role: "assistant",
        content,
    };
    Chunk {
        model,
        created_at,
        message,
        done,
    }
}

/// RFC 3339 with nanoseconds, UTC.
fn now() -> String {
    format!("{:.9}", Timestamp::now())
}

fn nanoseconds(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX).max(1)
}

fn write_json(document: &mut Vec<u8>, value: &impl Serialize) {
    // Structs of strings and numbers always serialize, and a Vec takes whatever is written to it.
    serde_json::to_writer(document, value).unwrap_or_default();
}
