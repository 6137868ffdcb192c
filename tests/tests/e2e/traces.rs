//! Traces: a run is one trace, whichever processes worked on it, and whatever becomes of them or of the collector.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::time::Duration;

use nix::sys::signal::Signal;
use swarm_tests::otlp::Span;
use swarm_tests::{Collector, Home, Process, Stack, eventually, holds};

use crate::FAST;

const PATIENCE: Duration = Duration::from_secs(20);
const SLOW: [&str; 4] = ["--latency", "1500ms", "--tokens-per-second", "0"];
const TEAM: [&str; 4] = [
    "research_agent",
    "creative_agent",
    "critical_agent",
    "summarizer_agent",
];

/// A stack whose processes export to a collector, and whose lost workers are noticed after two seconds of silence.
async fn stack(sim: &[&str]) -> (Stack, Collector) {
    let mut stack = Stack::start(sim).await;
    let collector = Collector::start(stack.folder()).await;
    for (name, value) in collector.settings() {
        stack.set(name, value);
    }
    stack.set("SWARM_NATS_WORK_ACK_WAIT", "2s");
    (stack, collector)
}

async fn model_is_at_work(stack: &Stack, requests: usize) {
    eventually("the model is at work", PATIENCE, || async {
        holds(stack.sim.chats("running").await.len() == requests)
    })
    .await;
}

/// The spans of a run of these agents, once all have come. Checked: they are one trace, whose parents are all there.
async fn whole_trace(collector: &Collector, agents: &[&str]) -> Vec<Span> {
    let spans = eventually("all spans are there", PATIENCE, || async {
        let spans = collector.spans();
        let count = |operation| of(&spans, operation).len();
        let chats = of(&spans, "chat").into_iter();
        let chatted: BTreeSet<&str> = chats.map(|it| it.attribute("gen_ai.agent.name")).collect();
        let whole = count("invoke_workflow") >= 1
            && count("invoke_agent") >= agents.len()
            && agents.iter().all(|agent| chatted.contains(agent));
        whole.then_some(spans)
    })
    .await;
    let traces: BTreeSet<&str> = spans.iter().map(|span| span.trace.as_str()).collect();
    assert_eq!(traces.len(), 1, "{spans:#?}");
    let ids: BTreeMap<&str, &str> = spans
        .iter()
        .map(|span| (span.id.as_str(), span.operation()))
        .collect();
    assert_eq!(ids.len(), spans.len(), "each span is told once: {spans:#?}");
    for span in &spans {
        let parent = ids.get(span.parent.as_str()).copied();
        let expected = match span.operation() {
            "invoke_agent" => Some("invoke_workflow"),
            "chat" | "execute_tool" => Some("invoke_agent"),
            _ => None,
        };
        assert_eq!(parent, expected, "{span:#?}");
        assert!(span.time[0] <= span.time[1], "{span:#?}");
    }
    assert_eq!(of(&spans, "invoke_workflow").len(), 1, "{spans:#?}");
    let mut asked: Vec<&str> = of(&spans, "invoke_agent")
        .into_iter()
        .map(|span| span.attribute("gen_ai.agent.name"))
        .collect();
    asked.sort_unstable();
    let mut expected = agents.to_vec();
    expected.sort_unstable();
    assert_eq!(asked, expected);
    spans
}

fn of<'a>(spans: &'a [Span], operation: &str) -> Vec<&'a Span> {
    let these = spans.iter().filter(|span| span.operation() == operation);
    these.collect()
}

/// The agent's attempt.
fn attempt<'a>(spans: &'a [Span], agent: &str) -> &'a Span {
    let attempts = of(spans, "invoke_agent");
    let mut own = attempts
        .into_iter()
        .filter(|span| span.attribute("gen_ai.agent.name") == agent);
    own.next().unwrap()
}

#[tokio::test]
async fn one_trace_holds_a_fan_out_whose_worker_was_killed() {
    let (stack, collector) = stack(&SLOW).await;
    let _coordinator = stack.coordinator().await;
    let mut agents: Vec<Process> = TEAM.iter().map(|agent| stack.agent(agent)).collect();
    stack.agents_are_ready(4).await;
    let run = stack.submit("the question of a person", &[]).await;
    model_is_at_work(&stack, 3).await;
    agents[0].kill_9();
    let _next = stack.agent(TEAM[0]);
    assert_eq!(stack.result(&run).await["status"], "completed");
    let spans = whole_trace(&collector, &TEAM).await;
    assert_eq!(spans[0].trace, run.replace('-', ""));
    let workflow = of(&spans, "invoke_workflow")[0];
    assert_eq!(workflow.parent, "", "nobody submitted it with a trace");
    assert_eq!(workflow.attribute("swarm.run.state"), "completed");
    for span in &spans {
        assert_eq!(span.attribute("swarm.run"), run);
        assert_eq!(span.attribute("error.type"), "");
        let role = match span.operation() {
            "chat" | "execute_tool" => "swarm-agent",
            _ => "swarm-coordinator",
        };
        assert_eq!(span.attribute("service.name"), role);
    }
    let deliveries = TEAM.map(|agent| attempt(&spans, agent).attribute("swarm.delivery"));
    assert_eq!(deliveries, ["2", "1", "1", "1"]);
    assert_eq!(of(&spans, "chat").len(), 4, "the killed one told nothing");
    // What persons and models write is not exported.
    let text = collector.text();
    assert!(!text.contains("question of a person") && !text.contains(".messages"));
}

#[tokio::test]
async fn a_run_stays_one_trace_when_its_coordinator_is_killed() {
    let (stack, collector) = stack(&SLOW).await;
    let mut first = stack.coordinator().await;
    let _agent = stack.agent(TEAM[0]);
    stack.agents_are_ready(1).await;
    // By hand, without a trace: every coordinator has to find the same one.
    let ticket = stack
        .nats(&["req", "swarm.submit.research_agent", "question"])
        .await;
    assert!(ticket.all().contains("SWARM_INBOX"), "{ticket:?}");
    model_is_at_work(&stack, 1).await;
    first.kill_9();
    let _second = stack.coordinator().await;
    let spans = whole_trace(&collector, &TEAM[..1]).await;
    let run = spans[0].attribute("swarm.run").to_owned();
    assert_eq!(stack.result(&run).await["status"], "completed");
    assert_eq!(spans[0].trace, run.replace('-', ""));
}

#[tokio::test]
async fn a_run_is_beneath_the_span_of_whoever_asked() {
    let (stack, collector) = stack(&FAST).await;
    let _coordinator = stack.coordinator().await;
    let _agent = stack.agent(TEAM[0]);
    stack.agents_are_ready(1).await;
    let (trace, span) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
    let header = format!("traceparent:00-{trace}-{span}-01");
    let ask = ["req", "swarm.ask.research_agent", "Why?", "--timeout=60s"];
    let answer = stack.nats(&[&ask[..], &["-H", &header]].concat()).await;
    assert!(answer.all().contains(trace), "{answer:?}");
    let spans = whole_trace(&collector, &TEAM[..1]).await;
    let workflow = of(&spans, "invoke_workflow")[0];
    assert_eq!(
        [workflow.trace.as_str(), workflow.parent.as_str()],
        [trace, span]
    );
    // Who records nothing wants nothing recorded.
    let unsampled = header.replace("-01", "-00");
    stack.nats(&[&ask[..], &["-H", &unsampled]].concat()).await;
    stack.nats(&ask).await;
    let second = eventually("the third run is told", PATIENCE, || async {
        let spans = collector.spans();
        let workflows = of(&spans, "invoke_workflow").len();
        (workflows > 1 && of(&spans, "chat").len() > 1).then_some(spans)
    })
    .await;
    let workflows = of(&second, "invoke_workflow");
    let parents: BTreeSet<&str> = workflows.iter().map(|it| it.parent.as_str()).collect();
    assert_eq!(parents, BTreeSet::from([span, ""]), "{workflows:#?}");
}

#[tokio::test]
async fn a_canceled_run_is_told_with_all_that_it_broke_off() {
    let (stack, collector) = stack(&["--latency", "60s"]).await;
    let _coordinator = stack.coordinator().await;
    let _agents: Vec<Process> = TEAM[..2].iter().map(|agent| stack.agent(agent)).collect();
    stack.agents_are_ready(2).await;
    let agents = TEAM[..2].join(",");
    let run = stack.submit("question", &["--agents", &agents]).await;
    model_is_at_work(&stack, 2).await;
    let (_, code) = stack.swarm(&["runs", "cancel", &run]).await;
    assert_eq!(code, 0);
    let spans = whole_trace(&collector, &TEAM[..2]).await;
    let errors: BTreeSet<(&str, &str)> = spans
        .iter()
        .map(|span| (span.operation(), span.attribute("error.type")))
        .collect();
    assert_eq!(
        errors,
        BTreeSet::from([
            ("invoke_workflow", "SW-CANCELED"),
            ("invoke_agent", "SW-CANCELED"),
            ("chat", "interrupted"),
        ])
    );
}

#[tokio::test]
async fn a_collector_that_is_away_or_silent_changes_nothing() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let away = closed.local_addr().unwrap();
    drop(closed);
    // Connections are taken by the system, and never answered.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    for address in [away, silent.local_addr().unwrap()] {
        let mut stack = Stack::start(&FAST).await;
        stack.set("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{address}"));
        stack.set("OTEL_BSP_SCHEDULE_DELAY", "50");
        // Whoever waited for it would do so for longer than the test.
        stack.set("OTEL_EXPORTER_OTLP_TIMEOUT", "600000");
        let coordinator = stack.coordinator().await;
        let agent = stack.agent(TEAM[0]);
        stack.agents_are_ready(1).await;
        for question in ["one", "two", "three"] {
            let run = stack.submit(question, &["--agents", TEAM[0]]).await;
            assert_eq!(stack.result(&run).await["status"], "completed");
        }
        if address == away {
            let warning = "traces are not taken, and dropped meanwhile";
            coordinator.says(warning, PATIENCE).await;
            agent.says(warning, PATIENCE).await;
        }
        for mut process in [agent, coordinator] {
            process.signal(Signal::SIGTERM);
            let status = process.ends(PATIENCE).await;
            assert_eq!(status.code(), Some(0), "{}", process.log());
            let log = process.log();
            let warnings = log.lines().filter(|line| line.contains("WARN"));
            let mut about: Vec<&str> = warnings.filter(|it| it.contains("traces")).collect();
            let expected = usize::from(address == away);
            assert_eq!(about.len(), expected, "{log}");
            about.retain(|line| !line.contains(&address.to_string()));
            assert_eq!(about, [""; 0]);
        }
    }
}

#[tokio::test]
async fn a_variable_that_does_not_fit_is_named_and_nothing_fails() {
    let mut stack = Stack::start(&FAST).await;
    stack.set("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9");
    stack.set("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
    let coordinator = stack.coordinator().await;
    let log = coordinator.log();
    let warning = "OTEL_EXPORTER_OTLP_PROTOCOL: `grpc` is not spoken, no traces are exported";
    assert!(log.contains(warning), "{log}");
    assert!(!log.contains("traces are exported to"), "{log}");
}

#[tokio::test]
async fn a_stack_passes_the_variables_on_and_content_is_exported_when_it_is_asked_for() {
    let mut home = Home::default();
    let collector = Collector::start(home.folder()).await;
    for (name, value) in collector.settings() {
        home.set(name, value);
    }
    home.set("OTEL_SERVICE_NAME", "ours");
    home.set("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test");
    home.set("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "true");
    home.up(&[]).await;
    let run = home.submit("the question of a person", TEAM[0]).await;
    home.completes(&run).await;
    let spans = whole_trace(&collector, &TEAM[..1]).await;
    for span in &spans {
        assert_eq!(span.attribute("service.name"), "ours");
        let said = match span.operation() {
            "invoke_agent" => "gen_ai.output.messages",
            _ => "gen_ai.input.messages",
        };
        let said = span.attribute(said);
        assert!(said.starts_with(r#"[{"role":"#), "{span:#?}");
    }
    let workflow = of(&spans, "invoke_workflow")[0];
    assert_eq!(
        workflow.attribute("gen_ai.input.messages"),
        r#"[{"role":"user","parts":[{"type":"text","content":"the question of a person"}]}]"#
    );
    assert!(collector.text().contains("deployment.environment"));
}

#[tokio::test]
async fn a_call_of_a_tool_is_a_span_of_its_attempt() {
    let (mut stack, collector) = stack(&FAST).await;
    stack.configure("agents: {research_agent: {tools: [calculator]}}");
    let _coordinator = stack.coordinator().await;
    let _agent = stack.agent("research_agent");
    stack.agents_are_ready(1).await;
    let run = stack.submit("How much?", &[]).await;
    assert_eq!(stack.result(&run).await["status"], "completed");
    eventually("the call and both turns are told", PATIENCE, || async {
        let spans = collector.spans();
        holds(of(&spans, "execute_tool").len() == 1 && of(&spans, "chat").len() == 2)
    })
    .await;
    let spans = whole_trace(&collector, &["research_agent"]).await;
    let call = of(&spans, "execute_tool")[0];
    assert_eq!(call.attribute("gen_ai.tool.name"), "calculator");
    assert_eq!(call.attribute("gen_ai.agent.name"), "research_agent");
    assert_eq!(of(&spans, "chat").len(), 2);
}
