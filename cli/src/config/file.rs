//! Reading `swarm.yaml`.

use std::path::Path;

use super::{Config, ConfigError};

/// Reads a file.
///
/// # Errors
/// `file:line: what is wrong, and what is accepted`.
pub(super) fn read(path: &Path) -> Result<Config, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        ConfigError(format!(
            "{}: the configuration cannot be read: {error}",
            path.display()
        ))
    })?;
    parse(&text, path)
}

fn parse(text: &str, path: &Path) -> Result<Config, ConfigError> {
    if text
        .lines()
        .all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'))
    {
        return Ok(Config::default());
    }
    serde_saphyr::from_str(text).map_err(|error| {
        let line = error.location().map(|location| location.line());
        let shown = line.and_then(|line| {
            text.lines()
                .nth(usize::try_from(line).ok()?.checked_sub(1)?)
        });
        let written = shown
            .map(|shown| format!(", in `{}`", shown.trim()))
            .unwrap_or_default();
        let place = line.map(|line| format!(":{line}")).unwrap_or_default();
        let what = error.without_snippet().to_string();
        // The place stands before the message already.
        let what = what.split(" at line ").next().unwrap_or_default();
        let hint = suggestion(what);
        ConfigError(format!("{}{place}: {what}{written}{hint}", path.display()))
    })
}

/// The likely word, from a message such as ``unknown field `modle`, expected one of model, prompt``.
pub(super) fn suggestion(message: &str) -> String {
    let Some((unknown, accepted)) = message.split_once("one of") else {
        return String::new();
    };
    let Some(unknown) = unknown.split('`').nth(1) else {
        return String::new();
    };
    let words = accepted
        .split(',')
        .map(|word| word.trim().trim_matches('`'));
    let likely = words.map(|word| (strsim::jaro_winkler(unknown, word), word));
    match likely.max_by(|a, b| a.0.total_cmp(&b.0)) {
        Some((score, word)) if score > 0.75 => format!("; did you mean `{word}`?"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use swarm_agents::roles;

    use super::*;
    use crate::config::sections::Agent;

    fn mistake(text: &str) -> String {
        parse(text, Path::new("swarm.yaml")).unwrap_err().0
    }

    #[test]
    fn a_file_fills_up_with_defaults() {
        let config = parse("ollama:\n  num_ctx: 4096\n", Path::new("x")).unwrap();
        assert_eq!((config.ollama.num_ctx, config.ollama.parallel), (4096, 1));
        assert_eq!(config.agents.len(), 4);
        assert_eq!(
            parse("# nothing\n", Path::new("x")).unwrap(),
            Config::default()
        );
    }

    #[test]
    fn the_shipped_file_says_what_holds_without_it() {
        let shipped = parse(include_str!("../../../swarm.yaml"), Path::new("swarm.yaml")).unwrap();
        for role in &roles::ROLES {
            let agent = shipped
                .agents
                .iter()
                .find(|(name, _)| name.as_str() == role.name);
            let (_, agent) = agent.unwrap();
            assert_eq!(
                (agent.model.as_deref(), agent.max_iterations, agent.replicas),
                (Some(role.model), Some(role.max_iterations), Some(1)),
            );
        }
        assert_eq!(shipped.agents.len(), roles::ROLES.len());
        let default = Config::default();
        assert_eq!(shipped.nats, default.nats);
        assert_eq!(shipped.ollama, default.ollama);
        assert_eq!(shipped.runs, default.runs);
    }

    #[test]
    fn examples_in_the_readme_are_accepted() {
        let readme = include_str!("../../../README.md");
        let blocks = readme
            .split("```yaml\n")
            .skip(1)
            .filter_map(|rest| rest.split("```").next());
        let checked = blocks.map(|block| parse(block, Path::new("README.md")).unwrap());
        assert!(checked.count() > 0);
    }

    #[test]
    fn every_key_is_documented() {
        let text = include_str!("../../../docs/configuration.md");
        let agent = serde_json::to_value(Agent::default()).unwrap();
        let mut config = serde_json::to_value(Config::default()).unwrap();
        config["agents"] = serde_json::json!({ "<name>": agent });
        let mut missing = Vec::new();
        look_up("", &config, text, &mut missing);
        assert_eq!(missing, Vec::<String>::new());
    }

    /// Keys without a row of their own, `parent` included.
    fn look_up(parent: &str, value: &serde_json::Value, text: &str, missing: &mut Vec<String>) {
        match value.as_object() {
            Some(fields) if !fields.is_empty() => {
                for (name, value) in fields {
                    let key = if parent.is_empty() {
                        name.clone()
                    } else {
                        format!("{parent}.{name}")
                    };
                    look_up(&key, value, text, missing);
                }
            }
            _ if text.contains(&format!("| `{parent}` |")) => {}
            _ => missing.push(parent.to_owned()),
        }
    }

    #[test]
    fn agents_in_a_file_are_the_whole_team() {
        let config = parse(
            "agents:\n  poet: {prompt: \"You are a poet.\"}\n",
            Path::new("x"),
        )
        .unwrap();
        assert_eq!(
            config
                .agents
                .keys()
                .map(ToString::to_string)
                .collect::<Vec<_>>(),
            ["poet"]
        );
    }

    #[test]
    fn mistakes_name_the_line_and_the_likely_word() {
        let message = mistake("ollama:\n  hosts: []\n  paralel: 2\n");
        assert!(message.starts_with("swarm.yaml:3: "), "{message}");
        assert!(message.contains("did you mean `parallel`?"), "{message}");
        let message = mistake("runs:\n  retention: soon\n");
        assert!(
            message.starts_with("swarm.yaml:2: ") && message.contains("30s"),
            "{message}"
        );
        assert!(mistake("agents:\n  Bad Name: {}\n").contains("a-z"));
        assert!(mistake("ollama: [").starts_with("swarm.yaml:"));
    }
}
