//! What is wrong with a configuration: everything at once, a line each.

use std::fmt;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::output;

/// Where a mistake stands. In the order in which mistakes are told.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// A line of the file, from 1.
    Line(u64),
    /// The file as a whole, or nowhere in it.
    File,
    /// A variable of the environment.
    Variable(String),
}

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mistake {
    pub(super) place: Place,
    /// The key, `ollama.num_ctx`; none when it is about the text and not about a key.
    pub(super) key: Option<String>,
    /// What is wrong, and what is accepted.
    pub(super) message: String,
}

/// What is wrong with the configuration: one line a mistake.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) struct ConfigError {
    pub(super) file: Option<PathBuf>,
    pub(super) mistakes: Vec<Mistake>,
}

impl ConfigError {
    /// A line a mistake: `file:line: key: what is wrong, and what is accepted`.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.mistakes
            .iter()
            .map(|mistake| self.line(mistake))
            .collect()
    }

    fn line(&self, mistake: &Mistake) -> String {
        let file = shown_file(self.file.as_ref());
        let key = mistake.key.iter().map(|key| format!("{key}: "));
        // A key can be any text, also one of several lines.
        let said = output::line(&(key.collect::<String>() + &mistake.message), usize::MAX);
        match &mistake.place {
            Place::Line(line) => format!("{file}:{line}: {said}"),
            Place::File => format!("{file}: {said}"),
            Place::Variable(name) => format!("{name}: {}", mistake.message),
        }
    }

    /// `{"file", "mistakes": [{"line"?, "key"?, "message"}]}`; the key of a mistake in the environment is the variable.
    pub(crate) fn document(&self) -> Value {
        let mistakes = self.mistakes.iter().map(|mistake| {
            let (line, key) = match &mistake.place {
                Place::Line(line) => (Some(line), mistake.key.as_ref()),
                Place::File => (None, mistake.key.as_ref()),
                Place::Variable(name) => (None, Some(name)),
            };
            let said = [
                line.map(|line| ("line", json!(line))),
                key.map(|key| ("key", json!(key))),
                Some(("message", json!(mistake.message))),
            ];
            let said = said.into_iter().flatten();
            said.map(|(name, value)| (name.to_owned(), value))
                .collect::<Value>()
        });
        json!({ "file": self.file, "mistakes": mistakes.collect::<Vec<_>>() })
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.lines().join("\n"))
    }
}

/// The file in front of a mistake.
fn shown_file(file: Option<&PathBuf>) -> String {
    file.map_or_else(
        || "configuration".to_owned(),
        |path| path.display().to_string(),
    )
}

/// The likely word, as the end of a message.
pub(super) fn likely<'w>(written: &str, words: impl IntoIterator<Item = &'w str>) -> String {
    let scored = words
        .into_iter()
        .map(|word| (strsim::jaro_winkler(written, word), word));
    match scored.max_by(|a, b| a.0.total_cmp(&b.0)) {
        Some((score, word)) if score > 0.75 => format!("; did you mean `{word}`?"),
        _ => String::new(),
    }
}

/// A URL without its password, token and query, also when it is not well formed.
pub(super) fn shown_url(url: &str) -> String {
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), url),
    };
    // What stands before the last @ is not the host, however odd it is.
    let (login, host) = match rest.rsplit_once('@') {
        Some((login, host)) => (Some(login), host),
        None => (None, rest),
    };
    let login = login.map(|login| match login.split_once(':') {
        Some((user, _)) => format!("{user}:***@"),
        None => "***@".to_owned(),
    });
    let host = match host.split_once('?') {
        Some((host, _)) => format!("{host}?***"),
        None => host.to_owned(),
    };
    format!("{scheme}{}{host}", login.unwrap_or_default())
}
