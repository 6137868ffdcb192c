//! The request log: what was asked of the API port, how far each request got, and how it ended.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use jiff::Timestamp;
use serde::Serialize;

use crate::metrics::Metrics;
use crate::scheduler::Counts;

mod exchange;
mod record;

pub use exchange::Exchange;
pub use record::{Opening, Record, RequestState, Stats};

/// The endpoint whose requests [`Stats`] counts.
pub const CHAT: &str = "/api/chat";

/// The log holds this many requests; older ones fall out.
const CAPACITY: usize = 100_000;
/// Of so many of the newest requests the bodies are kept.
const BODIES: usize = 2000;

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
        Exchange::new(Arc::clone(self), id, path, model)
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
            system: record::start_of(&opening.system, 80).to_owned(),
            prompt: record::start_of(&opening.prompt, 200).to_owned(),
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
}
