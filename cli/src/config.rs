//! The configuration: defaults < file < environment < flags, checked as a whole.
//!
//! Unknown keys are errors with file, line and the likely word.

use std::path::{Path, PathBuf};

use swarm_agents::roles;
use swarm_protocol::AgentName;

mod environment;
mod file;
mod sections;

pub(crate) use sections::Config;

/// What is wrong with the configuration: one line a mistake.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct ConfigError(pub(crate) String);

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
/// When the file cannot be read or something in it is wrong.
pub(crate) fn load(flag: Option<&Path>) -> Result<Loaded, ConfigError> {
    let found = PLACES.iter().map(PathBuf::from).find(|path| path.is_file());
    let file = flag.map(Path::to_path_buf).or(found);
    let from_file = match &file {
        Some(path) => file::read(path)?,
        None => Config::default(),
    };
    let config = environment::apply(from_file, std::env::vars())?;
    let place = file.as_deref().map_or_else(
        || "configuration".to_owned(),
        |path| path.display().to_string(),
    );
    check(&config).map_err(|mistake| ConfigError(format!("{place}: {mistake}")))?;
    Ok(Loaded { config, file })
}

fn check(config: &Config) -> Result<(), String> {
    for (name, agent) in &config.agents {
        if roles::role(name.as_str()).is_none() && agent.prompt.is_none() {
            return Err(format!(
                "agents.{name}: prompt is missing; a new agent needs one, shipped are {}",
                shipped()
            ));
        }
    }
    let known = |agent: &AgentName| config.agents.contains_key(agent);
    if let Some(stranger) = config
        .runs
        .default_agents
        .iter()
        .flatten()
        .find(|agent| !known(agent))
    {
        return Err(format!(
            "runs.default_agents: {stranger} is none of the agents"
        ));
    }
    if config.ollama.hosts.is_empty() {
        return Err("ollama.hosts: at least one host is needed".to_owned());
    }
    if config.ollama.parallel == 0 || config.ollama.num_ctx == 0 {
        return Err("ollama.parallel and ollama.num_ctx must be above 0".to_owned());
    }
    Ok(())
}

fn shipped() -> String {
    roles::ROLES
        .iter()
        .map(|role| role.name)
        .collect::<Vec<_>>()
        .join(", ")
}
