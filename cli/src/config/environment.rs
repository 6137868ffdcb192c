//! The environment over the file: `SWARM_<SECTION>_<KEY>`, `__` for a deeper key.
//!
//! `SWARM_OLLAMA_NUM_CTX=4096`, `SWARM_AGENTS_RESEARCH_AGENT__MODEL=llama3.2:1b`, `SWARM_RUNS_RETRY__MAX=1`.

use figment::Figment;
use figment::providers::{Env, Serialized};

use super::file::suggestion;
use super::{Config, ConfigError};

/// The sections that the environment may change; other variables that begin with `SWARM_` mean something else.
const SECTIONS: [&str; 7] = [
    "nats",
    "ollama",
    "agents",
    "mcp_servers",
    "mcp",
    "runs",
    "tools",
];

/// Applies the variables.
///
/// # Errors
/// When a variable of one of the sections names no key, or its value does not fit.
pub(super) fn apply(
    config: Config,
    variables: impl Iterator<Item = (String, String)>,
) -> Result<Config, ConfigError> {
    let names: Vec<String> = variables
        .map(|(name, _)| name)
        .filter(|name| key(name).is_some())
        .collect();
    if names.is_empty() {
        return Ok(config);
    }
    // figment reads the values, so that `[a, b]`, `4096` and `text` need no quotes.
    let provider = Env::raw()
        .filter_map(|name| key(&name.as_str().to_ascii_uppercase()).map(Into::into))
        .split(".");
    Figment::from(Serialized::defaults(config))
        .merge(provider)
        .extract()
        .map_err(|error| {
            let path = error.path.join(".");
            let what = error.kind.to_string();
            let variable = names.iter().find(|name| {
                key(name).is_some_and(|key| path.starts_with(&key) || key.starts_with(&path))
            });
            let place = variable.map_or_else(|| names.join(", "), Clone::clone);
            ConfigError(format!("{place}: {path}: {what}{}", suggestion(&what)))
        })
}

/// The key that a variable changes, `ollama.num_ctx`; none when it is about something else.
fn key(name: &str) -> Option<String> {
    let rest = name.strip_prefix("SWARM_")?.to_ascii_lowercase();
    let (section, rest) = SECTIONS.iter().find_map(|section| {
        let rest = rest.strip_prefix(section)?.strip_prefix('_')?;
        Some((*section, rest))
    })?;
    let path = rest.trim_start_matches('_').replace("__", ".");
    (!path.is_empty()).then(|| format!("{section}.{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_name_keys() {
        assert_eq!(
            key("SWARM_OLLAMA_NUM_CTX").as_deref(),
            Some("ollama.num_ctx")
        );
        assert_eq!(
            key("SWARM_AGENTS_RESEARCH_AGENT__MODEL").as_deref(),
            Some("agents.research_agent.model")
        );
        assert_eq!(
            key("SWARM_RUNS_RETRY__MAX").as_deref(),
            Some("runs.retry.max")
        );
        for other in [
            "SWARM_AGENT_PASSWORD",
            "SWARM_CONFIG",
            "SWARM_DATA_DIR",
            "PATH",
            "SWARM_MCP_",
        ] {
            assert_eq!(key(other), None, "{other}");
        }
    }
}
