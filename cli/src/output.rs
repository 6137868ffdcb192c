//! What the command says: data on stdout, everything else on stderr. The only place that prints.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is the output module"
)]

use std::io::Write as _;

use clap::ValueEnum;
use serde::Serialize;
use serde_json::json;
use swarm_protocol::ErrorBody;

/// How data is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Text,
    /// What the endpoint replied, or one document a line.
    Json,
}

/// Writes a line of data. A reader that has gone away ends the command quietly.
pub(crate) fn data(line: &str) {
    let mut stdout = std::io::stdout().lock();
    if writeln!(stdout, "{line}")
        .and_then(|()| stdout.flush())
        .is_err()
    {
        std::process::exit(0);
    }
}

/// Writes a document as one line of JSON.
pub(crate) fn document(document: &impl Serialize) {
    match serde_json::to_string(document) {
        Ok(line) => data(&line),
        Err(error) => note(&format!("cannot be written as JSON: {error}")),
    }
}

/// Says something that is no data.
pub(crate) fn note(line: &str) {
    eprintln!("{line}");
}

/// Says what went wrong.
pub(crate) fn error(format: Format, error: &ErrorBody) {
    match format {
        Format::Text => eprintln!("swarm: {}", error.message),
        Format::Json => eprintln!("{}", json!({ "error": error })),
    }
}

/// Cuts a text to one line of at most `width` characters.
pub(crate) fn line(text: &str, width: usize) -> String {
    let flat: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let safe: String = flat.chars().filter(|c| !c.is_control()).collect();
    if safe.chars().count() <= width {
        return safe;
    }
    let mut cut: String = safe.chars().take(width.saturating_sub(1)).collect();
    cut.push('…');
    cut
}
