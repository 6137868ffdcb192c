//! Traces: `invoke_workflow > invoke_agent > chat | execute_tool`, exported by OTLP over HTTP.
//!
//! This crate owns what a span says and how it leaves the process. It is the only one that knows OpenTelemetry, whose types do
//! not appear in its interface. It must not know NATS, nor how runs and agents work: it is told what has ended.
//!
//! Until [`start`] finds an endpoint in the environment, every call is a look at one pointer.
//!
//! A span is told by whoever stores what it is about, so that it is told once, and is not lost with a worker that is killed:
//!
//! | Span | when | by |
//! |---|---|---|
//! | `invoke_workflow` | a run ends | the coordinator that appends its last event |
//! | `invoke_agent` | an attempt ends | the coordinator that follows the end in its journal |
//! | `chat`, `execute_tool` | a turn or a call ends | the worker |
//!
//! The ids of the first two follow from the run ([`swarm_protocol::trace`]): children name them before they are exported, and
//! a coordinator that takes over for another one tells the same span.
//!
//! Reading order: `names`, `settings`, `ended`, `work`, `content`, `exporter`, `post`.

use std::sync::OnceLock;
use std::time::Duration;

use swarm_protocol::InstanceId;

mod content;
mod ended;
mod exporter;
mod names;
mod post;
mod settings;
#[cfg(test)]
mod test_support;
mod work;

pub use content::{Message, Part};
pub use ended::{EndedAttempt, EndedRun, invoke_agent, invoke_workflow};
pub use work::{Attempt, ChatSpan, ToolSpan};

use exporter::Exporter;

/// What is left to export at the end of a process is waited for this long.
const LAST_WORDS: Duration = Duration::from_secs(2);

static EXPORTER: OnceLock<Exporter> = OnceLock::new();

/// The process whose spans are exported.
#[derive(Debug, Clone, Copy)]
pub struct Process<'a> {
    /// What it is: `coordinator`, `agent`.
    pub role: &'a str,
    /// Its id.
    pub instance: &'a InstanceId,
    /// The machine.
    pub host: &'a str,
}

/// Begins to export, when the environment names an endpoint. What is wrong with the environment is a warning: traces are no
/// reason to leave work undone.
pub fn start(process: &Process<'_>) {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let reading = settings::read(variable);
    for problem in &reading.problems {
        tracing::warn!("{problem}");
    }
    let Some(settings) = reading.settings else {
        return;
    };
    match Exporter::start(&settings, process) {
        Ok(exporter) => {
            tracing::info!(to = settings.shown(), "traces are exported");
            // Whoever starts twice goes on with the first one.
            EXPORTER.set(exporter).unwrap_or_default();
        }
        Err(error) => tracing::warn!(%error, "no traces are exported"),
    }
}

/// Exports what is left, within two seconds. Blocks: for the end of the process.
pub fn stop() {
    if let Some(exporter) = EXPORTER.get() {
        exporter.stop(LAST_WORDS);
    }
}

/// Whether spans are exported: for callers that would have to compute what they tell.
#[must_use]
pub fn is_on() -> bool {
    EXPORTER.get().is_some()
}
