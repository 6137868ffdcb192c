//! Canceling a run.

use std::time::{Duration, Instant};

use serde_json::json;
use swarm_tests::{Stack, eventually, holds};

#[tokio::test]
async fn a_cancel_reaches_the_model_within_a_second() {
    let team = Stack::with_team(&["--latency", "60s"]).await;
    let run = team.stack.submit("question", &[]).await;
    eventually(
        "three models are at work",
        Duration::from_secs(20),
        || async { holds(team.stack.sim.chats("running").await.len() == 3) },
    )
    .await;
    let asked = Instant::now();
    let reply = team
        .stack
        .swarm_json(&["runs", "cancel", &run, "--reason", "changed my mind"])
        .await;
    assert_eq!(reply, json!({ "run": run, "state": "canceling" }));
    eventually(
        "three connections are closed",
        Duration::from_secs(10),
        || async { holds(team.stack.sim.chats("disconnected").await.len() == 3) },
    )
    .await;
    assert!(
        asked.elapsed() < Duration::from_secs(1),
        "{:?}",
        asked.elapsed()
    );
    let result = team.stack.result(&run).await;
    assert_eq!(result["status"], "canceled");
    assert_eq!(
        result["reason"]["message"],
        "canceled on request: changed my mind"
    );
    let statuses: Vec<_> = result["answers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|answer| &answer["status"])
        .collect();
    assert_eq!(statuses, ["canceled"; 3]);
}

#[tokio::test]
async fn a_cancel_may_be_repeated_and_comes_too_late_for_what_has_ended() {
    let team = Stack::with_team(&["--latency", "60s"]).await;
    let run = team.stack.submit("question", &[]).await;
    eventually("the run is known", Duration::from_secs(10), || async {
        holds(!team.stack.log_of(&run).await.is_empty())
    })
    .await;
    for _ in 0..3 {
        let reply = team.stack.swarm_json(&["runs", "cancel", &run]).await;
        assert!(
            ["canceling", "canceled"].contains(&reply["state"].as_str().unwrap()),
            "{reply}"
        );
    }
    assert_eq!(team.stack.result(&run).await["status"], "canceled");
    let done = team
        .stack
        .submit("[[sim:latency=0ms]] quick", &["--agents", "research_agent"])
        .await;
    assert_eq!(team.stack.result(&done).await["status"], "completed");
    let (printed, code) = team.stack.swarm(&["runs", "cancel", &done]).await;
    assert_eq!(code, 1, "{printed:?}");
    assert!(
        printed
            .err
            .contains("is completed, and a cancel would change nothing"),
        "{printed:?}"
    );
}

#[tokio::test]
async fn a_run_that_nobody_works_on_is_canceled_too() {
    let stack = Stack::start(&[]).await;
    let _coordinator = stack.coordinator().await;
    let run = stack.submit("question", &[]).await;
    eventually("the run is known", Duration::from_secs(10), || async {
        holds(!stack.log_of(&run).await.is_empty())
    })
    .await;
    stack.swarm(&["runs", "cancel", &run]).await;
    assert_eq!(stack.result(&run).await["status"], "canceled");
}
