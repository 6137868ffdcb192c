//! The request log: what was asked of the API port, how far each request got, and how it ended.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::metrics::Metrics;
use crate::scheduler::Counts;

/// The endpoint whose requests [`Stats`] counts.
pub const CHAT: &str = "/api/chat";

/// The log holds this many requests; older ones fall out.
const CAPACITY: usize = 100_000;
/// Of so many of the newest requests the bodies are kept.
const BODIES: usize = 2000;

/// One request, as `GET /sim/log` shows it.
#[derive(Debug, Clone, Serialize)]
pub struct Record {
    /// Counts from 1 in order of the log, and goes on when the log is cleared.
    pub id: u64,
    /// When it was logged, UTC.
    pub at: Timestamp,
    /// The HTTP method.
    pub method: String,
    /// The path without the query.
    pub path: String,
    /// The model's name as the client wrote it; empty but for chats.
    pub model: String,
    /// The first 80 characters of the first system message.
    pub system: String,
    /// The first 200 characters of the last user message.
    pub prompt: String,
    /// How it stands.
    pub state: RequestState,
    /// The HTTP status, 0 until one is sent.
    pub status: u16,
    /// Milliseconds from the start of the program to the request.
    pub started_ms: u64,
    /// The same for its end, once it has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_ms: Option<u64>,
    /// Documents sent of a chat: lines of a stream (the one with `done` counts), or 1.
    pub chunks: u64,
    /// The document that the client sent, where it is asked for and still there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<Value>,
    #[serde(skip)]
    bytes: Bytes,
}

/// How a request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RequestState {
    /// Not answered in full yet: it waits for a slot or its first token, or is being streamed.
    Running,
    /// Answered in full, with a 2xx status.
    Done,
    /// The client hung up before the answer was complete.
    Disconnected,
    /// Answered with an error, or cut off by a directive.
    Failed,
}

/// Counts of chats since the program started; clearing the log leaves them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// All that came in.
    pub chat: u64,
    /// Those in state running at this moment, also while they wait for a slot.
    pub running: u64,
    /// Those whose client hung up.
    pub disconnected: u64,
    /// The most that were running at one time: how many requests clients had open at once.
    pub max_running: u64,
}

/// What is known of a request when it comes in.
#[derive(Debug, Default)]
pub struct Opening {
    /// The endpoint.
    pub path: &'static str,
    /// See [`Record::model`].
    pub model: String,
    /// See [`Record::system`]; cut to length here.
    pub system: String,
    /// See [`Record::prompt`]; cut to length here.
    pub prompt: String,
    /// The body as it came.
    pub body: Bytes,
}

/// Put into the extensions of a response whose request is in the log already.
#[derive(Debug, Clone, Copy)]
pub struct Logged;

/// The log, shared by all requests.
#[derive(Debug)]
pub struct RequestLog {
    start: Instant,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    next_id: u64,
    /// Ids are consecutive, so that a record is found by its distance from the first.
    records: VecDeque<Record>,
    stats: Stats,
    metrics: Metrics,
}

/// A chat in the log, held for as long as it runs. Dropped before [`Exchange::end`] it logs that the client hung up:
/// the HTTP server drops the handler, or the body it streams, as soon as the connection closes.
#[derive(Debug)]
#[must_use = "dropping it logs a disconnect"]
pub struct Exchange {
    log: Arc<RequestLog>,
    id: u64,
    path: &'static str,
    model: String,
    begun: Instant,
    ended: bool,
}

impl RequestLog {
    /// An empty log whose milliseconds count from now.
    pub fn new() -> Self {
        Self {
            start: Instant::now(),
            inner: Mutex::new(Inner {
                next_id: 1,
                records: VecDeque::new(),
                stats: Stats::default(),
                metrics: Metrics::default(),
            }),
        }
    }

    /// Logs a request that has been answered.
    pub fn note(&self, method: String, path: String, status: u16) {
        let now = self.now();
        let state = if status < 400 {
            RequestState::Done
        } else {
            RequestState::Failed
        };
        let mut inner = self.lock();
        inner.metrics.count(&path, "", status);
        let record = inner.push(method, path, Opening::default(), now);
        (record.state, record.status, record.ended_ms) = (state, status, Some(now));
    }

    /// Logs a chat that has come in.
    pub fn begin(self: &Arc<Self>, opening: Opening) -> Exchange {
        let now = self.now();
        let mut inner = self.lock();
        inner.stats.chat += u64::from(opening.path == CHAT);
        inner.metrics.begin(&opening.model);
        inner.stats.running += 1;
        inner.stats.max_running = inner.stats.max_running.max(inner.stats.running);
        let (path, model) = (opening.path, opening.model.clone());
        let id = inner
            .push("POST".to_owned(), path.to_owned(), opening, now)
            .id;
        Exchange {
            log: Arc::clone(self),
            id,
            path,
            model,
            begun: Instant::now(),
            ended: false,
        }
    }

    /// Forgets all requests; those that run go on unseen.
    pub fn clear(&self) {
        self.lock().records.clear();
    }

    /// Forgets all requests, and counts those that run as the only ones there were.
    pub fn reset(&self) {
        let mut inner = self.lock();
        inner.records.clear();
        inner.metrics.reset();
        inner.stats = Stats {
            chat: inner.stats.running,
            running: inner.stats.running,
            disconnected: 0,
            max_running: inner.stats.running,
        };
    }

    /// The counts at this moment.
    pub fn stats(&self) -> Stats {
        self.lock().stats
    }

    /// The counts of everything, with those of the scheduler.
    ///
    /// # Errors
    /// None is known.
    pub fn metrics(&self, scheduler: Counts) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(&self.lock().metrics.report(scheduler))
    }

    /// The whole log as `{"requests":[Record]}`, with the bodies of the newest requests if they are wanted.
    ///
    /// # Errors
    /// None is known.
    pub fn to_json(&self, bodies: bool) -> Result<Vec<u8>, serde_json::Error> {
        #[derive(Serialize)]
        struct Requests<'a> {
            requests: &'a VecDeque<Record>,
        }
        if !bodies {
            return serde_json::to_vec(&Requests {
                requests: &self.lock().records,
            });
        }
        let mut requests = self.lock().records.clone();
        for record in &mut requests {
            record.body = serde_json::from_slice(&record.bytes).ok();
        }
        serde_json::to_vec(&Requests {
            requests: &requests,
        })
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn push(&mut self, method: String, path: String, opening: Opening, now: u64) -> &mut Record {
        let record = Record {
            id: self.next_id,
            at: Timestamp::now(),
            method,
            path,
            model: opening.model,
            system: start_of(&opening.system, 80).to_owned(),
            prompt: start_of(&opening.prompt, 200).to_owned(),
            state: RequestState::Running,
            status: 0,
            started_ms: now,
            ended_ms: None,
            chunks: 0,
            body: None,
            bytes: opening.body,
        };
        self.next_id += 1;
        if self.records.len() >= CAPACITY {
            self.records.pop_front();
        }
        let old = self.records.len().checked_sub(BODIES);
        if let Some(old) = old.and_then(|place| self.records.get_mut(place)) {
            old.bytes = Bytes::new();
        }
        self.records.push_back_mut(record)
    }

    /// The record of this id, unless it has fallen out.
    fn record(&mut self, id: u64) -> Option<&mut Record> {
        let first = self.records.front()?.id;
        let index = usize::try_from(id.checked_sub(first)?).ok()?;
        self.records.get_mut(index)
    }
}

impl Exchange {
    /// Logs that `chunks` more documents are on their way under status 200.
    pub fn sent(&self, chunks: u64) {
        let mut inner = self.log.lock();
        let mut first = false;
        if let Some(record) = inner.record(self.id) {
            first = record.status == 0;
            record.status = 200;
            record.chunks += chunks;
        }
        if first {
            inner.metrics.first_token(self.begun.elapsed());
        }
    }

    /// Counts the tokens of the answer.
    pub fn tokens(&self, prompt: u64, eval: usize) {
        self.log.lock().metrics.tokens(prompt, eval);
    }

    /// Logs the end of a chat that is answered in full.
    pub fn done(self) {
        self.end(RequestState::Done, 200);
    }

    /// Logs the end of a chat that failed with this status.
    pub fn failed(self, status: u16) {
        self.end(RequestState::Failed, status);
    }

    fn end(mut self, state: RequestState, status: u16) {
        self.settle(state, Some(status));
        self.ended = true;
    }

    fn settle(&self, state: RequestState, status: Option<u16>) {
        let now = self.log.now();
        let mut inner = self.log.lock();
        inner.stats.running -= 1;
        let left = state == RequestState::Disconnected;
        inner.stats.disconnected += u64::from(left);
        let mut sent = status.unwrap_or(0);
        if let Some(record) = inner.record(self.id) {
            record.state = state;
            record.ended_ms = Some(now);
            record.status = status.unwrap_or(record.status);
            sent = record.status;
        }
        inner.metrics.end(self.path, &self.model, sent, left);
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if !self.ended {
            self.settle(RequestState::Disconnected, None);
        }
    }
}

/// The first `count` characters.
fn start_of(text: &str, count: usize) -> &str {
    text.char_indices()
        .nth(count)
        .and_then(|(end, _)| text.get(..end))
        .unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opening() -> Opening {
        Opening {
            path: CHAT,
            ..Opening::default()
        }
    }

    fn summary(log: &RequestLog) -> Vec<(u64, RequestState, u16, u64, bool)> {
        let inner = log.lock();
        let records = inner.records.iter();
        records
            .map(|r| (r.id, r.state, r.status, r.chunks, r.ended_ms.is_some()))
            .collect()
    }

    #[test]
    fn every_end_of_a_chat_is_logged() {
        let log = Arc::new(RequestLog::new());
        let done = log.begin(opening());
        let failed = log.begin(opening());
        let left = log.begin(opening());
        let running = log.begin(opening());
        log.note("GET".to_owned(), "/".to_owned(), 200);
        log.note("GET".to_owned(), "/x".to_owned(), 404);
        done.sent(3);
        done.done();
        failed.failed(400);
        left.sent(1);
        drop(left);
        assert_eq!(
            summary(&log),
            [
                (1, RequestState::Done, 200, 3, true),
                (2, RequestState::Failed, 400, 0, true),
                (3, RequestState::Disconnected, 200, 1, true),
                (4, RequestState::Running, 0, 0, false),
                (5, RequestState::Done, 200, 0, true),
                (6, RequestState::Failed, 404, 0, true),
            ]
        );
        let expected = Stats {
            chat: 4,
            running: 1,
            disconnected: 1,
            max_running: 4,
        };
        assert_eq!(log.stats(), expected);
        running.done();
        assert_eq!(
            log.stats(),
            Stats {
                running: 0,
                ..expected
            }
        );
    }

    #[test]
    fn a_cleared_log_goes_on_counting() {
        let log = Arc::new(RequestLog::new());
        let before = log.begin(opening());
        log.clear();
        let after = log.begin(opening());
        before.sent(7);
        before.done();
        after.sent(1);
        assert_eq!(summary(&log), [(2, RequestState::Running, 200, 1, false)]);
        after.done();
    }

    #[test]
    fn old_requests_fall_out() {
        let log = RequestLog::new();
        for _ in 0..CAPACITY + 2 {
            log.note(String::new(), String::new(), 200);
        }
        let inner = log.lock();
        let ends = (
            inner.records.front().map(|r| r.id),
            inner.records.back().map(|r| r.id),
        );
        assert_eq!(
            (inner.records.len(), ends),
            (CAPACITY, (Some(3), Some(100_002)))
        );
    }

    #[test]
    fn texts_are_cut_at_characters() {
        assert_eq!(start_of("äöü", 2), "äö");
        assert_eq!(start_of("äöü", 3), "äöü");
    }
}
