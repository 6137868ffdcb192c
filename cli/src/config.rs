//! The configuration: defaults < file < environment < flags, checked as a whole.
//!
//! A source becomes a tree with places (`tree`), is held against what the types accept (`shape`, `reading`), and what is
//! wrong is told all at once (`mistakes`). Only a configuration without mistakes is ever used.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

mod environment;
mod mistakes;
mod reading;
mod rules;
mod sections;
mod shape;
mod shown;
mod tree;

pub(crate) mod command;

pub(crate) use mistakes::ConfigError;
pub(crate) use sections::{Agent, Config, ToolMode};

use mistakes::{Mistake, Place};
use reading::{Findings, Reader};
use shape::Shape;

/// Where the configuration may stand when no flag says so.
const PLACES: [&str; 2] = ["swarm.yaml", "swarm_config.yaml"];

/// A configuration and where it was read from.
#[derive(Debug, Clone)]
pub(crate) struct Loaded {
    pub(crate) config: Config,
    /// The file, none when the built-in defaults hold.
    pub(crate) file: Option<PathBuf>,
}

/// Loads the configuration: from `flag`, which is also `$SWARM_CONFIG`, from one of the usual places, or by default.
///
/// # Errors
/// When the file cannot be read or something in it, or in the environment, is wrong: everything that is.
pub(crate) fn load(flag: Option<&Path>) -> Result<Loaded, ConfigError> {
    let found = PLACES.iter().map(PathBuf::from).find(|path| path.is_file());
    let file = flag.map(Path::to_path_buf).or(found);
    let text = match &file {
        Some(path) => std::fs::read_to_string(path).map_err(|error| unreadable(path, &error))?,
        None => String::new(),
    };
    let (config, mistakes) = examine(&text, environment::variables());
    if mistakes.is_empty() {
        return Ok(Loaded { config, file });
    }
    Err(ConfigError { file, mistakes })
}

/// What a text and variables configure, and all that is wrong with them; what is wrong is left out of what they configure.
fn examine(text: &str, variables: Vec<(String, String)>) -> (Config, Vec<Mistake>) {
    let shape = Shape::of_config();
    let mut findings = Findings::default();
    let mut values = match tree::parse(text) {
        Ok(node) => {
            let mut reader = Reader {
                text,
                variable: None,
                findings: &mut findings,
            };
            reader.read(&shape, "", &node).unwrap_or(Value::Null)
        }
        Err(no_yaml) => {
            let place = no_yaml.line.map_or(Place::File, Place::Line);
            findings.wrong(place, "", no_yaml.message);
            Value::Null
        }
    };
    complete(&mut values);
    environment::apply(&mut values, variables, &shape, &mut findings);
    let config = serde_json::from_value(values).unwrap_or_else(|error| {
        findings.wrong(Place::File, "", error.to_string());
        Config::default()
    });
    rules::check(&config, &mut findings);
    // In a line, they stay in the order of the text.
    findings.mistakes.sort_by(|a, b| a.place.cmp(&b.place));
    (config, findings.mistakes)
}

/// Names the default team when the file names nobody, so that a variable about one agent does not make it the only one.
fn complete(values: &mut Value) {
    if !values.is_object() {
        *values = Value::Object(Map::new());
    }
    if values["agents"].is_null() {
        let team = Config::default().agents.into_keys();
        values["agents"] = team
            .map(|name| (name.to_string(), Value::Object(Map::new())))
            .collect();
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> ConfigError {
    let mut findings = Findings::default();
    findings.wrong(
        Place::File,
        "",
        format!("the configuration cannot be read: {error}"),
    );
    ConfigError {
        file: Some(path.to_path_buf()),
        mistakes: findings.mistakes,
    }
}

#[cfg(test)]
mod tests;
