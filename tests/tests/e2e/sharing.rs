//! Instances of one agent share its work.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use swarm_tests::{Process, Stack, eventually, holds};

const SLOW: [&str; 4] = ["--latency", "200ms", "--tokens-per-second", "0"];

async fn submit(stack: &Stack, count: usize) {
    let client = stack.server.connect_as("client").await;
    for i in 0..count {
        client
            .request(
                "swarm.submit.research_agent",
                format!("question {i}").into(),
            )
            .await
            .unwrap();
    }
}

async fn ended(stack: &Stack) -> usize {
    let runs = stack
        .swarm_json(&["runs", "list", "--state", "completed", "--limit", "1000"])
        .await;
    runs["items"].as_array().map_or(0, Vec::len)
}

/// How many tasks each instance ended, by the journals.
async fn shares(stack: &Stack) -> BTreeMap<String, usize> {
    let mut shares = BTreeMap::new();
    let bus = stack.server.bus(swarm_bus::Role::Client).await;
    for message in bus.read_runs("swarm.run.*.task.*.end", 1).await.unwrap() {
        let entry: Value = serde_json::from_slice(&message.payload).unwrap();
        *shares
            .entry(entry["instance"].as_str().unwrap().to_owned())
            .or_insert(0) += 1;
    }
    shares
}

async fn three_workers(stack: &Stack) -> Vec<Process> {
    let workers = (0..3).map(|_| stack.agent("research_agent")).collect();
    stack.agents_are_ready(3).await;
    workers
}

#[tokio::test]
async fn three_instances_share_sixty_tasks() {
    let stack = Stack::start(&SLOW).await;
    let _coordinator = stack.coordinator().await;
    let _workers = three_workers(&stack).await;
    submit(&stack, 60).await;
    eventually("60 runs end", Duration::from_secs(60), || async {
        holds(ended(&stack).await == 60)
    })
    .await;
    let shares = shares(&stack).await;
    assert_eq!(shares.values().sum::<usize>(), 60, "{shares:?}");
    assert_eq!(shares.len(), 3, "{shares:?}");
    assert!(shares.values().all(|share| *share >= 15), "{shares:?}");
}

#[tokio::test]
async fn a_fourth_instance_takes_its_part_of_what_is_left() {
    let stack = Stack::start(&SLOW).await;
    let _coordinator = stack.coordinator().await;
    let _workers = three_workers(&stack).await;
    submit(&stack, 60).await;
    eventually("30 runs end", Duration::from_secs(60), || async {
        holds(ended(&stack).await >= 30)
    })
    .await;
    let before = shares(&stack).await;
    let _fourth = stack.agent("research_agent");
    eventually("60 runs end", Duration::from_secs(60), || async {
        holds(ended(&stack).await == 60)
    })
    .await;
    let shares = shares(&stack).await;
    let late: Vec<usize> = shares
        .iter()
        .filter(|(who, _)| !before.contains_key(*who))
        .map(|(_, share)| *share)
        .collect();
    assert_eq!(late.len(), 1, "{shares:?}");
    assert!(late[0] >= 4, "{shares:?}");
}
