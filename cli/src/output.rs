//! What the command says: data on stdout, everything else on stderr. The only place that prints.

use std::io::Write as _;
use std::process::ExitCode;

use clap::ValueEnum;
use serde::Serialize;
use serde_json::json;
use swarm_protocol::{Code, ErrorBody};

use crate::exit::USAGE;

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

/// Says something that is no data. When nobody listens, that is no reason to stop.
pub(crate) fn note(line: &str) {
    writeln!(std::io::stderr(), "{line}").unwrap_or_default();
}

/// Says what went wrong.
pub(crate) fn error(format: Format, error: &ErrorBody) {
    match format {
        Format::Text => note(&format!("swarm: {}", error.message)),
        Format::Json => note(&json!({ "error": error }).to_string()),
    }
}

/// Says what is wrong with a command line, or the help that was asked for.
pub(crate) fn usage(usage: &clap::Error) -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let wants_json = arguments.iter().any(|argument| argument == "--output=json")
        || arguments
            .windows(2)
            .any(|pair| pair == ["--output", "json"]);
    if usage.use_stderr() && wants_json {
        let text = usage.to_string();
        let (said, _hints) = text.split_once("\n\n").unwrap_or((&text, ""));
        let message = line(said.trim_start_matches("error: "), usize::MAX);
        error(Format::Json, &ErrorBody::new(Code::Field, message));
    } else {
        usage.print().unwrap_or_default();
    }
    ExitCode::from(u8::try_from(usage.exit_code()).unwrap_or(USAGE))
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
