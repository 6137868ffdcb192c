//! The commands, as a person meets them.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use swarm_tests::Stack;

use crate::FAST;

#[tokio::test]
async fn without_a_server_there_is_one_line_and_exit_code_3() {
    let mut stack = Stack::start(&FAST).await;
    stack.set("NATS_URL", "nats://127.0.0.1:9");
    let began = Instant::now();
    let (printed, code) = stack.swarm(&["runs", "list"]).await;
    assert_eq!(code, 3);
    assert_eq!(printed.err.lines().count(), 1, "{printed:?}");
    assert!(
        printed.err.contains("nats://127.0.0.1:9") && printed.err.contains("swarm up"),
        "{printed:?}"
    );
    assert!(began.elapsed() < Duration::from_secs(6));
}

#[tokio::test]
async fn without_a_coordinator_that_is_said() {
    let stack = Stack::start(&FAST).await;
    let (printed, code) = stack.swarm(&["runs", "list"]).await;
    assert_eq!(code, 3);
    assert!(printed.err.contains("swarm coordinator"), "{printed:?}");
}

#[tokio::test]
async fn a_wrong_configuration_names_file_line_and_what_is_accepted() {
    let mut stack = Stack::start(&FAST).await;
    let file = stack.configure("ollama:\n  paralel: 2\n");
    let (printed, code) = stack.swarm(&["coordinator"]).await;
    assert_eq!(code, 2, "{printed:?}");
    let place = format!("{}:2:", file.display());
    assert!(
        printed.err.contains(&place) && printed.err.contains("parallel"),
        "{printed:?}"
    );
    stack.configure("agents:\n  poet: {}\n");
    let (printed, code) = stack.swarm(&["coordinator"]).await;
    assert_eq!(code, 2);
    assert!(
        printed.err.contains("poet") && printed.err.contains("prompt"),
        "{printed:?}"
    );
    stack.configure("{}");
    stack.set("SWARM_OLLAMA_NUM_CTX", "many");
    let (printed, code) = stack.swarm(&["coordinator"]).await;
    assert_eq!(code, 2);
    assert!(printed.err.contains("SWARM_OLLAMA_NUM_CTX"), "{printed:?}");
}

#[tokio::test]
async fn an_unknown_agent_gets_a_suggestion() {
    let stack = Stack::start(&FAST).await;
    let (printed, code) = stack.swarm(&["agent", "reserch_agent"]).await;
    assert_eq!(code, 2);
    assert!(
        printed.err.contains("did you mean research_agent?"),
        "{printed:?}"
    );
}

#[tokio::test]
async fn a_wrong_password_is_refused_in_one_line() {
    let mut stack = Stack::start(&FAST).await;
    stack.set("SWARM_COORDINATOR_PASSWORD", "wrong");
    let (printed, code) = stack.swarm(&["coordinator"]).await;
    assert_eq!(code, 3, "{printed:?}");
    assert!(
        printed.err.contains("SWARM_COORDINATOR_PASSWORD"),
        "{printed:?}"
    );
}

#[tokio::test]
async fn an_agent_of_the_users_own_needs_no_rust() {
    let mut stack = Stack::start(&FAST).await;
    stack.configure(
        "agents:\n  poet:\n    prompt: You are the poet agent of a team.\n    model: llama3.2:1b\n",
    );
    let _coordinator = stack.coordinator().await;
    let _poet = stack.agent("poet");
    stack.agents_are_ready(1).await;
    let (printed, code) = stack
        .swarm(&["run", "A verse on rain", "--agents", "poet"])
        .await;
    assert_eq!(code, 0, "{printed:?}");
    assert!(printed.out.contains("poet agent"), "{}", printed.out);
}

#[tokio::test]
async fn json_output_is_documents_and_nothing_else() {
    let team = Stack::with_team(&FAST).await;
    let (printed, code) = team.stack.swarm(&["run", "Why?", "--output", "json"]).await;
    assert_eq!(code, 0, "{printed:?}");
    let lines: Vec<Value> = printed
        .out
        .lines()
        .map(|line| serde_json::from_str(line).expect(line))
        .collect();
    let (result, before) = lines.split_last().unwrap();
    assert_eq!(result["status"], "completed");
    assert!(
        before
            .iter()
            .all(|line| line.get("chunk").is_some() || line.get("n").is_some()),
        "{before:?}"
    );
    assert_eq!(
        *result,
        team.stack.result(result["run"].as_str().unwrap()).await
    );
    let (printed, code) = team
        .stack
        .swarm(&["runs", "show", "12345678", "--output", "json"])
        .await;
    assert_eq!(code, 1);
    let error: Value = serde_json::from_str(&printed.err).unwrap();
    assert_eq!(error["error"]["code"], "SW-RUN-UNKNOWN", "{error}");
}

#[tokio::test]
async fn a_watch_that_comes_late_sees_the_whole_run() {
    let team = Stack::with_team(&FAST).await;
    let run = team.stack.submit("Why?", &[]).await;
    team.stack.result(&run).await;
    let (printed, code) = team
        .stack
        .swarm(&["runs", "watch", &run[..8], "--output", "json"])
        .await;
    assert_eq!(code, 0, "{printed:?}");
    let lines: Vec<Value> = printed
        .out
        .lines()
        .map(|line| serde_json::from_str(line).expect(line))
        .collect();
    assert_eq!(lines[..lines.len() - 1], team.stack.log_of(&run).await);
}

#[tokio::test]
async fn lists_are_paged_and_filtered() {
    let team = Stack::with_team(&FAST).await;
    for i in 0..5 {
        let label = format!("kind={}", if i % 2 == 0 { "even" } else { "odd" });
        let run = team
            .stack
            .submit(
                &format!("q{i}"),
                &["--agents", "research_agent", "--label", &label],
            )
            .await;
        team.stack.result(&run).await;
    }
    let even = team
        .stack
        .swarm_json(&["runs", "list", "--label", "kind=even"])
        .await;
    let tasks: Vec<_> = even["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|run| run["task"].clone())
        .collect();
    assert_eq!(tasks, ["q4", "q2", "q0"]);
    let first = team
        .stack
        .swarm_json(&["runs", "list", "--limit", "3"])
        .await;
    let next = first["next"].as_str().unwrap();
    let second = team
        .stack
        .swarm_json(&["runs", "list", "--limit", "3", "--after", next])
        .await;
    assert_eq!(second["items"].as_array().unwrap().len(), 2);
    assert_eq!(second["next"], json!(null));
}

#[tokio::test]
async fn agents_are_listed_while_they_run() {
    let mut team = Stack::with_team(&FAST).await;
    let (printed, _) = team.stack.swarm(&["agents", "list"]).await;
    for agent in [
        "research_agent",
        "creative_agent",
        "critical_agent",
        "summarizer_agent",
        "SIMULATED",
    ] {
        assert!(printed.out.contains(agent), "{agent} in {}", printed.out);
    }
    let mut gone = team.agents.remove(0);
    gone.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(gone.ends(Duration::from_secs(10)).await.code(), Some(0));
    team.stack.agents_are_ready(3).await;
}
