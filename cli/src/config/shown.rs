//! A configuration as a person may see it: with what the shipped roles bring, and without secrets.

use serde_json::Value;
use swarm_agents::roles;
use swarm_protocol::AgentName;

use super::Config;
use super::mistakes::shown_url;
use super::sections::{Agent, AgentKind, ToolMode};

/// What is shown instead of a secret.
const HIDDEN: &str = "***";

/// Fields of an MCP server that hold no secret; what else stands there may be a key, a header or a variable.
const OPEN_FIELDS: [&str; 3] = ["command", "type", "transport"];

/// The configuration, filled up and without secrets.
pub(super) fn shown(mut config: Config) -> Config {
    for (name, agent) in &mut config.agents {
        fill(name, agent);
    }
    let servers = config.nats.url.split(',').map(|url| shown_url(url.trim()));
    config.nats.url = servers.collect::<Vec<_>>().join(",");
    for host in &mut config.ollama.hosts {
        *host = shown_url(host);
    }
    if let Some(url) = &mut config.tools.web_search.url {
        *url = shown_url(url);
    }
    for (_, server) in &mut config.mcp_servers {
        hide(server, "");
    }
    config
}

/// What a worker of this agent would take.
fn fill(name: &AgentName, agent: &mut Agent) {
    let summarizer = roles::role(roles::SUMMARIZER);
    let role = roles::role(name.as_str());
    let text = |text: &str| text.to_owned();
    if let Some(role) = role {
        agent.prompt.get_or_insert_with(|| text(role.prompt));
        agent
            .description
            .get_or_insert_with(|| text(role.description));
        agent
            .capabilities
            .get_or_insert_with(|| role.capabilities.iter().map(|word| text(word)).collect());
    }
    let model = role.or(summarizer).map(|role| text(role.model));
    agent.model = agent.model.take().or(model);
    let turns = role.map_or(3, |role| role.max_iterations);
    agent.max_iterations.get_or_insert(turns);
    agent.replicas.get_or_insert(1);
    agent.tool_mode.get_or_insert(ToolMode::Auto);
    agent.kind.get_or_insert(AgentKind::Worker);
}

/// Hides every text and number but those of fields that are known to be harmless.
fn hide(value: &mut Value, field: &str) {
    match value {
        Value::Object(fields) => fields
            .iter_mut()
            .for_each(|(name, value)| hide(value, name)),
        Value::Array(items) => items.iter_mut().for_each(|item| hide(item, field)),
        Value::String(text) if field == "url" => *text = shown_url(text),
        Value::String(_) | Value::Number(_) if !OPEN_FIELDS.contains(&field) => {
            *value = HIDDEN.into();
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nothing_secret_is_shown() {
        let mut config = Config::default();
        config.nats.url =
            "nats://me:secret@a:4222, nats://secret@b,secret@c, nats://d:4222".to_owned();
        config.ollama.hosts = vec!["http://me:secret@host:1/x?key=secret".to_owned()];
        config.tools.web_search.url = Some("http://host/search?key=secret".to_owned());
        let server = json!({
            "command": "wiki", "args": ["--token", "secret"], "env": { "KEY": "secret", "PIN": 1 },
            "url": "http://me:secret@host/?key=secret", "headers": { "command": { "a": "secret" } }, "on": true,
        });
        config.mcp_servers.insert("wiki".to_owned(), server);
        let shown = shown(config);
        let text = serde_json::to_string(&shown).unwrap();
        assert!(!text.contains("secret"), "{text}");
        assert_eq!(
            shown.nats.url,
            "nats://me:***@a:4222,nats://***@b,***@c,nats://d:4222"
        );
        assert_eq!(shown.ollama.hosts, ["http://me:***@host:1/x?***"]);
        assert_eq!(
            shown.mcp_servers["wiki"],
            json!({
                "command": "wiki", "args": ["***", "***"], "env": { "KEY": "***", "PIN": "***" },
                "url": "http://me:***@host/?***", "headers": { "command": { "a": "***" } }, "on": true,
            })
        );
    }

    #[test]
    fn agents_are_shown_with_what_their_roles_bring() {
        let shown = shown(Config::default());
        let research = roles::role("research_agent").unwrap();
        let agent = &shown.agents[&research.name.parse::<AgentName>().unwrap()];
        assert_eq!(
            (agent.model.as_deref(), agent.prompt.as_deref()),
            (Some(research.model), Some(research.prompt))
        );
        assert_eq!(
            (agent.max_iterations, agent.replicas),
            (Some(research.max_iterations), Some(1))
        );
    }
}
