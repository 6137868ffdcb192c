//! What cannot be done is set aside, shown, and taken up again or dropped; other work goes on.

use std::time::Duration;

use serde_json::{Value, json};
use swarm_tests::{Stack, eventually, holds};

use crate::FAST;

const PATIENCE: Duration = Duration::from_secs(20);

async fn letters(stack: &Stack, count: usize) -> Vec<Value> {
    eventually("dead letters", PATIENCE, || async {
        let reply = stack.swarm_json(&["dead", "list"]).await;
        let items = reply["items"].as_array()?.clone();
        (items.len() == count).then_some(items)
    })
    .await
}

/// Stores a message as a role.
async fn store(stack: &Stack, role: &str, subject: &'static str, payload: &'static [u8]) {
    let client = stack.server.connect_as(role).await;
    let stored = client.request(subject, payload.into()).await.unwrap();
    assert!(String::from_utf8_lossy(&stored.payload).contains("seq"));
}

#[tokio::test]
async fn what_no_agent_can_read_is_set_aside_and_taken_up_or_dropped() {
    let stack = Stack::start(&FAST).await;
    let _coordinator = stack.coordinator().await;
    let _agent = stack.agent("research_agent");
    stack.agents_are_ready(1).await;
    store(
        &stack,
        "coordinator",
        "swarm.work.research_agent",
        b"\xff\xfe not work",
    )
    .await;
    let found = letters(&stack, 1).await.remove(0);
    assert_eq!(found["code"], "SW-UNDECODABLE");
    assert_eq!(found["origin"]["subject"], "swarm.work.research_agent");
    assert_eq!(found["payload_base64"], "//4gbm90IHdvcms=");
    let run = stack
        .submit("question", &["--agents", "research_agent"])
        .await;
    assert_eq!(
        stack.result(&run).await["status"],
        "completed",
        "other work goes on"
    );

    let (shown, _) = stack.swarm(&["dead", "show", "1"]).await;
    assert!(shown.out.contains("//4gbm90IHdvcms="), "{shown:?}");
    // Taken up again, it is found unreadable again.
    let (requeued, code) = stack.swarm(&["dead", "requeue", "1"]).await;
    assert_eq!(code, 0, "{requeued:?}");
    eventually("it is set aside again", PATIENCE, || async {
        holds(letters(&stack, 1).await[0]["id"] == 2)
    })
    .await;
    for _ in 0..2 {
        let reply = stack.swarm_json(&["dead", "drop", "2"]).await;
        assert_eq!(reply, json!({ "id": 2 }));
    }
    assert!(letters(&stack, 0).await.is_empty());
    let (unknown, code) = stack.swarm(&["dead", "drop", "77"]).await;
    assert_eq!(code, 1);
    assert!(
        unknown.err.contains("there is no dead letter 77"),
        "{unknown:?}"
    );
    let (unknown, _) = stack.swarm(&["dead", "show", "1"]).await;
    assert!(
        unknown.err.contains("there is no dead letter 1"),
        "{unknown:?}"
    );
}

#[tokio::test]
async fn another_submission_under_a_used_id_becomes_a_run_when_it_is_taken_up() {
    let stack = Stack::start(&FAST).await;
    let _coordinator = stack.coordinator().await;
    let _agent = stack.agent("research_agent");
    stack.agents_are_ready(1).await;
    let id = uuid::Uuid::new_v4().to_string();
    let header = format!("Swarm-Run-Id:{id}");
    for text in ["first", "second"] {
        let subject = "swarm.submit.research_agent";
        stack.nats(&["req", subject, text, "-H", &header]).await;
    }
    let found = letters(&stack, 1).await.remove(0);
    assert_eq!(
        (found["code"].as_str(), found["payload"].as_str()),
        (Some("SW-CONFLICT"), Some("second"))
    );
    let reply = stack
        .swarm_json(&["dead", "requeue", &found["id"].to_string()])
        .await;
    let run = reply["run"].as_str().unwrap();
    assert_ne!(run, id);
    assert_eq!(stack.result(run).await["status"], "completed");
    let accepted = &stack.log_of(run).await[0];
    assert_eq!(accepted["data"]["submission"]["task"], "second");
    assert!(letters(&stack, 0).await.is_empty());
}

#[tokio::test]
async fn work_that_kills_its_workers_is_set_aside_and_other_work_flows_on() {
    let mut stack = Stack::start(&["--latency", "60s"]).await;
    stack.set("SWARM_NATS_WORK_ACK_WAIT", "1s");
    let _coordinator = stack.coordinator().await;
    let run = stack
        .submit("poison", &["--agents", "research_agent"])
        .await;
    for delivery in 1..=10 {
        let mut agent = stack.agent("research_agent");
        eventually("the model is at work", PATIENCE, || async {
            holds(stack.sim.chats("running").await.len() == 1)
        })
        .await;
        agent.kill_9();
        eventually("its call has broken off", PATIENCE, || async {
            holds(stack.sim.chats("disconnected").await.len() == delivery)
        })
        .await;
    }
    let _agent = stack.agent("research_agent");
    let result = stack.result(&run).await;
    assert_eq!(result["status"], "failed");
    assert_eq!(result["reason"]["code"], "SW-POISON", "{result}");
    let found = letters(&stack, 1).await.remove(0);
    assert_eq!(
        (found["code"].as_str(), found["origin"]["run"].as_str()),
        (Some("SW-POISON"), Some(run.as_str()))
    );
    let other = stack
        .submit("[[sim:latency=0ms]] other", &["--agents", "research_agent"])
        .await;
    assert_eq!(stack.result(&other).await["status"], "completed");
    // Its run has ended: a new one takes it up.
    let reply = stack
        .swarm_json(&["dead", "requeue", &found["id"].to_string()])
        .await;
    let new = reply["run"].as_str().unwrap().to_owned();
    assert_ne!(new, run);
    eventually("the new run is at work", PATIENCE, || async {
        holds(stack.sim.chats("running").await.len() == 1)
    })
    .await;
    let listed = stack.swarm_json(&["runs", "show", &new]).await;
    assert_eq!(listed["retry_of"], run.as_str());
    assert!(letters(&stack, 0).await.is_empty());
    // Asked again because the answer was lost.
    let id = found["id"].to_string();
    let again = stack.swarm_json(&["dead", "requeue", &id]).await;
    assert_eq!(again, json!({ "id": found["id"] }));
}
