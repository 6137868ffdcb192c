//! What a run does when its tasks fail, when its time is over, and when a person holds it up or speaks to it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use swarm_tests::{Stack, eventually, holds};

use crate::FAST;

const PATIENCE: Duration = Duration::from_secs(20);

fn types(events: &[Value]) -> Vec<&str> {
    let types = events.iter().map(|event| event["type"].as_str());
    types.map(Option::unwrap).collect()
}

async fn state_is(stack: &Stack, run: &str, state: &str) {
    eventually(state, PATIENCE, || async {
        let shown = stack.swarm_json(&["runs", "show", run]).await;
        holds(shown["state"] == state)
    })
    .await;
}

async fn log_has(stack: &Stack, run: &str, kind: &str, count: usize) {
    eventually(kind, PATIENCE, || async {
        let log = stack.log_of(run).await;
        holds(log.iter().filter(|event| event["type"] == kind).count() >= count)
    })
    .await;
}

#[tokio::test]
async fn a_task_that_failed_is_tried_again_and_goes_on_from_what_it_had() {
    let mut stack = Stack::start(&FAST).await;
    stack.configure("agents: {research_agent: {tools: [calculator]}}\n");
    let _coordinator = stack.coordinator().await;
    let _agent = stack.agent("research_agent");
    stack.agents_are_ready(1).await;
    // The turn after the call fails twice; the model's own server says so.
    stack
        .sim
        .follow(
            "
rules:
  - name: broken
    when: {last: tool}
    times: 2
    then: [{error: {status: 500, text: out of memory}}]
",
        )
        .await;
    let run = stack
        .submit("How much is 6 * 7?", &["--agents", "research_agent"])
        .await;
    let result = stack.result(&run).await;
    assert_eq!(result["status"], "completed", "{result}");
    assert_eq!(
        types(&stack.log_of(&run).await),
        [
            "accepted",
            "retrying",
            "dispatched",
            "retrying",
            "dispatched",
            "completed"
        ]
    );
    let journal = stack.journal_of(&run, "research_agent").await;
    assert_eq!(
        types(&journal),
        ["model_turn", "tool_result", "failed", "failed", "completed"],
        "no finished turn and no finished call is done again"
    );
    assert_eq!(
        result["usage"],
        json!({ "model_calls": 2, "tool_calls": 1, "input_tokens": result["usage"]["input_tokens"],
                "output_tokens": result["usage"]["output_tokens"] })
    );
    let (told, _) = stack.swarm(&["runs", "explain", &run]).await;
    assert!(told.out.contains("is tried again in"), "{told:?}");
}

#[tokio::test]
async fn a_paused_run_starts_nothing_and_goes_on_when_it_is_resumed() {
    let team = Stack::with_team(&["--latency", "700ms", "--tokens-per-second", "0"]).await;
    let stack = &team.stack;
    let run = stack.submit("question", &[]).await;
    let paused = stack
        .swarm_json(&["runs", "pause", &run, "--reason", "let me see"])
        .await;
    assert_eq!(paused, json!({ "run": run, "state": "paused" }));
    let again = stack.swarm_json(&["runs", "pause", &run]).await;
    assert_eq!(again["state"], "paused");
    log_has(stack, &run, "step_completed", 3).await;
    state_is(stack, &run, "paused").await;
    let resumed = stack.swarm_json(&["runs", "resume", &run]).await;
    assert_eq!(resumed, json!({ "run": run, "state": "working" }));
    let result = stack.result(&run).await;
    assert_eq!(result["status"], "completed");
    let (late, code) = stack.swarm(&["runs", "pause", &run]).await;
    assert_eq!(code, 1, "{late:?}");
    assert!(
        late.err
            .contains("is completed, and a pause would change nothing"),
        "{late:?}"
    );
}

#[tokio::test]
async fn a_run_that_failed_is_done_again_without_what_was_done() {
    let mut stack = Stack::start(&FAST).await;
    stack.set("SWARM_RUNS_RETRY__MAX", "0");
    let _coordinator = stack.coordinator().await;
    let _agents = ["research_agent", "critical_agent"].map(|agent| stack.agent(agent));
    stack.agents_are_ready(2).await;
    stack
        .sim
        .follow("rules: [{when: {model: 'gemma2:*'}, times: 1, then: [{error: {status: 500, text: broken}}]}]")
        .await;
    let more = [
        "--agents",
        "research_agent,critical_agent",
        "--aggregate",
        "json",
        "--min-answers",
        "2",
    ];
    let old = stack.submit("question", &more).await;
    assert_eq!(stack.result(&old).await["status"], "failed");
    let reply = stack.swarm_json(&["runs", "retry", &old]).await;
    let new = reply["run"].as_str().unwrap();
    assert_eq!(
        stack.swarm_json(&["runs", "retry", &old]).await,
        reply,
        "once, however often asked"
    );
    let result = stack.result(new).await;
    assert_eq!(result["status"], "completed", "{result}");
    let answered = result["data"].as_object().unwrap();
    assert!(
        answered.len() == 2 && answered.contains_key("research_agent"),
        "{result}"
    );
    assert!(
        stack.journal_of(new, "research_agent").await.is_empty(),
        "it was taken over"
    );
    let listed = stack.swarm_json(&["runs", "list"]).await;
    let of_old = listed["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|item| item["run"] == new);
    assert_eq!(of_old.unwrap()["retry_of"], old.as_str());
    let (refused, code) = stack.swarm(&["runs", "retry", new]).await;
    assert_eq!(code, 1, "{refused:?}");
    assert!(
        refused
            .err
            .contains("only a run that failed or was canceled"),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_run_ends_when_its_time_is_over_and_its_model_call_with_it() {
    let stack = Stack::start(&["--latency", "60s"]).await;
    let _coordinator = stack.coordinator().await;
    let _agent = stack.agent("research_agent");
    stack.agents_are_ready(1).await;
    let begun = Instant::now();
    let more = ["--agents", "research_agent", "--timeout", "1s"];
    let run = stack.submit("question", &more).await;
    let result = stack.result(&run).await;
    assert!(begun.elapsed() < PATIENCE);
    assert_eq!(result["status"], "failed");
    assert_eq!(result["reason"]["code"], "SW-DEADLINE", "{result}");
    assert_eq!(
        types(&stack.journal_of(&run, "research_agent").await),
        ["timed_out"]
    );
    eventually("the model call is canceled", PATIENCE, || async {
        holds(stack.sim.chats("disconnected").await.len() == 1)
    })
    .await;
}

#[tokio::test]
async fn a_task_waits_for_its_agent_as_long_as_it_may() {
    let stack = Stack::start(&FAST).await;
    let _coordinator = stack.coordinator().await;
    let submission =
        json!({ "task": "question", "agents": ["research_agent"], "queue_timeout": "1s" });
    let printed = stack
        .nats(&["req", "swarm.submit", &submission.to_string(), "--raw"])
        .await;
    let result = stack.result(printed.out.trim()).await;
    assert_eq!(result["status"], "failed");
    assert_eq!(result["reason"]["code"], "SW-QUEUE", "{result}");
    let message = result["reason"]["message"].as_str().unwrap();
    assert!(
        message.contains("nobody ran research_agent for 1s"),
        "{message}"
    );
}

#[tokio::test]
async fn a_message_reaches_an_agent_before_its_next_turn() {
    let mut stack = Stack::start(&["--latency", "1s", "--tokens-per-second", "0"]).await;
    stack.configure("agents: {research_agent: {tools: [calculator]}}\n");
    let _coordinator = stack.coordinator().await;
    let run = stack
        .submit("How much is 6 * 7?", &["--agents", "research_agent"])
        .await;
    let say = |text: &'static str, to: &'static str| {
        let (stack, run) = (&stack, &run);
        async move {
            stack
                .swarm(&["runs", "message", run, "--to", to, text])
                .await
        }
    };
    // Nobody runs the agent yet.
    let (said, code) = say("In words, please.", "research_agent").await;
    assert_eq!(code, 0, "{said:?}");
    let _agent = stack.agent("research_agent");
    eventually("the model is at work", PATIENCE, || async {
        holds(stack.sim.chats("running").await.len() == 1)
    })
    .await;
    let (said, code) = say("And in French.", "research_agent").await;
    assert_eq!(code, 0, "{said:?}");
    // A request that is sent again is one message.
    let body =
        json!({ "run": run, "to": "research_agent", "text": "Be brief.", "id": "one" }).to_string();
    for _ in 0..2 {
        let printed = stack.nats(&["req", "swarm.message", &body, "--raw"]).await;
        assert!(printed.out.contains("working"), "{printed:?}");
    }
    let sent = stack.log_of(&run).await;
    assert_eq!(
        sent.iter()
            .filter(|event| event["type"] == "message")
            .count(),
        3,
        "{sent:?}"
    );
    let (refused, code) = say("Hear!", "creative_agent").await;
    assert_eq!(code, 1);
    assert!(
        refused.err.contains("these have: research_agent"),
        "{refused:?}"
    );
    assert_eq!(stack.result(&run).await["status"], "completed");
    let journal = stack.journal_of(&run, "research_agent").await;
    assert_eq!(
        types(&journal),
        [
            "message_received",
            "model_turn",
            "tool_result",
            "message_received",
            "message_received",
            // A simulated model calls a tool whenever a person has the last word.
            "model_turn",
            "tool_result",
            "completed"
        ]
    );
    let bodies = stack.sim.bodies("llama3.2:3b").await;
    let last = bodies.last().unwrap()["messages"].to_string();
    for text in ["In words, please.", "And in French.", "Be brief."] {
        assert_eq!(last.matches(text).count(), 1, "{last}");
    }
}
