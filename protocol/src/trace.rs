//! W3C trace context (<https://www.w3.org/TR/trace-context/>): one trace per run, across processes.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

/// The header `traceparent`, version 00.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    trace: u128,
    span: u64,
    flags: u8,
}

/// The text is no `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a W3C traceparent")]
pub struct InvalidTraceParent;

impl TraceParent {
    /// A new trace, sampled.
    #[must_use]
    pub fn root() -> Self {
        Self {
            trace: Uuid::new_v4().as_u128(),
            span: random_span(),
            flags: 1,
        }
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
