//! A whole swarm with the default team: a NATS server, a coordinator and four agents, which ask this host.

use std::time::Duration;

use serde_json::{Value, json};
use swarm_tests::ollama::Limits;
use swarm_tests::{Process, Stack};

use super::{ENDLESS, LOST};
use crate::case::Case;
use crate::host::{Host, body};
use crate::outcome::Outcome;

const TEAM: [&str; 4] = [
    "research_agent",
    "creative_agent",
    "critical_agent",
    "summarizer_agent",
];

/// A stack whose agents ask these hosts.
struct Team {
    stack: Stack,
    _processes: Vec<Process>,
}

impl Team {
    async fn of(hosts: &[&Host]) -> Self {
        let mut stack = Stack::start(&[]).await;
        let urls: Vec<String> = hosts.iter().map(|host| host.url()).collect();
        stack.set("SWARM_OLLAMA_HOSTS", &json!(urls).to_string());
        let mut processes = vec![stack.coordinator().await];
        processes.extend(TEAM.map(|agent| stack.agent(agent)));
        stack.agents_are_ready(TEAM.len()).await;
        Self {
            stack,
            _processes: processes,
        }
    }

    /// How a run ended: its status and how many agents answered.
    async fn ended(&self, run: &str) -> String {
        let result = self.stack.result(run).await;
        let answers = result["answers"].as_array().expect("answers");
        let given = answers
            .iter()
            .filter(|answer| answer["status"] == "completed")
            .count();
        let status = result["status"].as_str().expect("a status");
        format!("{status}, {given} of {} answered", answers.len())
    }
}

/// A task to the whole team by the plain CLI.
async fn fan_out(host: Host) -> Outcome {
    let team = Team::of(&[&host]).await;
    let task = "Analyze the pros and cons of renewable energy";
    let printed = team
        .stack
        .nats(&["req", "swarm.ask", task, "--timeout", "60s", "--raw"])
        .await;
    assert!(printed.ok, "{printed:?}");
    // The summarizer's answer is the run's.
    Outcome::said(printed.out.trim())
}

/// Every event and answer of a run that is shared out.
async fn shared_out(host: Host) -> Outcome {
    let team = Team::of(&[&host]).await;
    let run = team.stack.submit("Analyze the pros and cons", &[]).await;
    let ended = team.ended(&run).await;
    let log = team.stack.log_of(&run).await;
    let last = log
        .last()
        .map_or(Value::Null, |event| event["type"].clone());
    Outcome::fact(format!("{ended}, last event {last}"))
}

/// A run is cancelled while its agent's model talks; the host's only slot is free for the next request.
async fn cancelled(host: Host) -> Outcome {
    let team = Team::of(&[&host]).await;
    let run = team
        .stack
        .submit(ENDLESS, &["--agents", "research_agent"])
        .await;
    host.loaded(1).await;
    let printed = team
        .stack
        .nats(&["req", "swarm.cancel", &run, "--raw"])
        .await;
    assert!(printed.ok, "{printed:?}");
    let ended = team.ended(&run).await;
    let options = json!({"num_predict": 1, "num_ctx": 8192});
    let next = body("llama3.2:3b", "Hello", json!({"options": options}));
    let slot = host.slot_after_leaving(next, Duration::from_secs(6)).await;
    Outcome::fact(format!("{ended}; {slot}"))
}

/// A model that no host has.
async fn missing_model(host: Host) -> Outcome {
    let mut stack = Stack::start(&[]).await;
    stack.set("SWARM_OLLAMA_HOSTS", &json!([host.url()]).to_string());
    stack.configure("agents:\n  research_agent:\n    model: nowhere:1b\n");
    let _processes = [stack.coordinator().await, stack.agent("research_agent")];
    stack.agents_are_ready(1).await;
    let run = stack.submit("Hello", &["--agents", "research_agent"]).await;
    let result = stack.result(&run).await;
    let code = result["answers"][0]["error"]["code"].as_str();
    Outcome::fact(format!(
        "{}, {}",
        result["status"].as_str().unwrap_or_default(),
        code.unwrap_or_default()
    ))
}

/// The runner of every model dies while the agents work; the host has one slot and their answers have no end.
async fn runners_die(mut host: Host) -> Outcome {
    let team = Team::of(&[&host]).await;
    let task = ["--agents", "research_agent"];
    let run = team.stack.submit(ENDLESS, &task).await;
    host.loaded(1).await;
    host.real().kill_runners();
    Outcome::fact(team.ended(&run).await)
}

/// Two hosts; the first goes away before the task comes.
async fn one_host_dies(mut host: Host) -> Outcome {
    let second = host.another().await;
    let team = Team::of(&[&host, &second]).await;
    host.real().kill_9();
    let run = team.stack.submit("Analyze the pros and cons", &[]).await;
    Outcome::fact(team.ended(&run).await)
}

pub fn cases() -> Vec<Case> {
    let no_runner = "It has no runner that could be killed.";
    vec![
        Case::new(
            "a task to the team, by `nats req swarm.ask`",
            |host| Box::pin(fan_out(host)),
            "a text",
        ),
        Case::new(
            "the run of a task to the team",
            |host| Box::pin(shared_out(host)),
            "completed, 3 of 3 answered, last event \"completed\"",
        )
        .with(Limits {
            parallel: 2,
            ..Limits::default()
        }),
        Case::new(
            "a run is cancelled",
            |host| Box::pin(cancelled(host)),
            "canceled, 0 of 1 answered; its slot is free at once, or else lost",
        )
        .but_simulator("canceled, 0 of 1 answered; its slot is free at once", LOST),
        Case::new(
            "a model that no host has",
            |host| Box::pin(missing_model(host)),
            "failed, SW-MODEL-MISSING",
        ),
        Case::new(
            "the runner is killed while an agent works",
            |host| Box::pin(runners_die(host)),
            "failed, 0 of 1 answered",
        )
        .not_simulator(no_runner),
        Case::new(
            "two hosts, and the first is killed",
            |host| Box::pin(one_host_dies(host)),
            "completed, 3 of 3 answered",
        )
        .not_simulator(no_runner),
    ]
}
