//! Logs of roles and commands, on stderr.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

use crate::args::{Global, LogFormat};

/// Begins to log. `RUST_LOG` overrides the flags.
pub(crate) fn start(global: &Global, default: &str) {
    let level = match (global.quiet, global.verbose) {
        (true, _) => "error",
        (false, 0) => default,
        (false, 1) => "debug",
        (false, _) => "trace",
    };
    // The NATS client reports at its own levels what the bus reports in our words.
    let fallback = format!("{level},async_nats=off,hyper=warn,reqwest=warn");
    let filter =
        EnvFilter::try_from_default_env().unwrap_or_else(|_unset| EnvFilter::new(fallback));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        // Nobody may be reading any more; to say so on the same stderr would end the task that spoke.
        .log_internal_errors(false)
        .with_span_events(FmtSpan::NONE);
    match global.log {
        LogFormat::Text => builder
            .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
            .init(),
        LogFormat::Json => builder.json().init(),
    }
}
