//! A store of many runs: a coordinator that starts is soon ready, and its lists are complete.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use swarm_tests::process::free_port;
use swarm_tests::server::password_variable;
use swarm_tests::{Process, Stack, eventually};

use crate::FAST;

/// Runs in the store.
const RUNS: usize = 5000;

/// Every tenth of them is done; the others wait for an agent that nobody runs.
const DONE: usize = RUNS / 10;

/// A coordinator is ready after a second, a test on a busy machine allows for more.
const READY: Duration = Duration::from_secs(3);

const PATIENCE: Duration = Duration::from_secs(120);

/// Runs by state, as a coordinator counts them.
async fn counted(client: &async_nats::Client) -> Option<Value> {
    let stats = client.request("$SRV.STATS.swarm", "".into()).await.ok()?;
    let stats: Value = serde_json::from_slice(&stats.payload).ok()?;
    let mut endpoints = stats["endpoints"].as_array()?.iter();
    let runs = endpoints.find(|endpoint| endpoint["name"] == "runs")?;
    Some(runs["data"]["by_state"].clone())
}

/// All runs that a coordinator lists, page by page, newest first.
async fn listed(client: &async_nats::Client) -> Vec<Value> {
    let mut runs = Vec::new();
    let mut request = serde_json::json!({ "limit": 1000 });
    loop {
        let reply = client
            .request("swarm.runs", request.to_string().into())
            .await
            .unwrap();
        let page: Value = serde_json::from_slice(&reply.payload).unwrap();
        runs.extend(page["items"].as_array().unwrap().iter().cloned());
        match page.get("next") {
            Some(next) => request["after"] = next.clone(),
            None => return runs,
        }
    }
}

#[tokio::test]
async fn a_coordinator_is_soon_ready_and_its_lists_are_complete() {
    let mut stack = Stack::start(&FAST).await;
    stack.set("SWARM_OLLAMA_PARALLEL", "16");
    let mut coordinator = stack.coordinator().await;
    let _agent = stack.agent("research_agent");
    let client = stack.server.connect_as("client").await;
    for n in 0..RUNS {
        let agent = if n < DONE {
            "research_agent"
        } else {
            "critical_agent"
        };
        client
            .publish(format!("swarm.submit.{agent}"), format!("{n}").into())
            .await
            .unwrap();
    }
    client.flush().await.unwrap();
    let all = serde_json::json!({ "completed": DONE, "working": RUNS - DONE });
    eventually("all are accepted and some are done", PATIENCE, || async {
        (counted(&client).await? == all).then_some(())
    })
    .await;
    let before = listed(&client).await;

    coordinator.kill_9();
    let health = format!("127.0.0.1:{}", free_port());
    let mut command = stack.command(&["coordinator", "--log", "json", "--health", &health]);
    let (variable, password) = password_variable("coordinator");
    command.env(variable, password);
    let coordinator = Process::start("coordinator", command, stack.folder());
    let ready = eventually("it is ready", PATIENCE, || async {
        let log = coordinator.log();
        let line = log
            .lines()
            .find(|line| line.contains("the coordinator is ready"))?;
        serde_json::from_str::<Value>(line).ok()
    })
    .await;
    let took = Duration::from_millis(ready["fields"]["took_ms"].as_u64().unwrap());
    eprintln!("ready with {RUNS} runs after {took:?}");
    assert!(took < READY, "{ready}");
    let response = reqwest::get(format!("http://{health}/readyz"))
        .await
        .unwrap();
    assert_eq!(response.status(), 200);

    let after = listed(&client).await;
    assert_eq!(after, before);
    let ids: BTreeSet<&str> = after
        .iter()
        .map(|run| run["run"].as_str().unwrap())
        .collect();
    assert_eq!(ids.len(), RUNS);
    let numbers: BTreeSet<usize> = after
        .iter()
        .map(|run| run["task"].as_str().unwrap().parse().unwrap())
        .collect();
    assert_eq!(numbers, (0..RUNS).collect());
    assert_eq!(counted(&client).await, Some(all));
}
