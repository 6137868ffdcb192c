//! What an endpoint counts, as `$SRV.STATS` shows it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use super::Endpoint;

/// Counters of one endpoint.
#[derive(Debug, Default)]
pub(super) struct Stats {
    requests: AtomicU64,
    errors: AtomicU64,
    nanoseconds: AtomicU64,
    last_error: Mutex<String>,
}

impl Stats {
    pub(super) fn requested(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn failed(&self, error: &str) {
        self.errors.fetch_add(1, Ordering::Relaxed);
        error.clone_into(
            &mut self
                .last_error
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
    }

    pub(super) fn served(&self, took: Duration) {
        self.nanoseconds.fetch_add(
            u64::try_from(took.as_nanos()).unwrap_or(u64::MAX),
            Ordering::Relaxed,
        );
    }

    pub(super) fn describe(&self, endpoint: &Endpoint, data: Option<Value>) -> Value {
        let requests = self.requests.load(Ordering::Relaxed);
        let nanoseconds = self.nanoseconds.load(Ordering::Relaxed);
        let mut description = endpoint.describe();
        if let Some(fields) = description.as_object_mut() {
            fields.remove("metadata");
            fields.insert("num_requests".into(), json!(requests));
            fields.insert(
                "num_errors".into(),
                json!(self.errors.load(Ordering::Relaxed)),
            );
            let last_error = self
                .last_error
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone();
            fields.insert("last_error".into(), json!(last_error));
            fields.insert("processing_time".into(), json!(nanoseconds));
            fields.insert(
                "average_processing_time".into(),
                json!(nanoseconds.checked_div(requests).unwrap_or(0)),
            );
            fields.extend(data.map(|data| ("data".to_owned(), data)));
        }
        description
    }
}
