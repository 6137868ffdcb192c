//! The names of everything that is measured. Counters end in `_total`; times are in seconds, sizes in bytes.

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It only grows while a process lives.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Observations: their count, their sum, and how many were below each bound.
    Histogram,
}

/// A metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// What its value says.
    pub help: &'static str,
    /// Names of its labels.
    pub labels: &'static [&'static str],
}

macro_rules! metrics {
    ($($name:ident $text:literal $kind:ident [$($label:literal),*] $help:literal,)*) => {
        $(#[doc = $help] pub const $name: &str = $text;)*

        /// Every metric.
        pub const ALL: &[Metric] = &[$(Metric {
            name: $text,
            kind: Kind::$kind,
            help: $help,
            labels: &[$($label),*],
        },)*];
    };
}

metrics! {
    RUNS "swarm_runs" Gauge ["state"] "Runs in the store by state, as this coordinator's index has them.",
    RUNS_SUBMITTED "swarm_runs_submitted_total" Counter [] "Submissions that this coordinator made a run, rejected ones among them.",
    RUNS_ENDED "swarm_runs_ended_total" Counter ["state"] "Runs whose last event this coordinator appended.",
    WORK_PENDING "swarm_work_pending" Gauge ["agent"] "Attempts that no worker has taken.",
    WORK_UNACKNOWLEDGED "swarm_work_unacknowledged" Gauge ["agent"] "Attempts that workers have and have not settled.",
    ATTEMPTS "swarm_attempts_total" Counter ["agent"] "Attempts that this worker took.",
    RETRIES "swarm_retries_total" Counter ["agent"] "Attempts after a failed one.",
    REDELIVERIES "swarm_redeliveries_total" Counter ["consumer"] "Deliveries to this process that were not the first of their message.",
    MODEL_SECONDS "swarm_model_seconds" Histogram ["agent", "model"] "Time in finished model calls.",
    TOOL_SECONDS "swarm_tool_seconds" Histogram ["agent", "tool"] "Time in finished tool calls.",
    MODEL_TOKENS "swarm_model_tokens_total" Counter ["agent", "model", "direction"] "Tokens of finished model calls, input and output.",
    SLOTS "swarm_slots" Gauge ["agent"] "Attempts that this worker can have at once.",
    SLOTS_BUSY "swarm_slots_busy" Gauge ["agent"] "Attempts that this worker has.",
    STREAM_BYTES "swarm_stream_bytes" Gauge ["stream"] "Bytes in a stream.",
    STREAM_MAX_BYTES "swarm_stream_max_bytes" Gauge ["stream"] "Bytes that a stream may hold.",
    STREAM_MESSAGES "swarm_stream_messages" Gauge ["stream"] "Messages in a stream.",
    DEAD_LETTERS "swarm_dead_letters" Gauge [] "Dead letters that are kept.",
    NOT_TAKEN "swarm_submissions_held" Gauge ["reason"] "1 while new submissions stay in the inbox for this reason.",
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_say_what_they_are() {
        let names: BTreeSet<&str> = ALL.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), ALL.len());
        for metric in ALL {
            assert!(metric.name.starts_with("swarm_"), "{}", metric.name);
            assert_eq!(
                metric.name.ends_with("_total"),
                metric.kind == Kind::Counter,
                "{}",
                metric.name
            );
        }
    }
}
