//! What parts of a configuration ask of each other.

use swarm_agents::roles;

use super::Config;
use super::mistakes::likely;
use super::reading::Findings;
use super::shape::join;

/// Notes what does not go together.
pub(super) fn check(config: &Config, findings: &mut Findings) {
    new_agents_have_prompts(config, findings);
    default_agents_are_agents(config, findings);
}

fn new_agents_have_prompts(config: &Config, findings: &mut Findings) {
    let shipped = || roles::ROLES.iter().map(|role| role.name);
    for (name, agent) in &config.agents {
        let prompt = agent.prompt.as_deref().unwrap_or_default();
        let key = format!("agents.{name}");
        let is_shipped = roles::role(name.as_str()).is_some();
        if is_shipped || !prompt.trim().is_empty() || findings.is_wrong(&format!("{key}.prompt")) {
            continue;
        }
        let place = findings.place_of(&key);
        let message = format!(
            "prompt is missing; an agent that is not shipped needs one, shipped are {}{}",
            join(shipped()),
            likely(name.as_str(), shipped())
        );
        findings.wrong(place, &key, message);
    }
}

fn default_agents_are_agents(config: &Config, findings: &mut Findings) {
    for (n, agent) in config.runs.default_agents.iter().flatten().enumerate() {
        // An agent whose settings do not fit is still one.
        let is_there = findings.places.contains_key(&format!("agents.{agent}"));
        if is_there || config.agents.contains_key(agent) {
            continue;
        }
        let names = || config.agents.keys().map(|name| name.as_str());
        let place = findings.place_of(&format!("runs.default_agents[{n}]"));
        let message = format!(
            "`{agent}` is none of the agents; accepted are {}{}",
            join(names()),
            likely(agent.as_str(), names())
        );
        findings.wrong(place, "runs.default_agents", message);
    }
}
