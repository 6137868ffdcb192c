//! Model hosts: reachable, with their clouds off, and with the models of the configuration.

use std::collections::BTreeMap;

use swarm_model::{ChatError, CloudSwitch, HostState, ModelFacts, Ollama};
use swarm_protocol::AgentName;
use swarm_protocol::error::chain;

use super::Finding;
use crate::config::Config;
use crate::roles::{model_of, ollama};

/// A host that answers.
struct Reached {
    /// Its place in the configuration.
    index: usize,
    url: String,
    state: HostState,
}

pub(super) async fn look(config: &Config, simulated: bool) -> Vec<Finding> {
    if simulated {
        return vec![Finding::note(
            "models",
            "SIMULATED: `swarm up` was started with --simulate",
            "`swarm up` without it, beside an Ollama that has the models",
        )];
    }
    // A host that is none is told by the configuration.
    let Ok(ollama) = ollama(config) else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    let mut reached = Vec::new();
    for (index, report) in ollama.probe().await.into_iter().enumerate() {
        let url = report.url;
        match report.outcome {
            Ok(state) => {
                findings.push(Finding::ok("model host", about(&url, &state, config)));
                findings.extend(cloud(&url, &state, config));
                reached.push(Reached { index, url, state });
            }
            Err(error) => findings.push(Finding::problem(
                "model host",
                format!("{url}: {}", chain(&error)),
                "`ollama serve` there, or set ollama.hosts; `swarm up --simulate` needs none",
            )),
        }
    }
    if !reached.is_empty() {
        for (model, agents) in models(config) {
            findings.extend(model_on(&ollama, &reached, &model, &agents).await);
        }
    }
    findings
}

/// One line about a host.
fn about(url: &str, state: &HostState, config: &Config) -> String {
    let simulated = if state.simulated { ", SIMULATED" } else { "" };
    let loaded = if state.loaded.is_empty() {
        "nothing".to_owned()
    } else {
        state.loaded.join(", ")
    };
    let cloud = match state.cloud {
        CloudSwitch::Off => "off",
        CloudSwitch::On => "on",
        CloudSwitch::Unsaid => "not told",
    };
    let slots = config.ollama.parallel;
    format!(
        "version {} at {url}{simulated}: loaded {loaded}; {slots} at once from each agent process; cloud {cloud}",
        state.version
    )
}

fn cloud(url: &str, state: &HostState, config: &Config) -> Option<Finding> {
    if state.cloud != CloudSwitch::On {
        return None;
    }
    let mend = "start it with OLLAMA_NO_CLOUD=1, or set ollama.require_cloud_off to false";
    Some(if config.ollama.require_cloud_off {
        let message = format!("{url} is not asked: its cloud is not switched off");
        Finding::problem("cloud", message, mend)
    } else {
        let message = format!(
            "the cloud of {url} is not switched off; its models are refused by what the host says of them"
        );
        Finding::note("cloud", message, "start it with OLLAMA_NO_CLOUD=1")
    })
}

/// Where a model is, what it can do there, and where it is missing.
async fn model_on(
    ollama: &Ollama,
    reached: &[Reached],
    model: &str,
    agents: &[AgentName],
) -> Vec<Finding> {
    let names: Vec<&str> = agents.iter().map(AgentName::as_str).collect();
    let needed = format!("which {} needs", names.join(" and "));
    let pull = format!("`ollama pull {model}`");
    let (with, without): (Vec<_>, Vec<_>) =
        reached.iter().partition(|host| host.state.has_model(model));
    if with.is_empty() {
        let message = format!("no host has {model}, {needed}");
        return vec![Finding::problem("models", message, pull)];
    }
    let mut findings = Vec::new();
    for host in with {
        findings.push(match ollama.facts_at(host.index, model).await {
            Ok(facts) => Finding::ok("models", can(model, &host.url, &facts)),
            Err(error @ ChatError::Cloud { .. }) => {
                let mend = "name a local model in the agents' `model`";
                Finding::problem("models", format!("{}: {error}", host.url), mend)
            }
            Err(error) => Finding::problem(
                "models",
                format!("{} does not describe {model}: {}", host.url, chain(&error)),
                format!("`ollama show {model}` there"),
            ),
        });
    }
    for host in without {
        let message = format!(
            "{model} is not at {}: other hosts are asked for it",
            host.url
        );
        findings.push(Finding::note("models", message, format!("{pull} there")));
    }
    findings
}

fn can(model: &str, url: &str, facts: &ModelFacts) -> String {
    let tools = if facts.tools {
        "takes tools"
    } else {
        "takes no tools"
    };
    let thinking = if facts.thinking { ", thinks" } else { "" };
    format!(
        "{model} at {url} {tools}{thinking}; window {} tokens",
        facts.window
    )
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
