//! Telling an answer: as a stream of chunks, or as one document.

use std::io;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::{Stream, stream};
use serde_json::json;
use tokio::time::Instant;

use crate::clock::Spans;
use crate::connection::Connection;
use crate::fault::{Fault, Kind, wire};
use crate::log::Exchange;
use crate::refusal::Refusal;
use crate::scheduler::Slot;
use crate::script::{Ending, Step};

use super::document::{End, Head, Metrics, Said};
use super::plan::Job;
use super::stop::How;

/// The most tokens that go into one write when there is no pace to keep.
const BATCH: usize = 512;

/// An answer that is being told. It holds the slot, and its place in the log, until the last byte is handed over.
pub struct Reply {
    job: Job,
    exchange: Exchange,
    held: Held,
    connection: Connection,
    told: usize,
    arrived: Instant,
    admitted: Instant,
    first_token: Instant,
}

/// The slot of an answer, which is lost if that is wanted and the answer does not end.
struct Held {
    slot: Option<Slot>,
    is_lost: bool,
}

impl Held {
    /// Waits until the runner is killed.
    async fn died(&self) {
        match &self.slot {
            Some(slot) => slot.died().await,
            None => std::future::pending().await,
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(slot) = self.slot.take().filter(|_| self.is_lost) {
            slot.lose();
        }
    }
}

impl Reply {
    /// A reply whose first token is due now.
    pub fn new(
        job: Job,
        exchange: Exchange,
        slot: Slot,
        connection: Connection,
        arrived: Instant,
        admitted: Instant,
    ) -> Self {
        let held = Held {
            slot: Some(slot),
            is_lost: job.has(Kind::LostSlot),
        };
        Self {
            job,
            exchange,
            held,
            connection,
            told: 0,
            arrived,
            admitted,
            first_token: Instant::now(),
        }
    }

    /// One line of JSON for each chunk and one with the metrics, each sent when it is due.
    pub fn into_stream(self) -> Body {
        let faults = self.job.faults.clone();
        let lines = stream::unfold(Some(self), async |reply| reply?.next().await);
        shaped(lines, faults)
    }

    /// One document with the whole answer, ready when its last token is due.
    ///
    /// # Errors
    /// 500: the runner was killed before.
    pub async fn into_document(mut self) -> Result<Body, Refusal> {
        let last = self.job.script.steps().saturating_sub(1);
        if !self.lives_until(last).await {
            self.held.is_lost = false;
            let refusal = Refusal::runner_died();
            self.exchange.failed(refusal.status.as_u16());
            return Err(refusal);
        }
        self.held.is_lost = false;
        let mut document = Vec::new();
        let script = &self.job.script;
        let said = (script.text(), script.thinking(), script.all_calls());
        self.write_end(
            &mut document,
            Said {
                text: &said.0,
                thinking: &said.1,
                calls: &said.2,
            },
        );
        self.exchange.sent(1);
        let faults = self.job.faults.clone();
        if self.job.stop.is_some() {
            document.truncate(document.len() / 2);
            let pieces = stream::unfold(Some((self, document)), async |state| {
                let (reply, document) = state?;
                Some(match document.is_empty() {
                    false => (Ok(Bytes::from(document)), Some((reply, Vec::new()))),
                    true => (Err(reply.hang_up().await), None),
                })
            });
            return Ok(shaped(pieces, faults));
        }
        self.complete();
        if faults.is_empty() {
            return Ok(Body::from(document));
        }
        let whole = async { io::Result::Ok(Bytes::from(document)) };
        Ok(shaped(stream::once(whole), faults))
    }

    /// The next piece of the stream, and what comes after it.
    async fn next(mut self) -> Option<(io::Result<Bytes>, Option<Self>)> {
        let end = self.end();
        if self.told == end && self.job.stop.is_some() {
            return Some((Err(self.hang_up().await), None));
        }
        if !self.lives_until(self.told).await {
            self.job.stop = None;
            self.job.script.shorten(self.told);
            self.job.script.ending = Ending::Error(Refusal::runner_died());
            let mut lines = Vec::new();
            self.finish(&mut lines);
            return Some((Ok(Bytes::from(lines)), None));
        }
        let until = end.min(self.told + self.batch());
        let mut lines = Vec::with_capacity(160 * (until - self.told + 2));
        let chunks = self.write_chunks(&mut lines, until);
        self.exchange.sent(chunks);
        if until < end || self.job.stop.is_some() {
            return Some((Ok(Bytes::from(lines)), Some(self)));
        }
        self.finish(&mut lines);
        Some((Ok(Bytes::from(lines)), None))
    }

    /// How many chunks go into the next write.
    fn batch(&self) -> usize {
        if self.job.has(Kind::Coalesce) {
            usize::MAX - self.told
        } else if self.job.pace.tokens_per_second > 0.0 {
            1
        } else {
            BATCH
        }
    }

    /// Writes the last line, if there is one, and ends the exchange.
    fn finish(mut self, lines: &mut Vec<u8>) {
        self.held.is_lost = false;
        if self.job.has(Kind::BadLine) {
            lines.extend(b"upstream connect error or disconnect/reset before headers\n");
        }
        match &self.job.script.ending {
            Ending::Done(_) => {
                let said = Said {
                    text: &self.job.script.closing,
                    thinking: "",
                    calls: &self.job.script.calls,
                };
                self.write_end(lines, said);
            }
            Ending::Error(refusal) => {
                lines.extend(json!({"error": refusal.message}).to_string().into_bytes());
            }
            Ending::Missing => {
                self.exchange.failed(200);
                return;
            }
        }
        lines.push(b'\n');
        self.exchange.sent(1);
        match self.job.script.ending {
            Ending::Done(_) => self.complete(),
            _ => self.exchange.failed(200),
        }
    }

    /// Ends the exchange as complete.
    fn complete(self) {
        let Job {
            prompt_tokens,
            script,
            ..
        } = &self.job;
        self.exchange.tokens(*prompt_tokens, script.spoken);
        if self.job.has(Kind::CloseIdle) {
            self.connection.close();
        }
        self.exchange.done();
    }

    /// How many chunks will be told.
    fn end(&self) -> usize {
        let count = self.job.script.steps();
        self.job.stop.map_or(count, |stop| stop.after)
    }

    /// Waits until the token at this place is due; says whether the runner still lives then.
    async fn lives_until(&self, place: usize) -> bool {
        tokio::select! {
            biased;
            () = self.held.died() => false,
            () = self.due(place) => true,
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

    /// Ends the exchange as failed. The error that it gives, handed to the server, closes the connection. A stalled
    /// answer never gets there.
    async fn hang_up(mut self) -> io::Error {
        match self.job.stop.map(|stop| stop.how) {
            Some(How::Stall) => std::future::pending().await,
            Some(How::Reset) => self.connection.reset(),
            Some(How::Cut) | None => {}
        }
        self.held.is_lost = false;
        // The server sends what it has when a body makes it wait.
        tokio::task::yield_now().await;
        self.exchange.failed(200);
        io::Error::other("cut off on purpose")
    }

    fn write_chunks(&mut self, lines: &mut Vec<u8>, until: usize) -> u64 {
        let created_at = self.job.clock.now();
        let head = self.job.head(&created_at);
        let mut chunks = 0;
        for step in (self.told..until).filter_map(|place| self.job.script.step(place)) {
            let said = Said::default();
            let said = match &step {
                Step::Text(text) => Said { text, ..said },
                Step::Thinking(thinking) => Said { thinking, ..said },
                Step::Calls(calls) => Said { calls, ..said },
            };
            self.job.write(head, lines, said, None);
            lines.push(b'\n');
            chunks += 1;
        }
        self.told = until;
        chunks
    }

    /// Writes the document with the metrics; without them if the answer has no end.
    fn write_end(&self, document: &mut Vec<u8>, said: Said<'_>) {
        let Job {
            script,
            prompt_tokens,
            clock,
            ..
        } = &self.job;
        let measured = Spans {
            load: self.admitted - self.arrived,
            prompt: self.first_token - self.admitted,
            answer: self.first_token.elapsed(),
        };
        let spans = clock.spans(measured, *prompt_tokens, script.spoken);
        let end = match script.ending {
            Ending::Done(reason) => Some(End {
                reason,
                metrics: Some(Metrics::new(spans, *prompt_tokens, script.spoken)),
            }),
            Ending::Error(_) | Ending::Missing => None,
        };
        let now = clock.now();
        self.job.write(self.job.head(&now), document, said, end);
    }
}

fn shaped(
    pieces: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    faults: Vec<Fault>,
) -> Body {
    if faults.is_empty() {
        return Body::from_stream(pieces);
    }
    Body::from_stream(wire::shaped(pieces, faults))
}

impl Job {
    fn has(&self, kind: Kind) -> bool {
        self.faults.iter().any(|fault| fault.kind == kind)
    }

    fn write(&self, head: Head<'_>, out: &mut Vec<u8>, said: Said<'_>, end: Option<End<'_>>) {
        if !wire::touches_documents(&self.faults) {
            head.write(out, said, end);
            return;
        }
        let mut plain = Vec::new();
        head.write(&mut plain, said, end);
        // What was just written is JSON.
        let mut document = serde_json::from_slice(&plain).unwrap_or_default();
        wire::mangle(&mut document, &self.faults);
        out.extend(document.to_string().into_bytes());
    }

    fn head<'a>(&'a self, created_at: &'a str) -> Head<'a> {
        Head {
            model: &self.model,
            remote: self.remote.as_ref(),
            created_at,
            shape: self.shape,
        }
    }
}
