//! Agents with tools: native, structured, and what models make of both.

use std::time::Duration;

use futures_util::StreamExt as _;
use serde_json::{Value, json};
use swarm_tests::{Process, Stack, eventually, holds};

use crate::FAST;

/// The team of the README, with tools.
const TEAM: &str = "
agents:
  research_agent: {tools: [calculator, current_time]}
  creative_agent: {tools: [text_stats]}
  critical_agent: {tools: [calculator]}
  summarizer_agent: {tools: [text_stats]}
";

struct Swarm {
    stack: Stack,
    _coordinator: Process,
    agents: Vec<Process>,
}

impl Swarm {
    /// A coordinator and a worker of each of these agents.
    async fn start(configuration: &str, agents: &[&str], sim: &[&str]) -> Self {
        let mut stack = Stack::start(sim).await;
        stack.configure(configuration);
        stack.set("SWARM_NATS_WORK_ACK_WAIT", "2s");
        let coordinator = stack.coordinator().await;
        let started = agents.iter().map(|agent| stack.agent(agent)).collect();
        stack.agents_are_ready(agents.len()).await;
        Self {
            stack,
            _coordinator: coordinator,
            agents: started,
        }
    }

    /// What its models say from now on.
    async fn follow(&self, rules: &str) {
        self.stack.sim.follow(rules).await;
    }

    /// The result of a task for one agent.
    async fn ask(&self, agent: &str, submission: &Value) -> (String, Value) {
        let more = ["--agents", agent];
        let run = match submission.as_str() {
            Some(task) => self.stack.submit(task, &more).await,
            None => {
                let subject = format!("swarm.submit.{agent}");
                let text = submission.to_string();
                let printed = self.stack.nats(&["req", &subject, &text, "--raw"]).await;
                printed.out.trim().to_owned()
            }
        };
        let result = self.stack.result(&run).await;
        (result["run"].as_str().unwrap().to_owned(), result)
    }
}

fn entries<'a>(journal: &'a [Value], kind: &str) -> Vec<&'a Value> {
    journal
        .iter()
        .filter(|entry| entry["type"] == kind)
        .collect()
}

#[tokio::test]
async fn a_team_uses_its_tools_also_where_the_model_takes_none() {
    let agents = [
        "research_agent",
        "creative_agent",
        "critical_agent",
        "summarizer_agent",
    ];
    let swarm = Swarm::start(TEAM, &agents, &FAST).await;
    let cards = swarm.stack.swarm_json(&["agents", "list"]).await;
    let card = cards["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|card| card["agent"] == "research_agent");
    assert_eq!(
        card.unwrap()["tools"],
        json!(["calculator", "current_time"])
    );

    let run = swarm
        .stack
        .submit("Analyze the pros and cons of renewable energy", &[])
        .await;
    let result = swarm.stack.result(&run).await;
    assert_eq!(result["status"], "completed", "{result}");
    assert_eq!(result["usage"]["tool_calls"], 4, "{result}");
    for answer in result["answers"].as_array().unwrap() {
        assert_eq!(answer["usage"]["tool_calls"], 1, "{answer}");
        assert_eq!(answer["usage"]["model_calls"], 2, "{answer}");
    }

    // gemma2 takes no tools: it gets a format, and is told of results by the user.
    for body in swarm.stack.sim.bodies("gemma2:2b").await {
        assert!(body.get("tools").is_none(), "{body}");
        assert!(body["format"].is_object(), "{body}");
        assert_eq!(body["think"], false, "{body}");
    }
    for body in swarm.stack.sim.bodies("llama3.2:1b").await {
        assert!(body.get("format").is_none(), "{body}");
        assert_eq!(body["tools"][0]["function"]["name"], "text_stats");
    }
    for (task, mode) in [
        ("critical_agent", "structured"),
        ("research_agent", "native"),
    ] {
        let journal = swarm.stack.journal_of(&run, task).await;
        let turns = entries(&journal, "model_turn");
        assert_eq!(turns[0]["data"]["mode"], mode);
        let results = entries(&journal, "tool_result");
        assert_eq!(results[0]["data"]["name"], "calculator", "{results:?}");
    }

    let (explained, _) = swarm.stack.swarm(&["runs", "explain", &run]).await;
    assert!(
        explained
            .out
            .contains("critical_agent: a turn of gemma2:2b"),
        "{explained:?}"
    );
    assert!(
        explained.out.contains(": calls calculator"),
        "{explained:?}"
    );
    assert!(
        explained.out.contains("critical_agent: calculator "),
        "{explained:?}"
    );
}

#[tokio::test]
async fn a_host_that_refuses_tools_gets_a_format_instead() {
    let configuration = "
agents:
  critical_agent: {tools: [calculator], tool_mode: native}
";
    let swarm = Swarm::start(configuration, &["critical_agent"], &FAST).await;
    let (_, result) = swarm.ask("critical_agent", &json!("Is it so?")).await;
    assert_eq!(result["status"], "completed", "{result}");
    assert_eq!(result["usage"]["tool_calls"], 1, "{result}");
    let bodies = swarm.stack.sim.bodies("gemma2:2b").await;
    let with_tools = bodies.iter().filter(|body| body.get("tools").is_some());
    assert_eq!(with_tools.count(), 1, "it is tried once");
}

#[tokio::test]
async fn a_model_that_always_asks_for_the_same_ends_at_its_bound_by_name() {
    let swarm = Swarm::start(TEAM, &["research_agent"], &FAST).await;
    swarm
        .follow(
            "rules:
- name: stubborn
  when: {tools: true}
  then: [{tool_call: {name: calculator, arguments: {expression: 1+1}}}]
- name: stubborn to the end
  then: [{text: '{\"name\": \"calculator\", \"arguments\": {\"expression\": \"1+1\"}}'}]
",
        )
        .await;
    let (run, result) = swarm.ask("research_agent", &json!("Think.")).await;
    assert_eq!(result["status"], "failed", "{result}");
    assert_eq!(result["reason"]["code"], "SW-AGENT-ITERATIONS", "{result}");
    let message = result["reason"]["message"].as_str().unwrap();
    assert!(message.contains("the same tool"), "{message}");
    // max_iterations is 5.
    assert!(swarm.stack.sim.chats("done").await.len() <= 6);
    let journal = swarm.stack.journal_of(&run, "research_agent").await;
    let results = entries(&journal, "tool_result");
    let run_again = results
        .iter()
        .skip(1)
        .filter(|result| result["data"]["repeated"] != true);
    assert_eq!(run_again.count(), 0, "{results:?}");
}

#[tokio::test]
async fn wrong_arguments_and_unknown_tools_go_back_to_the_model() {
    let swarm = Swarm::start(TEAM, &["research_agent"], &FAST).await;
    swarm
        .follow(
            "rules:
- when: {turn: 1}
  then: [{tool_call: {name: calculate, arguments: {}}}]
- when: {turn: 2}
  then: [{tool_call: {name: calculator, arguments: {expresion: 6*7, precision: high}}}]
- when: {turn: 3}
  then: [{tool_call: {name: calculator, arguments: {expression: 42}}}]
- then: [{template: 'It is {tool}'}]
",
        )
        .await;
    let (run, result) = swarm
        .ask("research_agent", &json!("How much is 6*7?"))
        .await;
    assert_eq!(result["status"], "completed", "{result}");
    let journal = swarm.stack.journal_of(&run, "research_agent").await;
    let results = entries(&journal, "tool_result");
    let text = |n: usize| results[n]["data"]["content"].to_string();
    assert!(text(0).contains("calculator, current_time"), "{}", text(0));
    assert_eq!(results[0]["data"]["status"], "error");
    assert!(
        text(1).contains("is missing") && text(1).contains("JSON Schema"),
        "{}",
        text(1)
    );
    // A number where a text belongs is mended, and said to be.
    assert_eq!(results[2]["data"]["status"], "success");
    assert_eq!(
        results[2]["data"]["repairs"],
        json!([{"at": "/expression", "what": "a number or boolean became text"}])
    );
}

#[tokio::test]
async fn a_finished_call_and_turn_are_not_repeated_when_the_worker_is_killed() {
    let mut swarm = Swarm::start(TEAM, &["research_agent"], &FAST).await;
    swarm
        .follow(
            "rules:
- when: {last: user}
  then: [{tool_call: {name: calculator, arguments: {expression: 6*7}}}]
- when: {last: tool}
  then: [{latency: 2s}, {template: 'It is {tool}'}]
",
        )
        .await;
    let run = swarm
        .stack
        .submit("How much is 6*7?", &["--agents", "research_agent"])
        .await;
    let stack = &swarm.stack;
    eventually("the call is done", Duration::from_secs(20), || async {
        let journal = stack.journal_of(&run, "research_agent").await;
        holds(entries(&journal, "tool_result").len() == 1)
    })
    .await;
    for agent in &mut swarm.agents {
        agent.kill_9();
    }
    let _next = swarm.stack.agent("research_agent");
    let result = swarm.stack.result(&run).await;
    assert_eq!(result["status"], "completed", "{result}");
    assert!(result["text"].as_str().unwrap().contains("42"), "{result}");
    let journal = swarm.stack.journal_of(&run, "research_agent").await;
    let kinds: Vec<&str> = journal
        .iter()
        .map(|entry| entry["type"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["model_turn", "tool_result", "completed"]);
    let first_turns = swarm.stack.sim.bodies("llama3.2:3b").await;
    let first_turns = first_turns
        .iter()
        .filter(|body| body["messages"].as_array().unwrap().len() == 2);
    assert_eq!(first_turns.count(), 1, "the first turn was asked for once");
}

#[tokio::test]
async fn calls_and_results_are_seen_as_chunks() {
    let swarm = Swarm::start(TEAM, &["research_agent"], &FAST).await;
    let client = swarm.stack.server.connect_as("client").await;
    let mut chunks = client.subscribe("swarm.out.>").await.unwrap();
    client.flush().await.unwrap();
    let (_, result) = swarm.ask("research_agent", &json!("How much?")).await;
    assert_eq!(result["status"], "completed", "{result}");
    let mut seen = Vec::new();
    while let Ok(Some(message)) =
        tokio::time::timeout(Duration::from_millis(500), chunks.next()).await
    {
        seen.push(serde_json::from_slice::<Value>(&message.payload).unwrap());
    }
    let of = |kind: &str| seen.iter().find(|chunk| chunk["kind"] == kind).unwrap();
    assert_eq!(of("tool_call")["data"]["name"], "calculator");
    assert_eq!(
        of("tool_call")["data"]["toolUseId"],
        of("tool_result")["data"]["toolUseId"]
    );
    let seqs: Vec<u64> = seen
        .iter()
        .map(|chunk| chunk["seq"].as_u64().unwrap())
        .collect();
    let gapless: Vec<u64> = (1..=seqs.len() as u64).collect();
    assert_eq!(seqs, gapless);
}

#[tokio::test]
async fn a_budget_ends_a_run_by_name_with_what_there_is() {
    let swarm = Swarm::start(TEAM, &["research_agent"], &FAST).await;
    swarm
        .follow(
            "rules:
- then: [{text: 'First of all: '}, {tool_call: {name: calculator, arguments: {expression: 6*7}}}]
",
        )
        .await;
    let submission = json!({"task": "How much?", "budget": {"model_calls": 1}});
    let (_, result) = swarm.ask("research_agent", &submission).await;
    assert_eq!(result["status"], "failed", "{result}");
    assert_eq!(result["reason"]["code"], "SW-BUDGET", "{result}");
    assert_eq!(result["text"], "First of all:", "{result}");
    assert_eq!(result["usage"]["model_calls"], 1, "{result}");
}

#[tokio::test]
async fn tools_that_are_not_there_are_told_and_done_without() {
    let configuration = "
agents:
  research_agent: {tools: [calculator, web_serch]}
";
    let swarm = Swarm::start(configuration, &["research_agent"], &FAST).await;
    let log = swarm.agents[0].log();
    assert!(log.contains("missing=\"web_serch\""), "{log}");
    let (printed, _) = swarm.stack.swarm(&["doctor"]).await;
    assert!(
        printed.all().contains("research_agent has no web_serch"),
        "{printed:?}"
    );
    let (_, result) = swarm.ask("research_agent", &json!("How much?")).await;
    assert_eq!(result["status"], "completed", "{result}");
}
