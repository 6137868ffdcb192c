//! What bad input gets: a clear error, and nobody else is disturbed.

use std::time::Duration;

use serde_json::{Value, json};
use swarm_tests::{Stack, eventually};

use crate::FAST;

/// Submits bytes to a subject, and gives the result of the run they became.
async fn submitted(stack: &Stack, subject: &str, payload: &[u8]) -> Value {
    let client = stack.server.connect_as("client").await;
    let reply = client
        .request(subject.to_owned(), payload.to_vec().into())
        .await
        .unwrap();
    let ticket = String::from_utf8(reply.payload.to_vec()).unwrap();
    stack.result(&ticket).await
}

#[tokio::test]
async fn wrong_submissions_are_rejected_runs() {
    let stack = Stack::start(&FAST).await;
    let _coordinator = stack.coordinator().await;
    let _agent = stack.agent("research_agent");
    stack.agents_are_ready(1).await;
    let cases: [(&str, &[u8], &str); 16] = [
        ("swarm.submit", b"", "SW-EMPTY"),
        ("swarm.submit", b" \n\t", "SW-EMPTY"),
        ("swarm.submit", b"\xff\xfe\x00", "SW-ENCODING"),
        ("swarm.submit", b"a\x07b", "SW-ENCODING"),
        ("swarm.submit", b"{\"task\":", "SW-JSON"),
        ("swarm.submit", b"{}", "SW-FIELD"),
        ("swarm.submit", br#"{"task":5}"#, "SW-FIELD"),
        ("swarm.submit", br#"{"task":"t","agents":[]}"#, "SW-FIELD"),
        (
            "swarm.submit",
            br#"{"task":"t","agents":["nobody"]}"#,
            "SW-AGENT-UNKNOWN",
        ),
        (
            "swarm.submit",
            br#"{"task":"t","min_answers":-1}"#,
            "SW-FIELD",
        ),
        (
            "swarm.submit",
            br#"{"task":"t","min_answers":99}"#,
            "SW-FIELD",
        ),
        (
            "swarm.submit",
            br#"{"task":"t","timeout":"9999d"}"#,
            "SW-FIELD",
        ),
        (
            "swarm.submit",
            br#"{"workflow":"none"}"#,
            "SW-WORKFLOW-UNKNOWN",
        ),
        ("swarm.submit.nobody", b"t", "SW-AGENT-UNKNOWN"),
        ("swarm.submit.a.b", b"t", "SW-TARGET"),
        ("swarm.submit.B\x01d", b"t", "SW-TARGET"),
    ];
    for (subject, payload, code) in cases {
        let result = submitted(&stack, subject, payload).await;
        assert_eq!(
            (&result["status"], &result["reason"]["code"]),
            (&json!("rejected"), &json!(code)),
            "{subject}: {result}"
        );
    }
    let result = submitted(&stack, "swarm.submit.research_agent", b"still there?").await;
    assert_eq!(result["status"], "completed");
}

#[tokio::test]
async fn wrong_requests_get_service_errors() {
    let stack = Stack::start(&FAST).await;
    let _coordinator = stack.coordinator().await;
    let cases = [
        ("swarm.ask", "", "400"),
        ("swarm.ask", "{\"task\":", "400"),
        ("swarm.ask.nobody", "t", "404"),
        ("swarm.result", "nonsense", "400"),
        (
            "swarm.result",
            "0b7e1e0c-3f5b-5e9a-8c49-0d5a6f7b8c9d",
            "404",
        ),
        ("swarm.result", "seq:999", "404"),
        (
            "swarm.cancel",
            "0b7e1e0c-3f5b-5e9a-8c49-0d5a6f7b8c9d",
            "404",
        ),
        ("swarm.runs", "{\"limit\":0}", "400"),
        ("swarm.runs", "{\"state\":\"lost\"}", "400"),
        ("swarm.agents", "[", "400"),
    ];
    for (subject, body, code) in cases {
        let printed = stack.nats(&["req", subject, body]).await;
        assert_eq!(
            printed.header("Nats-Service-Error-Code").as_deref(),
            Some(code),
            "{subject} {body}: {printed:?}"
        );
        assert!(
            printed.out.contains("\"code\":\"SW-"),
            "{subject} {body}: {printed:?}"
        );
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_at_once() {
    let stack = Stack::start(&FAST).await;
    let _coordinator = stack.coordinator().await;
    let file = stack.folder().join("large.txt");
    std::fs::write(&file, "x".repeat(2_000_000)).unwrap();
    let file = file.to_str().unwrap();
    let (printed, code) = stack.swarm(&["run", "t", "--context-file", file]).await;
    assert_eq!(code, 2, "{printed:?}");
    assert!(
        printed.err.contains("the server takes 1048576"),
        "{printed:?}"
    );
    // What the server takes and a run's log could not hold is rejected by name.
    let result = submitted(&stack, "swarm.submit", "y".repeat(600_000).as_bytes()).await;
    assert_eq!(result["reason"]["code"], "SW-TOO-LARGE", "{result}");
    // As is what leaves no room for the headers of an `ask`.
    let nearly = "z".repeat(1_040_000);
    let result = submitted(&stack, "swarm.submit", nearly.as_bytes()).await;
    assert_eq!(result["reason"]["code"], "SW-TOO-LARGE", "{result}");
    let client = stack.server.connect_as("client").await;
    let reply = client.request("swarm.ask", nearly.into()).await.unwrap();
    let error: Value = serde_json::from_slice(&reply.payload).unwrap();
    assert_eq!(error["code"], "SW-TOO-LARGE", "{error}");
    // A context alone may be as large as a message.
    let submission =
        json!({ "task": "t", "agents": ["research_agent"], "context": "c".repeat(1_030_000) });
    let reply = client
        .request("swarm.submit", submission.to_string().into())
        .await
        .unwrap();
    let ticket: Value = serde_json::from_slice(&reply.payload).unwrap();
    let accepted = eventually("it is accepted", Duration::from_secs(10), || async {
        let runs = stack.swarm_json(&["runs", "list"]).await;
        let runs = runs["items"].as_array()?.clone();
        runs.into_iter().find(|run| run["seq"] == ticket["seq"])
    })
    .await;
    assert_eq!(accepted["state"], "working", "{accepted}");
}

#[tokio::test]
async fn a_model_that_is_not_there_fails_the_task_at_once() {
    let mut stack = Stack::start(&FAST).await;
    stack.set("SWARM_AGENTS_RESEARCH_AGENT__MODEL", "nobody:7b");
    let _coordinator = stack.coordinator().await;
    let _agent = stack.agent("research_agent");
    stack.agents_are_ready(1).await;
    let (printed, code) = stack
        .swarm(&["run", "t", "--agents", "research_agent"])
        .await;
    assert_eq!(code, 1, "{printed:?}");
    assert!(printed.err.contains("ollama pull nobody:7b"), "{printed:?}");
}

#[tokio::test]
async fn a_broken_stream_of_the_model_is_no_answer() {
    let team = Stack::with_team(&FAST).await;
    let run = team
        .stack
        .submit("[[sim:cut]] question", &["--agents", "research_agent"])
        .await;
    let result = team.stack.result(&run).await;
    assert_eq!(
        (&result["status"], &result["text"]),
        (&json!("failed"), &json!("")),
        "{result}"
    );
    let code = result["reason"]["code"].as_str().unwrap();
    assert!(code.starts_with("SW-MODEL-"), "{result}");
}

#[tokio::test]
async fn a_run_waits_for_an_agent_that_nobody_runs() {
    let stack = Stack::start(&FAST).await;
    let _coordinator = stack.coordinator().await;
    let run = stack
        .submit("question", &["--agents", "critical_agent"])
        .await;
    let waiting = eventually("the run is listed", Duration::from_secs(10), || async {
        let runs = stack.swarm_json(&["runs", "list"]).await;
        let summary = runs["items"].get(0)?.clone();
        (summary["run"] == run.as_str()).then_some(summary)
    })
    .await;
    assert_eq!(waiting["waiting_for"]["kind"], "agent", "{waiting}");
    assert_eq!(
        waiting["waiting_for"]["name"], "critical_agent",
        "{waiting}"
    );
    let (shown, _) = stack.swarm(&["runs", "list"]).await;
    assert!(
        shown.out.contains("swarm agent critical_agent"),
        "{}",
        shown.out
    );
}

#[tokio::test]
async fn messages_that_are_no_work_become_dead_letters() {
    let team = Stack::with_team(&FAST).await;
    let coordinator = team.stack.server.connect_as("coordinator").await;
    coordinator
        .publish("swarm.work.research_agent", "\u{1}nonsense".into())
        .await
        .unwrap();
    coordinator.flush().await.unwrap();
    let bus = team.stack.server.connect_as("observer").await;
    eventually("the dead letter", Duration::from_secs(10), || async {
        let reply = bus
            .request(
                "$JS.API.STREAM.INFO.SWARM_DEAD",
                r#"{"subjects_filter":">"}"#.into(),
            )
            .await
            .ok()?;
        let info: Value = serde_json::from_slice(&reply.payload).ok()?;
        (info["state"]["subjects"]["swarm.deadletter.research_agent"] == 1).then_some(())
    })
    .await;
    let run = team
        .stack
        .submit("question", &["--agents", "research_agent"])
        .await;
    assert_eq!(team.stack.result(&run).await["status"], "completed");
}
