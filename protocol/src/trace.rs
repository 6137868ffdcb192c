//! W3C trace context (<https://www.w3.org/TR/trace-context/>): one trace per run, across processes.
//!
//! What a run causes is a tree of spans whose ids follow from the run, so that every process names the same span without asking
//! another one: the run itself ([`TraceParent::of_run`]), beneath it each attempt ([`TraceParent::of_attempt`]). A message that
//! belongs to a run carries the span of whoever caused it.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::ids::{RunId, TaskId};

/// The header `traceparent`, version 00: a span, and the trace that it is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("pattern" = "^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$"))]
pub struct TraceParent {
    trace: u128,
    span: u64,
    flags: u8,
}

/// The text is no `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a W3C traceparent")]
pub struct InvalidTraceParent;

/// The flag of a trace that somebody records.
const SAMPLED: u8 = 1;

impl TraceParent {
    /// A new trace, sampled: of what belongs to no run.
    #[must_use]
    pub fn root() -> Self {
        Self {
            trace: Uuid::new_v4().as_u128(),
            span: random_span(),
            flags: SAMPLED,
        }
    }

    /// The span that a run is. It is in the trace of whoever submitted it, when that one had a trace; otherwise the trace has
    /// the run's own id, without the hyphens.
    #[must_use]
    pub fn of_run(run: RunId, submitter: Option<Self>) -> Self {
        Self {
            trace: submitter.map_or_else(|| own_trace(run), Self::trace),
            span: derived_span(&run.to_string()),
            flags: submitter.map_or(SAMPLED, |submitter| submitter.flags),
        }
    }

    /// The span of an attempt, in the trace of its run.
    #[must_use]
    pub fn of_attempt(self, run: RunId, task: &TaskId, attempt: u32) -> Self {
        Self {
            span: derived_span(&format!("{run}:{task}:{attempt}")),
            ..self
        }
    }

    /// The trace of whoever submitted a run, by the header of the submission. None when there is no header, or one that names
    /// the run itself: its sender had no trace of its own.
    #[must_use]
    pub fn of_submitter(run: RunId, header: Option<&str>) -> Option<Self> {
        let submitter: Self = header?.parse().ok()?;
        (!submitter.is_own_of(run)).then_some(submitter)
    }

    /// A new span in the same trace.
    #[must_use]
    pub fn child(self) -> Self {
        Self {
            span: random_span(),
            ..self
        }
    }

    /// The trace a header names, a new one without a valid header.
    #[must_use]
    pub fn from_header(header: Option<&str>) -> Self {
        header
            .and_then(|text| text.parse().ok())
            .unwrap_or_else(Self::root)
    }

    /// The id of the trace.
    #[must_use]
    pub fn trace(self) -> u128 {
        self.trace
    }

    /// The id of the span.
    #[must_use]
    pub fn span(self) -> u64 {
        self.span
    }

    /// Whether whoever began the trace may have recorded it.
    #[must_use]
    pub fn is_sampled(self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// Whether the trace is the run's own one, and no submitter's.
    #[must_use]
    pub fn is_own_of(self, run: RunId) -> bool {
        self.trace == own_trace(run)
    }
}

impl TryFrom<String> for TraceParent {
    type Error = InvalidTraceParent;

    fn try_from(text: String) -> Result<Self, InvalidTraceParent> {
        text.parse()
    }
}

impl From<TraceParent> for String {
    fn from(trace: TraceParent) -> Self {
        trace.to_string()
    }
}

/// No trace has the id 0, which the nil UUID would be.
fn own_trace(run: RunId) -> u128 {
    run.as_u128().max(1)
}

fn derived_span(name: &str) -> u64 {
    let digest = Sha256::digest(name.as_bytes());
    let bytes = digest.iter().take(8);
    bytes
        .fold(0, |span, byte| span << 8 | u64::from(*byte))
        .max(1)
}

fn random_span() -> u64 {
    // Not from the system, which would cost a call into the kernel for every message.
    fastrand::u64(1..)
}

impl FromStr for TraceParent {
    type Err = InvalidTraceParent;

    fn from_str(text: &str) -> Result<Self, InvalidTraceParent> {
        let lower = |part: &str| part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let parts: Vec<&str> = text.trim().split('-').collect();
        let [version, trace, span, flags] = parts.as_slice() else {
            return Err(InvalidTraceParent);
        };
        let sizes = [version.len(), trace.len(), span.len(), flags.len()] == [2, 32, 16, 2];
        if !sizes || *version == "ff" || !parts.iter().all(|part| lower(part)) {
            return Err(InvalidTraceParent);
        }
        let trace = u128::from_str_radix(trace, 16).or(Err(InvalidTraceParent))?;
        let span = u64::from_str_radix(span, 16).or(Err(InvalidTraceParent))?;
        let flags = u8::from_str_radix(flags, 16).or(Err(InvalidTraceParent))?;
        if trace == 0 || span == 0 {
            Err(InvalidTraceParent)
        } else {
            Ok(Self { trace, span, flags })
        }
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "00-{:032x}-{:016x}-{:02x}",
            self.trace, self.span, self.flags
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_stays_in_its_trace() {
        let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let parent: TraceParent = text.parse().unwrap();
        assert_eq!(parent.to_string(), text);
        let child = parent.child();
        assert_eq!(child.trace(), parent.trace());
        assert_ne!(child, parent);
        assert_eq!(child.to_string().parse(), Ok(child));
    }

    #[test]
    fn every_process_derives_the_same_spans_of_a_run() {
        let run = RunId::parse("0b7e1e0c-3f5b-5e9a-8c49-0d5a6f7b8c9d").unwrap();
        let task: TaskId = "research_agent".parse().unwrap();
        let own = TraceParent::of_run(run, None);
        assert_eq!(
            own.to_string(),
            "00-0b7e1e0c3f5b5e9a8c490d5a6f7b8c9d-7878ea9e07a4d719-01"
        );
        let attempts = [1, 2].map(|attempt| own.of_attempt(run, &task, attempt));
        assert_eq!(attempts[0], own.of_attempt(run, &task, 1));
        assert_ne!(attempts[0], attempts[1]);
        assert_eq!(attempts.map(TraceParent::trace), [own.trace(); 2]);
        assert!(own.is_own_of(run) && attempts[1].is_own_of(run));
        let nil = RunId::parse("00000000-0000-0000-0000-000000000000").unwrap();
        assert_eq!(TraceParent::of_run(nil, None).trace(), 1);
    }

    #[test]
    fn a_run_goes_on_in_the_trace_of_its_submitter() {
        let run = RunId::random();
        let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
        let submitter = TraceParent::of_submitter(run, Some(text)).unwrap();
        let within = TraceParent::of_run(run, Some(submitter));
        let own = TraceParent::of_run(run, None);
        assert_eq!(within.trace(), submitter.trace());
        assert_eq!(within.span(), own.span());
        assert!(own.is_sampled() && !within.is_sampled() && !within.is_own_of(run));
        for none in [None, Some("?"), Some(own.child().to_string().as_str())] {
            assert_eq!(TraceParent::of_submitter(run, none), None, "{none:?}");
        }
    }

    #[test]
    fn broken_headers_are_refused() {
        for bad in [
            "",
            "00-0-0-0",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert_eq!(bad.parse::<TraceParent>(), Err(InvalidTraceParent), "{bad}");
        }
    }
}
