//! Who works, what waits, and what was set aside.

use std::collections::BTreeMap;
use std::time::Duration;

use swarm_bus::topology;
use swarm_client::Client;
use swarm_protocol::card::Card;
use swarm_protocol::endpoint::{AgentsRequest, RunsRequest};
use swarm_protocol::limits::MAX_PAGE;
use swarm_protocol::summary::{Summary, WaitKind};
use swarm_protocol::{RunState, Timestamp};
use swarm_tools::builtin;

use super::Finding;
use super::server::Seen;
use crate::config::Config;
use crate::roles::missing_tools;
use crate::status::count_runs;

/// A run that waits for longer than this for something that a person can mend is stuck.
const STUCK: Duration = Duration::from_secs(60);

/// So many stuck runs are named.
const NAMED: usize = 5;

/// What Ollama serves of one model at a time unless it is told otherwise by this variable.
const PARALLEL_VARIABLE: &str = "OLLAMA_NUM_PARALLEL";

pub(super) async fn look(seen: &Seen, config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(dead_letters(seen).await);
    let Some(runs) = count_runs(&seen.client).await else {
        let message = "no coordinator answers: submissions wait in the inbox";
        findings.push(Finding::problem(
            "coordinator",
            message,
            "`swarm coordinator`",
        ));
        return findings;
    };
    findings.push(Finding::ok("coordinator", "answers"));
    if let Some(held) = runs.held {
        let mend = "wait, or raise runs.max_open, or `swarm runs delete RUN`";
        findings.push(Finding::problem("submissions", held, mend));
    }
    let client = Client::new(seen.client.clone());
    let cards = client.agents(&AgentsRequest::default()).await;
    let cards = cards.map(|reply| reply.items).unwrap_or_default();
    findings.extend(agents(config, &cards));
    findings.extend(slots(config, &cards));
    findings.extend(stuck(&client).await);
    findings
}

async fn dead_letters(seen: &Seen) -> Option<Finding> {
    let fill = seen.observer.as_ref()?.fill(topology::DEAD).await.ok()?;
    Some(match fill.messages {
        0 => Finding::ok("dead letters", "none"),
        several => Finding::problem(
            "dead letters",
            format!("{several} in {}", topology::DEAD),
            "`swarm dead list` shows them, `swarm dead requeue ID` takes one up again, `swarm dead drop ID` forgets it",
        ),
    })
}

fn agents(config: &Config, cards: &[Card]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (agent, own) in &config.agents {
        let missing = missing_tools(own);
        if !missing.is_empty() {
            findings.push(Finding::note(
                "agents",
                format!(
                    "{agent} has no {}: there is no such tool",
                    missing.join(", ")
                ),
                format!(
                    "correct agents.{agent}.tools; built in are {}",
                    builtin::names().join(", ")
                ),
            ));
        }
        let mut own = cards.iter().filter(|card| card.agent == *agent).peekable();
        if own.peek().is_none() {
            findings.push(Finding::problem(
                "agents",
                format!("nobody runs {agent}: its tasks wait"),
                format!("`swarm agent {agent}`"),
            ));
        }
        for card in own {
            if let Some(reason) = &card.reason {
                let message = format!("{agent} ({}) takes no work: {reason}", card.instance);
                findings.push(Finding::problem(
                    "agents",
                    message,
                    "mend what it waits for",
                ));
            }
        }
    }
    if findings.is_empty() {
        findings.push(Finding::ok(
            "agents",
            format!("{} instances are live", cards.len()),
        ));
    }
    findings
}

/// More tasks at once than hosts serve are no gain: they wait in the host's own queue, with their deadlines running.
fn slots(config: &Config, cards: &[Card]) -> Vec<Finding> {
    let told = std::env::var(PARALLEL_VARIABLE).ok();
    let parallel: u64 = told.and_then(|text| text.parse().ok()).unwrap_or(1);
    let served = parallel * config.ollama.hosts.len() as u64;
    let mut wanted: BTreeMap<&str, u64> = BTreeMap::new();
    for card in cards.iter().filter(|card| !card.simulated) {
        *wanted.entry(&card.model).or_default() += u64::from(card.slots);
    }
    let over = wanted.into_iter().filter(|(_, slots)| *slots > served);
    over.map(|(model, slots)| {
        Finding::note(
            "slots",
            format!("agents may ask {model} {slots} times at once, the hosts serve {served}"),
            format!("set {PARALLEL_VARIABLE} where ollama runs and here, or fewer instances, or a smaller ollama.parallel"),
        )
    })
    .collect()
}

async fn stuck(client: &Client) -> Vec<Finding> {
    let mut stuck: Vec<Summary> = Vec::new();
    for state in [RunState::Submitted, RunState::Working, RunState::Canceling] {
        let request = RunsRequest {
            state: Some(state),
            limit: Some(MAX_PAGE),
            ..RunsRequest::default()
        };
        let page = client.runs(&request).await;
        let runs = page.map(|page| page.items).unwrap_or_default();
        stuck.extend(runs.into_iter().filter(is_stuck));
    }
    let findings = stuck.iter().take(NAMED).map(|run| {
        let waits = run.waiting_for.as_ref();
        let name = waits.and_then(|waits| waits.name.clone());
        Finding::problem(
            "runs",
            format!("{} waits for {}", run.run, name.unwrap_or_default()),
            format!("`swarm runs explain {}`", run.run.short()),
        )
    });
    let mut findings: Vec<Finding> = findings.collect();
    if stuck.len() > NAMED {
        let message = format!("{} more wait", stuck.len() - NAMED);
        findings.push(Finding::problem(
            "runs",
            message,
            "`swarm runs list --state working`",
        ));
    }
    if findings.is_empty() {
        findings.push(Finding::ok("runs", "none is stuck"));
    }
    findings
}

fn is_stuck(run: &Summary) -> bool {
    let waits = run.waiting_for.as_ref();
    waits.is_some_and(|waits| {
        matches!(waits.kind, WaitKind::Agent | WaitKind::Host)
            && Timestamp::now().since(waits.since) > STUCK
    })
}
