//! A request while it runs.

use std::sync::Arc;
use std::time::Instant;

use super::{RequestLog, RequestState};

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

impl Exchange {
    /// The request with this id, which begins now.
    pub(super) fn new(log: Arc<RequestLog>, id: u64, path: &'static str, model: String) -> Self {
        Self {
            log,
            id,
            path,
            model,
            begun: Instant::now(),
            ended: false,
        }
    }

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
