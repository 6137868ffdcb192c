//! Several model hosts behind one worker process.

use std::time::Duration;

use serde_json::{Value, json};
use swarm_tests::sim::Sim;
use swarm_tests::{Process, Stack, eventually, holds};

const PATIENCE: Duration = Duration::from_secs(60);

/// Each host answers one request at a time, so a second one in flight would wait there.
const ONE_SLOT: [&str; 4] = ["--parallel", "1", "--latency", "100ms"];

const TASKS: usize = 20;

struct Hosts {
    stack: Stack,
    second: Sim,
    _roles: [Process; 2],
}

impl Hosts {
    /// Two hosts, a coordinator, and one worker with a slot on each host.
    async fn start() -> Self {
        let mut stack = Stack::start(&ONE_SLOT).await;
        let second = Sim::start(stack.folder(), &ONE_SLOT).await;
        let hosts = json!([stack.sim.url(), second.url()]);
        stack.set("SWARM_OLLAMA_HOSTS", &hosts.to_string());
        let coordinator = stack.coordinator().await;
        let agent = stack.agent("research_agent");
        stack.agents_are_ready(1).await;
        Self {
            stack,
            second,
            _roles: [coordinator, agent],
        }
    }

    async fn submit(&self) {
        let client = self.stack.server.connect_as("client").await;
        for n in 0..TASKS {
            let task = format!("task {n}");
            client
                .publish("swarm.submit.research_agent", task.into())
                .await
                .unwrap();
        }
        client.flush().await.unwrap();
    }

    /// Waits until all runs have ended, and says how.
    async fn states(&self) -> Vec<Value> {
        eventually("all runs end", PATIENCE, || async {
            let runs = self.stack.swarm_json(&["runs", "list"]).await;
            let items = runs["items"].as_array()?.clone();
            let ended = items.iter().filter(|item| item.get("ended_at").is_some());
            (ended.count() == TASKS)
                .then(|| items.iter().map(|item| item["state"].clone()).collect())
        })
        .await
    }
}

async fn done(sim: &Sim) -> usize {
    sim.chats("done").await.len()
}

#[tokio::test]
async fn both_hosts_are_used_and_none_has_two_requests_at_a_time() {
    let hosts = Hosts::start().await;
    let cards = hosts.stack.swarm_json(&["agents", "list"]).await;
    assert_eq!(cards["items"][0]["slots"], 2, "{cards}");
    hosts.submit().await;
    assert_eq!(hosts.states().await, vec![json!("completed"); TASKS]);
    let sims = [&hosts.stack.sim, &hosts.second];
    let mut answered = 0;
    for sim in sims {
        assert_eq!(sim.stats().await["max_running"], 1);
        assert_eq!(sim.chats("failed").await, Vec::<Value>::new());
        let done = done(sim).await;
        assert!(done > 0, "one host has answered nothing");
        answered += done;
    }
    assert_eq!(answered, TASKS, "each task was thought about once");
}

#[tokio::test]
async fn the_death_of_a_host_loses_no_task() {
    let mut hosts = Hosts::start().await;
    hosts.submit().await;
    eventually("both are at work, halfway", PATIENCE, || async {
        let [first, second] = [&hosts.stack.sim, &hosts.second];
        let halfway = done(first).await + done(second).await >= TASKS / 3;
        holds(halfway && second.chats("running").await.len() == 1)
    })
    .await;
    let before = done(&hosts.second).await;
    hosts.second.kill_9();
    assert_eq!(hosts.states().await, vec![json!("completed"); TASKS]);
    let first = &hosts.stack.sim;
    assert_eq!(first.stats().await["max_running"], 1);
    let rest = done(first).await;
    assert!(
        before > 0 && rest < TASKS,
        "both hosts were used: {before} and {rest}"
    );
    assert!(before + rest >= TASKS - 1, "{before} and {rest}");
}
