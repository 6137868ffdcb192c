//! Counts of all requests, for `GET /sim/metrics`.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::scheduler;

/// Upper bounds of the buckets for the time to the first token, in milliseconds.
const BUCKETS: [u64; 8] = [1, 10, 50, 100, 500, 1000, 5000, 30_000];

/// What is counted as requests come and go.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    requests: BTreeMap<Key, u64>,
    models: BTreeMap<String, InFlight>,
    in_flight: InFlight,
    disconnects: u64,
    prompt_tokens: u64,
    eval_tokens: u64,
    first_token: [u64; BUCKETS.len() + 1],
}

/// Requests at one time.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct InFlight {
    now: u64,
    max: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Key {
    endpoint: String,
    model: String,
    status: u16,
}

/// The document.
#[derive(Debug, Serialize)]
pub struct Report<'a> {
    requests: Vec<Count<'a>>,
    /// Requests that the server has and has not answered in full, also while they wait.
    in_flight: u64,
    max_in_flight: u64,
    /// The same by model, as clients name it.
    models: &'a BTreeMap<String, InFlight>,
    disconnects: u64,
    prompt_tokens: u64,
    eval_tokens: u64,
    /// Answers by the time to their first token.
    first_token_ms: Vec<Bucket>,
    #[serde(flatten)]
    scheduler: scheduler::Counts,
}

/// Requests that have ended. A client that left before there was a status counts as 499.
#[derive(Debug, Serialize)]
struct Count<'a> {
    #[serde(flatten)]
    key: &'a Key,
    count: u64,
}

/// Answers whose first token came within so many milliseconds, but not within those of the bucket before.
#[derive(Debug, Serialize)]
struct Bucket {
    #[serde(skip_serializing_if = "Option::is_none")]
    within: Option<u64>,
    count: u64,
}

impl Metrics {
    /// A request has come.
    pub fn begin(&mut self, model: &str) {
        self.in_flight.add();
        self.models.entry(model.to_owned()).or_default().add();
    }

    /// It has ended.
    pub fn end(&mut self, endpoint: &str, model: &str, status: u16, left: bool) {
        self.in_flight.now -= 1;
        if let Some(flight) = self.models.get_mut(model) {
            flight.now -= 1;
        }
        self.disconnects += u64::from(left);
        self.count(endpoint, model, if status == 0 { 499 } else { status });
    }

    /// One that was answered at once.
    pub fn count(&mut self, endpoint: &str, model: &str, status: u16) {
        let key = Key {
            endpoint: endpoint.to_owned(),
            model: model.to_owned(),
            status,
        };
        *self.requests.entry(key).or_default() += 1;
    }

    /// A first token has come.
    pub fn first_token(&mut self, after: Duration) {
        let bucket = BUCKETS
            .iter()
            .position(|bound| after <= Duration::from_millis(*bound))
            .unwrap_or(BUCKETS.len());
        if let Some(count) = self.first_token.get_mut(bucket) {
            *count += 1;
        }
    }

    /// An answer had so many tokens.
    pub fn tokens(&mut self, prompt: u64, eval: usize) {
        self.prompt_tokens += prompt;
        self.eval_tokens += u64::try_from(eval).unwrap_or(0);
    }

    /// Counts anew; what runs goes on.
    pub fn reset(&mut self) {
        let keep = |flight: InFlight| InFlight {
            max: flight.now,
            ..flight
        };
        let models = std::mem::take(&mut self.models);
        *self = Self {
            in_flight: keep(self.in_flight),
            models: models
                .into_iter()
                .filter(|(_, flight)| flight.now > 0)
                .map(|(model, flight)| (model, keep(flight)))
                .collect(),
            ..Self::default()
        };
    }

    /// The document, with the counts of the scheduler.
    pub fn report(&self, scheduler: scheduler::Counts) -> Report<'_> {
        let requests = self.requests.iter();
        let bounds = BUCKETS.iter().map(|bound| Some(*bound)).chain([None]);
        Report {
            requests: requests
                .map(|(key, count)| Count { key, count: *count })
                .collect(),
            in_flight: self.in_flight.now,
            max_in_flight: self.in_flight.max,
            models: &self.models,
            disconnects: self.disconnects,
            prompt_tokens: self.prompt_tokens,
            eval_tokens: self.eval_tokens,
            first_token_ms: bounds
                .zip(self.first_token)
                .map(|(within, count)| Bucket { within, count })
                .collect(),
            scheduler,
        }
    }
}

impl InFlight {
    fn add(&mut self) {
        self.now += 1;
        self.max = self.max.max(self.now);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn requests_are_counted_as_they_come_and_go() {
        let mut metrics = Metrics::default();
        metrics.begin("a");
        metrics.begin("b");
        metrics.end("/x", "a", 0, true);
        metrics.first_token(Duration::from_millis(10));
        metrics.first_token(Duration::from_secs(60));
        metrics.tokens(3, 4);
        let report = serde_json::to_value(metrics.report(scheduler::Counts::default())).unwrap();
        let requests = json!([{"endpoint": "/x", "model": "a", "status": 499, "count": 1}]);
        assert_eq!(report["requests"], requests);
        assert_eq!(
            (&report["in_flight"], &report["max_in_flight"]),
            (&json!(1), &json!(2))
        );
        assert_eq!(
            report["models"],
            json!({"a": {"now": 0, "max": 1}, "b": {"now": 1, "max": 1}})
        );
        assert_eq!(
            report["first_token_ms"][1],
            json!({"within": 10, "count": 1})
        );
        assert_eq!(report["first_token_ms"][8], json!({"count": 1}));
        assert_eq!(
            (&report["disconnects"], &report["eval_tokens"]),
            (&json!(1), &json!(4))
        );
        metrics.reset();
        let report = serde_json::to_value(metrics.report(scheduler::Counts::default())).unwrap();
        assert_eq!(report["models"], json!({"b": {"now": 1, "max": 1}}));
        assert_eq!(
            (&report["requests"], &report["max_in_flight"]),
            (&json!([]), &json!(1))
        );
    }
}
