//! What answers say of the time.

use std::time::Duration;

use clap::ValueEnum;
use jiff::Timestamp;

/// Where times and durations in answers come from. The pace of answers is real either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Clock {
    /// The machine's clock.
    Real,
    /// One moment for all, and durations that follow from the numbers of tokens: the same request has the same bytes.
    Fixed,
}

/// What one answer took, to its parts.
#[derive(Debug, Clone, Copy)]
pub struct Spans {
    /// Until the model was loaded and a slot free.
    pub load: Duration,
    /// From there to the first token.
    pub prompt: Duration,
    /// From the first token to the last.
    pub answer: Duration,
}

impl Clock {
    /// RFC 3339 with nanoseconds, UTC.
    pub fn now(self) -> String {
        match self {
            Self::Real => format!("{:.9}", Timestamp::now()),
            Self::Fixed => "2026-01-01T00:00:00.000000000Z".to_owned(),
        }
    }

    /// The spans to tell, given the measured ones and the numbers of tokens.
    pub fn spans(self, measured: Spans, prompt: u64, answer: usize) -> Spans {
        match self {
            Self::Real => measured,
            Self::Fixed => Spans {
                load: Duration::from_millis(1),
                prompt: Duration::from_millis(prompt),
                answer: Duration::from_millis(u64::try_from(answer).unwrap_or(0) * 10),
            },
        }
    }
}
