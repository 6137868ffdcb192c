//! What an older version stored.

use std::time::{Duration, Instant};

use async_nats::HeaderMap;
use serde_json::{Value, json};
use swarm_protocol::{RunId, Timestamp};

use super::scene::{FAST, PATIENCE, Scene};
use super::{Outcome, Round};
use crate::{eventually, tools};

/// Runs of version 0.1.0 that had ended.
const ENDED: [&str; 5] = [
    "canceled",
    "failed",
    "rejected",
    "single_completed",
    "team_one_failed",
];

/// Runs of version 0.1.0 whose last event is taken away: an upgrade came between the end of their last task and that.
const OPEN: [&str; 2] = ["several_turns", "team_summarized"];

/// A store that an older version wrote: runs that had ended read as they did, and those that were open go on to their end.
pub async fn older_log(_round: Round) -> Outcome {
    let scene = Scene::start(&FAST).await;
    // Makes the streams, as the older version did.
    drop(scene.stack.coordinator().await);
    let coordinator = scene.connect_as("coordinator").await;
    let mut expected = Vec::new();
    for case in ENDED.into_iter().chain(OPEN) {
        let mut messages = golden(case);
        let last: Value =
            serde_json::from_str(messages.last().unwrap()["payload"].as_str().unwrap()).unwrap();
        expected.push((case, last));
        if OPEN.contains(&case) {
            messages.pop();
        }
        for message in messages {
            let mut headers = HeaderMap::new();
            for name in ["traceparent", "Swarm-Summary"] {
                if let Some(value) = message["headers"][name].as_str() {
                    headers.insert(name, later(value));
                }
            }
            let subject = message["subject"].as_str().unwrap().to_owned();
            let payload = later(message["payload"].as_str().unwrap());
            let stored = coordinator
                .request_with_headers(subject, headers, payload.into())
                .await;
            let stored: Value = serde_json::from_slice(&stored.unwrap().payload).unwrap();
            assert!(stored.get("seq").is_some(), "{stored}");
        }
    }
    let began = Instant::now();
    let _coordinator = scene.stack.coordinator().await;
    let client = scene.connect_as("client").await;
    let mut runs = Vec::new();
    for (case, last) in expected {
        let id = last["run"].as_str().unwrap();
        let result = eventually("the run has ended", PATIENCE, || async {
            let reply = client
                .request("swarm.result", id.to_owned().into())
                .await
                .ok()?;
            let result: Value = serde_json::from_slice(&reply.payload).ok()?;
            result.get("answers").is_some().then_some(result)
        })
        .await;
        let data = &last["data"];
        for field in ["status", "text", "answers", "usage", "reason"] {
            assert_eq!(result.get(field), data.get(field), "{field} of {case}");
        }
        runs.push(RunId::parse(id).unwrap());
    }
    let recovery = began.elapsed();
    scene.outcome(&runs, recovery).await
}

fn golden(case: &str) -> Vec<Value> {
    let file = tools::repository().join(format!("tests/golden/0.1.0/{case}.jsonl"));
    let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file:?}: {error}"));
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The same with a deadline that has not passed yet.
fn later(document: &str) -> String {
    let Ok(mut value) = serde_json::from_str::<Value>(document) else {
        return document.to_owned();
    };
    let deadline = json!(Timestamp::now().after(Duration::from_secs(3600)));
    for place in ["/deadline", "/data/deadline"] {
        if let Some(found) = value.pointer_mut(place) {
            *found = deadline.clone();
        }
    }
    value.to_string()
}
