//! Model hosts: reachable, and with the models of the configuration.

use std::collections::BTreeMap;

use swarm_model::{Ollama, Options};
use swarm_protocol::AgentName;
use swarm_protocol::error::chain;

use super::Finding;
use crate::config::Config;
use crate::roles::{model_of, parse_hosts};

pub(super) async fn look(config: &Config, simulated: bool) -> Vec<Finding> {
    if simulated {
        return vec![Finding::note(
            "models",
            "SIMULATED: `swarm up` was started with --simulate",
            "`swarm up` without it, beside an Ollama that has the models",
        )];
    }
    let ollama = parse_hosts(config).map(|hosts| Ollama::new(Options::new(hosts)));
    let ollama = match ollama {
        Ok(Ok(ollama)) => ollama,
        Ok(Err(error)) => {
            return vec![Finding::problem(
                "models",
                error.to_string(),
                "set ollama.hosts",
            )];
        }
        Err(_told_by_the_configuration) => return Vec::new(),
    };
    let mut findings = Vec::new();
    let mut reached = Vec::new();
    for report in ollama.probe().await {
        match report.outcome {
            Ok(host) => {
                let simulated = if host.simulated { ", SIMULATED" } else { "" };
                let about = format!("version {} at {}{simulated}", host.version, report.url);
                findings.push(Finding::ok("model host", about));
                reached.push(host);
            }
            Err(error) => findings.push(Finding::problem(
                "model host",
                format!("{}: {}", report.url, chain(&error)),
                "`ollama serve` there, or set ollama.hosts; `swarm up --simulate` needs none",
            )),
        }
    }
    if !reached.is_empty() {
        for (model, agents) in models(config) {
            if !reached.iter().any(|host| host.has_model(&model)) {
                let names: Vec<&str> = agents.iter().map(AgentName::as_str).collect();
                findings.push(Finding::problem(
                    "models",
                    format!("no host has {model}, which {} needs", names.join(" and ")),
                    format!("`ollama pull {model}`"),
                ));
            }
        }
    }
    findings
}

/// The models of the configuration, each with who uses it.
fn models(config: &Config) -> BTreeMap<String, Vec<AgentName>> {
    let mut models: BTreeMap<String, Vec<AgentName>> = BTreeMap::new();
    for agent in config.agents.keys() {
        if let Some(model) = model_of(config, agent) {
            models.entry(model).or_default().push(agent.clone());
        }
    }
    models
}
