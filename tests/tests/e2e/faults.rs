//! Processes end in the middle of work: asked to, or killed.

mod rounds;

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use swarm_tests::stack::Team;
use swarm_tests::{Stack, eventually, holds};

const SLOW: [&str; 4] = ["--latency", "1500ms", "--tokens-per-second", "0"];

/// A stack whose lost workers are noticed after two seconds of silence.
async fn stack(sim: &[&str]) -> Stack {
    let mut stack = Stack::start(sim).await;
    stack.set("SWARM_NATS_WORK_ACK_WAIT", "2s");
    stack
}

async fn model_is_at_work(stack: &Stack, requests: usize) {
    eventually("the model is at work", Duration::from_secs(20), || async {
        holds(stack.sim.chats("running").await.len() == requests)
    })
    .await;
}

/// The one end that a task's journal has.
async fn single_end(stack: &Stack, run: &str, task: &str) -> Value {
    let journal = stack.journal_of(run, task).await;
    assert_eq!(journal.len(), 1, "{journal:?}");
    journal[0].clone()
}

#[tokio::test]
async fn a_stopped_agent_finishes_its_task_and_takes_no_new_one() {
    let stack = stack(&SLOW).await;
    let _coordinator = stack.coordinator().await;
    let mut agent = stack.agent("research_agent");
    stack.agents_are_ready(1).await;
    let first = stack.submit("first", &["--agents", "research_agent"]).await;
    let second = stack
        .submit("second", &["--agents", "research_agent"])
        .await;
    model_is_at_work(&stack, 1).await;
    agent.signal(Signal::SIGTERM);
    let status = agent.ends(Duration::from_secs(20)).await;
    assert_eq!(status.code(), Some(0), "{}", agent.log());
    assert_eq!(stack.result(&first).await["status"], "completed");
    let open = stack.swarm_json(&["runs", "show", &second]).await;
    assert_eq!(open["state"], "working", "{open}");
    assert_eq!(open["waiting_for"]["name"], "research_agent", "{open}");
    let _next = stack.agent("research_agent");
    assert_eq!(stack.result(&second).await["status"], "completed");
    assert_eq!(
        stack.sim.chats("done").await.len(),
        2,
        "each task was thought about once"
    );
}

#[tokio::test]
async fn a_stopped_agent_hands_back_what_does_not_end_in_time() {
    let mut stack = stack(&["--latency", "60s"]).await;
    stack.set("SWARM_RUNS_DRAIN", "200ms");
    let _coordinator = stack.coordinator().await;
    let mut agent = stack.agent("research_agent");
    stack.agents_are_ready(1).await;
    let run = stack
        .submit("[[sim:latency=60s]] slow", &["--agents", "research_agent"])
        .await;
    model_is_at_work(&stack, 1).await;
    agent.signal(Signal::SIGTERM);
    let status = agent.ends(Duration::from_secs(20)).await;
    assert_eq!(status.code(), Some(0), "{}", agent.log());
    let _next = stack.agent("research_agent");
    model_is_at_work(&stack, 1).await;
    let log = stack.log_of(&run).await;
    assert_eq!(log.len(), 1, "no attempt was ended: {log:?}");
}

#[tokio::test]
async fn a_killed_agents_task_is_done_by_another_one() {
    let stack = stack(&SLOW).await;
    let _coordinator = stack.coordinator().await;
    let mut first = stack.agent("research_agent");
    stack.agents_are_ready(1).await;
    let run = stack
        .submit("question", &["--agents", "research_agent"])
        .await;
    model_is_at_work(&stack, 1).await;
    first.kill_9();
    let _second = stack.agent("research_agent");
    let result = stack.result(&run).await;
    assert_eq!(result["status"], "completed");
    let end = single_end(&stack, &run, "research_agent").await;
    assert_eq!(end["delivery"], 2, "{end}");
    assert_eq!(stack.log_of(&run).await.len(), 2);
}

#[tokio::test]
async fn a_killed_coordinators_runs_are_carried_on_by_another_one() {
    let stack = stack(&SLOW).await;
    let mut first = stack.coordinator().await;
    let _second = stack.coordinator().await;
    let _agents: Vec<_> = [
        "research_agent",
        "creative_agent",
        "critical_agent",
        "summarizer_agent",
    ]
    .map(|agent| stack.agent(agent))
    .into();
    stack.agents_are_ready(4).await;
    let mut runs = Vec::new();
    for i in 0..4 {
        runs.push(stack.submit(&format!("question {i}"), &[]).await);
    }
    model_is_at_work(&stack, 3).await;
    first.kill_9();
    for run in &runs {
        let result = stack.result(run).await;
        assert_eq!(result["status"], "completed", "{result}");
        let log = stack.log_of(run).await;
        let numbers: Vec<u64> = log
            .iter()
            .map(|event| event["n"].as_u64().unwrap())
            .collect();
        assert_eq!(numbers, [1, 2, 3, 4, 5]);
        for task in [
            "research_agent",
            "creative_agent",
            "critical_agent",
            "aggregate",
        ] {
            single_end(&stack, run, task).await;
        }
    }
}

#[tokio::test]
async fn a_coordinator_that_was_away_carries_on_where_the_log_ends() {
    let stack = stack(&SLOW).await;
    let mut first = stack.coordinator().await;
    let _agent = stack.agent("research_agent");
    stack.agents_are_ready(1).await;
    let run = stack
        .submit("question", &["--agents", "research_agent"])
        .await;
    model_is_at_work(&stack, 1).await;
    first.kill_9();
    eventually(
        "the agent ends its task",
        Duration::from_secs(10),
        || async { holds(stack.journal_of(&run, "research_agent").await.len() == 1) },
    )
    .await;
    let _second = stack.coordinator().await;
    assert_eq!(stack.result(&run).await["status"], "completed");
    assert_eq!(stack.log_of(&run).await.len(), 2);
}

#[tokio::test]
async fn a_killed_server_loses_nothing() {
    let mut team = Stack::with_team(&SLOW).await;
    let run = team.stack.submit("question", &[]).await;
    model_is_at_work(&team.stack, 3).await;
    team.stack.server.kill_and_restart().await;
    let result = team.stack.result(&run).await;
    assert_eq!(result["status"], "completed", "{result}");
    for task in [
        "research_agent",
        "creative_agent",
        "critical_agent",
        "aggregate",
    ] {
        single_end(&team.stack, &run, task).await;
    }
}

#[tokio::test]
async fn roles_stop_while_the_server_is_away() {
    let Team {
        mut stack,
        coordinator,
        agents,
    } = Stack::with_team(&SLOW).await;
    stack.server.kill_9();
    for mut process in agents.into_iter().chain([coordinator]) {
        process.signal(Signal::SIGTERM);
        let status = process.ends(Duration::from_secs(10)).await;
        assert_eq!(status.code(), Some(0), "{}", process.log());
    }
}
