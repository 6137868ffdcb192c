//! The main job: a task by the plain `nats` CLI or by `swarm run`, shared out, answered, aggregated.

use std::time::Duration;

use futures_util::StreamExt as _;
use serde_json::{Value, json};
use swarm_tests::{Stack, eventually};

use crate::FAST;

const QUESTION: &str = "Analyze the pros and cons of renewable energy";

fn types(log: &[Value]) -> Vec<&str> {
    log.iter()
        .map(|event| event["type"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn one_submission_one_agent_one_answer() {
    let team = Stack::with_team(&FAST).await;
    let run = team
        .stack
        .submit("What is a heat pump?", &["--agents", "research_agent"])
        .await;
    let result = team.stack.result(&run).await;
    assert_eq!(result["status"], "completed", "{result}");
    assert_eq!(result["answers"][0]["text"], result["text"]);
    assert!(
        result["text"]
            .as_str()
            .unwrap()
            .starts_with("[SIMULATED llama3.2:3b]"),
        "{result}"
    );
    assert_eq!(result["simulated"], json!(true));
    assert_eq!(
        types(&team.stack.log_of(&run).await),
        ["accepted", "completed"]
    );
    let journal = team.stack.journal_of(&run, "research_agent").await;
    assert_eq!(types(&journal), ["completed"]);
}

#[tokio::test]
async fn three_agents_are_asked_and_a_fourth_sums_up() {
    let team = Stack::with_team(&FAST).await;
    let (printed, code) = team.stack.swarm(&["run", QUESTION]).await;
    assert_eq!(code, 0, "{printed:?}");
    assert!(printed.out.starts_with("SIMULATED"), "{}", printed.out);
    for agent in ["research_agent", "creative_agent", "critical_agent"] {
        assert!(printed.out.contains(agent), "{agent} in {}", printed.out);
    }
    assert!(
        printed.err.contains("3 of 3 agents answered"),
        "{}",
        printed.err
    );
}

#[tokio::test]
async fn the_nats_cli_asks_and_gets_the_text() {
    let team = Stack::with_team(&FAST).await;
    let printed = team
        .stack
        .nats(&["req", "swarm.ask", QUESTION, "--timeout", "60s", "--raw"])
        .await;
    assert!(printed.ok, "{printed:?}");
    for agent in [
        "[SIMULATED",
        "research_agent",
        "creative_agent",
        "critical_agent",
    ] {
        assert!(printed.out.contains(agent), "{agent} in {}", printed.out);
    }
    let headers = team
        .stack
        .nats(&[
            "req",
            "swarm.ask.critical_agent",
            "Is it safe?",
            "--timeout",
            "60s",
        ])
        .await;
    assert_eq!(
        headers.header("Swarm-Status").as_deref(),
        Some("completed"),
        "{headers:?}"
    );
    assert_eq!(
        headers.header("Swarm-Simulated").as_deref(),
        Some("true"),
        "{headers:?}"
    );
    assert!(headers.header("Swarm-Run-Id").is_some(), "{headers:?}");
}

#[tokio::test]
async fn the_nats_cli_submits_lists_and_reads_the_result() {
    let team = Stack::with_team(&FAST).await;
    let ticket = team
        .stack
        .nats(&[
            "req",
            "swarm.submit.research_agent",
            "What is a heat pump?",
            "--raw",
        ])
        .await;
    let parsed: Value = serde_json::from_str(ticket.out.trim())
        .unwrap_or_else(|error| panic!("{error}: {ticket:?}"));
    assert_eq!(parsed, json!({ "stream": "SWARM_INBOX", "seq": 1 }));
    let ticket = ticket.out.trim();
    let result = team.stack.result(ticket).await;
    assert_eq!(result["status"], "completed");
    let (listed, _) = team.stack.swarm(&["runs", "list"]).await;
    let run = result["run"].as_str().unwrap();
    let line = listed
        .out
        .lines()
        .find(|line| line.contains(run))
        .unwrap_or_else(|| panic!("{listed:?}"));
    assert!(
        line.contains("completed") && line.contains("What is a heat pump?"),
        "{line}"
    );
    for name in [run, &run[..8], ticket, "seq:1"] {
        let printed = team
            .stack
            .nats(&["req", "swarm.result", name, "--raw"])
            .await;
        let body: Value = serde_json::from_str(&printed.out)
            .unwrap_or_else(|error| panic!("{name}: {error}: {printed:?}"));
        assert_eq!(body, result, "{name}");
    }
}

#[tokio::test]
async fn events_are_seen_as_they_are_stored() {
    let team = Stack::with_team(&FAST).await;
    let client = team.stack.server.connect_as("client").await;
    let mut events = client.subscribe("swarm.event.>").await.unwrap();
    client.flush().await.unwrap();
    let run = team.stack.submit(QUESTION, &[]).await;
    let mut seen = Vec::new();
    while seen
        .last()
        .is_none_or(|event: &Value| event["type"] != "completed")
    {
        let message = tokio::time::timeout(Duration::from_secs(30), events.next())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(message.subject.as_str(), format!("swarm.event.{run}"));
        seen.push(serde_json::from_slice(&message.payload).unwrap());
    }
    assert_eq!(seen, team.stack.log_of(&run).await);
    let expected = [
        "accepted",
        "step_completed",
        "step_completed",
        "step_completed",
        "completed",
    ];
    assert_eq!(types(&seen), expected);
    let numbers: Vec<_> = seen
        .iter()
        .map(|event| event["n"].as_u64().unwrap())
        .collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn the_service_is_listed_and_its_replies_are_valid() {
    let team = Stack::with_team(&FAST).await;
    let listed = team.stack.nats(&["micro", "list"]).await;
    assert!(listed.out.contains("swarm"), "{listed:?}");
    let info = team.stack.nats(&["micro", "info", "swarm"]).await;
    assert!(info.ok && info.out.contains("swarm.ask"), "{info:?}");
    let stats = team.stack.nats(&["micro", "stats", "swarm"]).await;
    assert!(stats.ok && stats.out.contains("ask"), "{stats:?}");
}

#[tokio::test]
async fn chunks_come_while_the_model_writes() {
    let team = Stack::with_team(&["--latency", "50ms", "--tokens-per-second", "200"]).await;
    let client = team.stack.server.connect_as("client").await;
    let mut chunks = client.subscribe("swarm.out.>").await.unwrap();
    client.flush().await.unwrap();
    let run = team
        .stack
        .submit("Why?", &["--agents", "critical_agent"])
        .await;
    let result = team.stack.result(&run).await;
    let mut text = String::new();
    for seq in 1.. {
        let message = tokio::time::timeout(Duration::from_secs(5), chunks.next())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(
            message.subject.as_str(),
            format!("swarm.out.{run}.critical_agent")
        );
        let chunk: Value = serde_json::from_slice(&message.payload).unwrap();
        assert_eq!(
            (chunk["seq"].as_u64(), chunk["kind"].as_str()),
            (Some(seq), Some("text"))
        );
        assert!(message.headers.unwrap().get("traceparent").is_some());
        text.push_str(chunk["data"].as_str().unwrap());
        if Some(text.trim()) == result["text"].as_str() {
            assert!(seq > 2, "{seq} chunks");
            return;
        }
    }
}

#[tokio::test]
async fn one_trace_goes_through_the_whole_run() {
    let team = Stack::with_team(&FAST).await;
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let header = format!("traceparent:00-{trace}-b7ad6b7169203331-01");
    let coordinator = team.stack.server.connect_as("client").await;
    let mut events = coordinator.subscribe("swarm.event.>").await.unwrap();
    coordinator.flush().await.unwrap();
    let printed = team
        .stack
        .nats(&[
            "req",
            "swarm.ask",
            QUESTION,
            "--timeout",
            "60s",
            "-H",
            &header,
        ])
        .await;
    assert!(printed.all().contains(trace), "the answer: {printed:?}");
    for _ in 0..5 {
        let message = tokio::time::timeout(Duration::from_secs(5), events.next())
            .await
            .unwrap()
            .unwrap();
        let parent = message
            .headers
            .unwrap()
            .get("traceparent")
            .unwrap()
            .to_string();
        assert!(parent.contains(trace), "{parent}");
    }
}

#[tokio::test]
async fn the_same_submission_again_is_the_same_run() {
    let team = Stack::with_team(&FAST).await;
    let id = ["-H", "Nats-Msg-Id:order-7"];
    let ask = |text: &'static str| {
        let arguments = [&["req", "swarm.ask", text, "--timeout", "60s"], &id[..]].concat();
        let stack = &team.stack;
        async move { stack.nats(&arguments).await }
    };
    let first = ask("Count to three").await;
    let again = ask("Count to three").await;
    let run = first.header("Swarm-Run-Id");
    assert!(run.is_some(), "{first:?}");
    assert_eq!(run, again.header("Swarm-Run-Id"));
    let other = ask("Count to four").await;
    assert_eq!(
        other.header("Nats-Service-Error-Code").as_deref(),
        Some("409"),
        "{other:?}"
    );
    let runs = team.stack.swarm_json(&["runs", "list"]).await;
    assert_eq!(runs["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn another_submission_under_the_same_run_id_is_a_dead_letter() {
    let team = Stack::with_team(&FAST).await;
    let header = "Swarm-Run-Id:0b7e1e0c-3f5b-5e9a-8c49-0d5a6f7b8c9d";
    for text in ["first", "second"] {
        let printed = team
            .stack
            .nats(&["req", "swarm.submit", text, "-H", header])
            .await;
        assert!(printed.ok, "{printed:?}");
    }
    let observer = team.stack.server.connect_as("observer").await;
    let count = eventually("the dead letter", Duration::from_secs(10), || async {
        let reply = observer
            .request("$JS.API.STREAM.INFO.SWARM_DEAD", "".into())
            .await
            .ok()?;
        let info: Value = serde_json::from_slice(&reply.payload).ok()?;
        info["state"]["messages"]
            .as_u64()
            .filter(|count| *count > 0)
    });
    assert_eq!(count.await, 1);
}

#[tokio::test]
async fn two_coordinators_work_side_by_side() {
    let team = Stack::with_team(&FAST).await;
    let _second = team.stack.coordinator().await;
    let client = team.stack.server.connect_as("client").await;
    let asks = (0..40).map(|i| {
        let client = client.clone();
        async move {
            let request = async_nats::Request::new()
                .payload(format!("question {i}").into())
                .timeout(Some(Duration::from_secs(60)));
            client.send_request("swarm.ask", request).await.unwrap()
        }
    });
    let replies = futures_util::future::join_all(asks).await;
    let mut writers = std::collections::BTreeSet::new();
    for reply in replies {
        let headers = reply.headers.unwrap();
        assert_eq!(headers.get("Swarm-Status").unwrap().as_str(), "completed");
        let run = headers.get("Swarm-Run-Id").unwrap().as_str().to_owned();
        let log = team.stack.log_of(&run).await;
        assert_eq!(types(&log).len(), 5, "{log:?}");
        writers.extend(
            log.iter()
                .map(|event| event["by"].as_str().unwrap().to_owned()),
        );
    }
    assert_eq!(writers.len(), 2, "both coordinators decided: {writers:?}");
}
