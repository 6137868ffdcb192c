//! `swarm config …`, and how every other command refuses a configuration.

use std::path::Path;

use serde_json::json;

use super::{Loaded, shown};
use crate::args::{ConfigCommand, Global};
use crate::connect;
use crate::exit::{Failure, USAGE};
use crate::output::{self, Format};

/// Runs a command about the configuration.
pub(crate) fn run(global: &Global, command: ConfigCommand) -> Result<(), Failure> {
    match command {
        ConfigCommand::Check { file } => check(global, file.as_deref()),
        ConfigCommand::Show => show(global),
    }
}

/// Loads the configuration for a command.
///
/// # Errors
/// When it has mistakes; as text they have been said then, in the lines of `swarm config check`.
pub(crate) fn load(global: &Global) -> Result<Loaded, Failure> {
    super::load(global.config.as_deref()).map_err(|error| match global.output {
        Format::Json => error.into(),
        Format::Text => {
            error.lines().iter().for_each(|line| output::note(line));
            Failure::silent(USAGE)
        }
    })
}

fn check(global: &Global, file: Option<&Path>) -> Result<(), Failure> {
    let loaded = super::load(file.or(global.config.as_deref()));
    match (&loaded, global.output) {
        (Ok(loaded), Format::Json) => {
            output::document(&json!({ "file": loaded.file, "mistakes": [] }));
        }
        (Ok(loaded), Format::Text) => output::data(&match &loaded.file {
            Some(file) => format!("{}: in order", file.display()),
            None => "no file, the defaults hold".to_owned(),
        }),
        (Err(error), Format::Json) => output::document(&error.document()),
        (Err(error), Format::Text) => error.lines().iter().for_each(|line| output::data(line)),
    }
    loaded.map(drop).map_err(|_told| Failure::silent(USAGE))
}

fn show(global: &Global) -> Result<(), Failure> {
    let Loaded { mut config, file } = load(global)?;
    config.nats.url = connect::server_url(global, &config)?;
    if let Some(creds) = &global.creds {
        config.nats.creds = Some(creds.display().to_string());
    }
    let shown = shown::shown(config);
    output::note(&match file {
        Some(file) => format!("from {}", file.display()),
        None => "no file, the defaults hold".to_owned(),
    });
    match global.output {
        Format::Json => output::document(&shown),
        Format::Text => {
            let yaml = serde_saphyr::to_string(&shown)
                .map_err(|error| Failure::from(anyhow::Error::from(error)))?;
            output::data(yaml.trim_end());
        }
    }
    Ok(())
}
