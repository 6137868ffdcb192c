//! Versions side by side: what a newer one writes is left for a newer one, and disturbs nothing else.

use std::time::Duration;

use serde_json::{Value, json};
use swarm_tests::{Process, Stack, eventually, holds};

use crate::FAST;

const PATIENCE: Duration = Duration::from_secs(10);
const AT: &str = "2026-01-01T00:00:00Z";

/// Stores what a newer version of this role could write.
async fn store(stack: &Stack, user: &str, subject: &str, summary: Option<&Value>, message: &Value) {
    let mut headers = async_nats::HeaderMap::new();
    headers.insert(
        "traceparent",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    );
    if let Some(summary) = summary {
        headers.insert("Swarm-Summary", summary.to_string());
    }
    let client = stack.server.connect_as(user).await;
    let payload = message.to_string();
    let reply = client
        .request_with_headers(subject.to_owned(), headers, payload.into())
        .await
        .unwrap();
    let stored: Value = serde_json::from_slice(&reply.payload).unwrap();
    assert!(stored.get("seq").is_some(), "{stored}");
}

/// A run of one agent that nobody runs.
async fn waiting_run(stack: &Stack) -> String {
    let run = stack
        .submit("question", &["--agents", "research_agent"])
        .await;
    eventually("the work is dispatched", PATIENCE, || async {
        let work = stack.observe("STREAM.INFO.SWARM_WORK").await;
        holds(work["state"]["messages"] == 1)
    })
    .await;
    run
}

async fn other_runs_go_on(stack: &Stack) {
    let _agent = stack.agent("creative_agent");
    let run = stack
        .submit("question", &["--agents", "creative_agent"])
        .await;
    assert_eq!(stack.result(&run).await["status"], "completed");
}

/// One entry of a journal was neither acknowledged nor given up.
async fn one_entry_waits(stack: &Stack) {
    eventually("one entry waits", PATIENCE, || async {
        let journal = stack.observe("CONSUMER.INFO.SWARM_RUNS.journal").await;
        holds(journal["num_pending"] == 0 && journal["num_ack_pending"] == 1)
    })
    .await;
}

async fn no_dead_letters(stack: &Stack) {
    let dead = stack.observe("STREAM.INFO.SWARM_DEAD").await;
    assert_eq!(dead["state"]["last_seq"], 0, "{dead}");
}

async fn says(process: &Process, words: [&str; 2]) {
    eventually(words[0], PATIENCE, || async {
        let log = process.log();
        holds(
            log.lines()
                .any(|line| words.iter().all(|word| line.contains(word))),
        )
    })
    .await;
}

#[tokio::test]
async fn work_of_another_major_version_is_handed_back_by_an_agent() {
    let stack = Stack::start(&FAST).await;
    let _coordinator = stack.coordinator().await;
    let agent = stack.agent("research_agent");
    stack.agents_are_ready(1).await;
    let work = json!({ "v": 2, "what": "nobody knows yet" });
    store(
        &stack,
        "coordinator",
        "swarm.work.research_agent",
        None,
        &work,
    )
    .await;
    says(&agent, ["work is handed back", "wire version 2"]).await;

    let run = stack
        .submit("question", &["--agents", "research_agent"])
        .await;
    assert_eq!(stack.result(&run).await["status"], "completed");
    eventually("the newer work alone is left", PATIENCE, || async {
        let work = stack.observe("STREAM.INFO.SWARM_WORK").await;
        holds(work["state"]["messages"] == 1 && work["state"]["first_seq"] == 1)
    })
    .await;
    no_dead_letters(&stack).await;
}

#[tokio::test]
async fn an_end_that_a_newer_agent_wrote_is_left_for_a_newer_coordinator() {
    for (v, kind, words) in [
        (1, "handoff", "does not know it"),
        (2, "completed", "wire version 2"),
    ] {
        let stack = Stack::start(&FAST).await;
        let coordinator = stack.coordinator().await;
        let run = waiting_run(&stack).await;
        let entry = json!({
            "v": v, "run": run, "task": "research_agent", "attempt": 1, "work_seq": 1, "delivery": 1, "instance": "newer",
            "at": AT, "type": kind, "data": { "until": "later" },
        });
        let journal = format!("swarm.run.{run}.task.research_agent.end");
        store(&stack, "agent", &journal, None, &entry).await;
        says(&coordinator, ["an entry is put off", words]).await;

        // One entry ends an attempt: a cancel adds no second one behind an end that it cannot read.
        let (canceled, code) = stack.swarm(&["runs", "cancel", &run]).await;
        assert_eq!(code, 1, "{canceled:?}");
        assert!(
            canceled.err.contains("belongs to a newer Swarm"),
            "{canceled:?}"
        );
        assert_eq!(stack.journal_of(&run, "research_agent").await, [entry]);

        other_runs_go_on(&stack).await;
        one_entry_waits(&stack).await;
        no_dead_letters(&stack).await;
    }
}

#[tokio::test]
async fn a_run_that_a_newer_coordinator_leads_is_left_to_it() {
    let stack = Stack::start(&FAST).await;
    let coordinator = stack.coordinator().await;
    let run = waiting_run(&stack).await;
    let log = format!("swarm.run.{run}.ev");
    let mut summary =
        json!({ "run": run, "task": "question", "state": "paused", "submitted_at": AT, "at": AT });
    let mut event = json!({
        "v": 1, "run": run, "n": 2, "at": AT, "by": "newer", "cause": { "endpoint": "resume" }, "type": "resumed", "data": {},
        "effects": [],
    });
    store(&stack, "coordinator", &log, Some(&summary), &event).await;
    let _agent = stack.agent("research_agent");
    says(&coordinator, ["an entry is put off", "does not know it"]).await;
    other_runs_go_on(&stack).await;
    one_entry_waits(&stack).await;
    no_dead_letters(&stack).await;

    // Watchers decide nothing: they pass over what they do not know, and see the end.
    let usage = json!({ "input_tokens": 1, "output_tokens": 1, "model_calls": 1, "tool_calls": 0 });
    let result = json!({
        "v": 1, "run": run, "status": "completed", "text": "done by a newer one", "answers": [], "usage": usage,
        "elapsed_ms": 1, "simulated": false, "refs": [], "later": true,
    });
    event["n"] = json!(3);
    event["type"] = json!("completed");
    event["data"] = result;
    summary["state"] = json!("completed");
    store(&stack, "coordinator", &log, Some(&summary), &event).await;
    let (watched, code) = stack.swarm(&["runs", "watch", &run]).await;
    assert_eq!(
        (code, watched.out.trim()),
        (0, "done by a newer one"),
        "{watched:?}"
    );
    assert_eq!(stack.result(&run).await["text"], "done by a newer one");
}
