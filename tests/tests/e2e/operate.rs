//! What an operator meets: why something waits, health and metrics, limits, deletion.

use std::time::Duration;

use serde_json::{Value, json};
use swarm_tests::process::free_port;
use swarm_tests::{Sim, Stack, eventually, holds};

use crate::FAST;

const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_run_waits_for_a_model_host_that_is_down_and_goes_on_when_it_is_up() {
    let mut stack = Stack::start(&FAST).await;
    let port = free_port();
    let host = format!("http://127.0.0.1:{port}");
    stack.set("SWARM_OLLAMA_HOSTS", &format!("[\"{host}\"]"));
    let _coordinator = stack.coordinator().await;
    let _agent = stack.agent("research_agent");
    stack.agents_are_ready(1).await;
    let run = stack.submit("t", &["--agents", "research_agent"]).await;
    let explanation = eventually("the host is named", PATIENCE, || async {
        let explanation = stack.swarm_json(&["runs", "explain", &run]).await;
        (explanation["waiting_for"]["kind"] == "host").then_some(explanation)
    })
    .await;
    let named = explanation["waiting_for"]["name"].as_str().unwrap();
    assert!(named.starts_with(&host), "{explanation}");
    let (told, _) = stack.swarm(&["runs", "explain", &run]).await;
    assert!(
        told.out.contains(&host) && told.out.contains("ollama serve"),
        "{told:?}"
    );
    let cards = stack.swarm_json(&["agents", "list"]).await;
    assert_eq!(cards["items"][0]["state"], "paused", "{cards}");
    assert!(
        cards["items"][0]["reason"]
            .as_str()
            .unwrap()
            .contains(&host),
        "{cards}"
    );

    let _host = Sim::start_on(port, stack.folder(), &FAST).await;
    assert_eq!(stack.result(&run).await["status"], "completed");
    let journal = stack.journal_of(&run, "research_agent").await;
    assert_eq!(journal.len(), 1, "the outage is no attempt: {journal:?}");
}

#[tokio::test]
async fn the_story_of_a_run_names_the_agent_that_nobody_runs() {
    let stack = Stack::start(&FAST).await;
    let _coordinator = stack.coordinator().await;
    let _agent = stack.agent("research_agent");
    stack.agents_are_ready(1).await;
    let run = stack
        .submit("t", &["--agents", "research_agent,critical_agent"])
        .await;
    let told = eventually("one has answered", PATIENCE, || async {
        let (told, code) = stack.swarm(&["runs", "explain", &run]).await;
        assert_eq!(code, 0, "{told:?}");
        told.out
            .contains("research_agent answered")
            .then_some(told.out)
    })
    .await;
    assert!(
        told.contains("critical_agent waits for critical_agent"),
        "{told}"
    );
    assert!(told.contains("`swarm agent critical_agent`"), "{told}");
}

#[tokio::test]
async fn the_time_of_a_run_is_split_into_waiting_and_model() {
    let stack = Stack::start(&["--latency", "300ms", "--tokens-per-second", "0"]).await;
    let _coordinator = stack.coordinator().await;
    let run = stack.submit("t", &["--agents", "research_agent"]).await;
    let _agent = stack.agent("research_agent");
    let result = stack.result(&run).await;
    let explanation = stack.swarm_json(&["runs", "explain", &run]).await;
    let time = &explanation["time"];
    let [waiting, model, tool] =
        ["waiting_ms", "model_ms", "tool_ms"].map(|name| time[name].as_u64().unwrap());
    let elapsed = result["elapsed_ms"].as_u64().unwrap();
    assert!(model >= 300, "{explanation}");
    assert_eq!(tool, 0, "{explanation}");
    // To the millisecond of two clocks: waiting and work are the whole of it.
    assert!(
        (waiting + model).abs_diff(elapsed) < 60,
        "{elapsed} {explanation}"
    );
    let lines: Vec<&str> = explanation["story"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| line["what"].as_str().unwrap())
        .collect();
    for (line, begins) in lines.iter().zip([
        "submitted",
        "accepted by coordinator",
        "asked research_agent",
        "research_agent taken by instance",
        "research_agent answered: ",
        "completed",
    ]) {
        assert!(line.starts_with(begins), "{begins} in {lines:?}");
    }
}

/// The value of a metric, all its label sets together.
fn sum(page: &str, metric: &str) -> f64 {
    let lines = page.lines().filter(|line| {
        line.strip_prefix(metric)
            .is_some_and(|rest| rest.starts_with(['{', ' ']))
    });
    lines
        .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
        .sum()
}

async fn page(address: &str, path: &str) -> (u16, String) {
    let response = reqwest::get(format!("http://{address}{path}"))
        .await
        .unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

#[tokio::test]
async fn metrics_add_up_to_what_is_listed() {
    let mut stack = Stack::start(&FAST).await;
    stack.set("SWARM_RUNS_RETRY__MAX", "0");
    let [coordinators, agents] = [free_port(), free_port()].map(|port| format!("127.0.0.1:{port}"));
    stack.set("SWARM_HEALTH", &coordinators);
    let _coordinator = stack.coordinator().await;
    stack.set("SWARM_HEALTH", &agents);
    let _agent = stack.agent("research_agent");
    stack.agents_are_ready(1).await;
    let client = stack.server.connect_as("client").await;
    for n in 0..100 {
        let (task, subject) = match n {
            0..90 => (format!("task {n}"), "swarm.submit.research_agent"),
            90..95 => (
                "[[sim:cut]] broken".to_owned(),
                "swarm.submit.research_agent",
            ),
            _ => (format!("task {n}"), "swarm.submit.nobody"),
        };
        client.publish(subject, task.into()).await.unwrap();
    }
    client.flush().await.unwrap();
    let listed = eventually("all have ended", Duration::from_secs(60), || async {
        let listed = stack.swarm_json(&["runs", "list", "--limit", "200"]).await;
        let items = listed["items"].as_array().unwrap().clone();
        let ended = items.iter().filter(|item| item.get("ended_at").is_some());
        (ended.count() == 100).then_some(items)
    })
    .await;
    let (status, metrics) = page(&coordinators, "/metrics").await;
    assert_eq!(status, 200);
    assert_eq!(
        sum(&metrics, "swarm_runs_submitted_total"),
        100.0,
        "{metrics}"
    );
    for state in ["completed", "failed", "rejected"] {
        let expected = listed.iter().filter(|item| item["state"] == state).count() as f64;
        for metric in ["swarm_runs", "swarm_runs_ended_total"] {
            let found = sum(&metrics, &format!("{metric}{{state=\"{state}\"}}"));
            assert_eq!(found, expected, "{metric} {state}: {metrics}");
        }
        assert!(expected > 0.0, "{state}");
    }
    assert!(sum(&metrics, "swarm_stream_max_bytes") > 0.0, "{metrics}");
    let (_, metrics) = page(&agents, "/metrics").await;
    assert_eq!(sum(&metrics, "swarm_attempts_total"), 95.0, "{metrics}");
    assert_eq!(
        sum(&metrics, "swarm_model_seconds_count"),
        90.0,
        "{metrics}"
    );
    assert!(sum(&metrics, "swarm_model_tokens_total") > 0.0, "{metrics}");
    assert_eq!(sum(&metrics, "swarm_slots"), 1.0, "{metrics}");
    for address in [&coordinators, &agents] {
        assert_eq!(page(address, "/healthz").await.0, 200);
        assert_eq!(page(address, "/readyz").await.0, 200);
        let (_, code) = stack.swarm(&["healthcheck", address]).await;
        assert_eq!(code, 0);
    }
}

#[tokio::test]
async fn health_says_what_keeps_a_role_from_work() {
    let mut stack = Stack::start(&FAST).await;
    let address = format!("127.0.0.1:{}", free_port());
    stack.set("SWARM_HEALTH", &address);
    let _agent = stack.agent("research_agent");
    let said = eventually("it is up and not ready", PATIENCE, || async {
        let response = reqwest::get(format!("http://{address}/readyz"))
            .await
            .ok()?;
        let status = response.status().as_u16();
        let said = response.text().await.ok()?;
        (status == 503 && said.contains("swarm coordinator")).then_some(said)
    })
    .await;
    let (printed, code) = stack.swarm(&["healthcheck", &address]).await;
    assert_eq!(
        (code, printed.err.trim()),
        (1, format!("swarm: {}", said.trim()).as_str())
    );
}

#[tokio::test]
async fn health_for_other_machines_needs_a_token() {
    let mut stack = Stack::start(&FAST).await;
    let port = free_port();
    let (printed, code) = stack
        .swarm(&["coordinator", "--health", &format!("0.0.0.0:{port}")])
        .await;
    assert_eq!(code, 2, "{printed:?}");
    assert!(printed.err.contains("SWARM_HEALTH_TOKEN"), "{printed:?}");

    stack.set("SWARM_HEALTH_TOKEN", "secret-token");
    stack.set("SWARM_HEALTH", &format!("0.0.0.0:{port}"));
    let coordinator = stack.coordinator().await;
    let metrics = format!("http://127.0.0.1:{port}/metrics");
    assert_eq!(reqwest::get(&metrics).await.unwrap().status(), 401);
    let authorized = reqwest::Client::new()
        .get(&metrics)
        .bearer_auth("secret-token");
    assert_eq!(authorized.send().await.unwrap().status(), 200);
    assert_eq!(page(&format!("127.0.0.1:{port}"), "/readyz").await.0, 200);
    assert!(!coordinator.log().contains("secret-token"));
}

#[tokio::test]
async fn submissions_wait_while_as_many_runs_are_open_as_may_be() {
    let mut stack = Stack::start(&FAST).await;
    stack.set("SWARM_RUNS_MAX_OPEN", "3");
    let _coordinator = stack.coordinator().await;
    let client = stack.server.connect_as("client").await;
    for n in 0..5 {
        client
            .publish("swarm.submit.research_agent", format!("{n}").into())
            .await
            .unwrap();
    }
    client.flush().await.unwrap();
    let held = eventually("submissions are held", PATIENCE, || async {
        let stats = client.request("$SRV.STATS.swarm", "".into()).await.ok()?;
        let stats: Value = serde_json::from_slice(&stats.payload).ok()?;
        let endpoints = stats["endpoints"].as_array()?;
        let runs = endpoints
            .iter()
            .find(|endpoint| endpoint["name"] == "runs")?;
        let held = runs["data"]["held"].as_str()?.to_owned();
        (runs["data"]["open"] == 3).then_some(held)
    })
    .await;
    assert!(held.contains("runs.max_open"), "{held}");
    let listed = stack.swarm_json(&["runs", "list"]).await;
    assert_eq!(listed["items"].as_array().unwrap().len(), 3, "{listed}");

    let _agent = stack.agent("research_agent");
    eventually("all five are done", PATIENCE, || async {
        let listed = stack
            .swarm_json(&["runs", "list", "--state", "completed"])
            .await;
        holds(
            listed["items"]
                .as_array()
                .is_some_and(|items| items.len() == 5),
        )
    })
    .await;
}

#[tokio::test]
async fn more_agents_than_may_be_are_refused() {
    let mut stack = Stack::start(&FAST).await;
    stack.set("SWARM_MCP_MAX_AGENTS", "1");
    let _coordinator = stack.coordinator().await;
    let _first = stack.agent("research_agent");
    stack.agents_are_ready(1).await;
    let mut second = stack.agent("research_agent");
    assert_eq!(
        second.ends(PATIENCE).await.code(),
        Some(1),
        "{}",
        second.log()
    );
    assert!(second.log().contains("mcp.max_agents"), "{}", second.log());
}

#[tokio::test]
async fn a_run_that_has_ended_can_be_forgotten() {
    let stack = Stack::start(&FAST).await;
    let _coordinator = stack.coordinator().await;
    let open = stack.submit("kept", &["--agents", "critical_agent"]).await;
    let (printed, code) = stack.swarm(&["runs", "delete", &open]).await;
    assert_eq!(code, 1, "{printed:?}");
    assert!(printed.err.contains("cancel it first"), "{printed:?}");

    let _agent = stack.agent("research_agent");
    let run = stack
        .submit("a secret", &["--agents", "research_agent"])
        .await;
    stack.result(&run).await;
    for _again in 0..2 {
        let (printed, code) = stack.swarm(&["runs", "delete", &run]).await;
        assert_eq!(
            (printed.out.trim(), code),
            (format!("{run} deleted").as_str(), 0)
        );
    }
    let log = stack.log_of(&run).await;
    assert_eq!(log.len(), 1, "{log:?}");
    assert_eq!(
        (&log[0]["type"], &log[0]["n"]),
        (&json!("deleted"), &json!(3))
    );
    assert!(!log[0].to_string().contains("secret"), "{log:?}");
    assert_eq!(
        stack.journal_of(&run, "research_agent").await,
        Vec::<Value>::new()
    );
    let listed = stack.swarm_json(&["runs", "list"]).await;
    let ids: Vec<&str> = listed["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["run"].as_str().unwrap())
        .collect();
    assert_eq!(ids, [open.as_str()]);
    let (printed, code) = stack.swarm(&["runs", "show", &run]).await;
    assert_eq!(code, 1, "{printed:?}");

    // A coordinator that starts later sees the same.
    drop(_coordinator);
    let _next = stack.coordinator().await;
    let listed = stack.swarm_json(&["runs", "list"]).await;
    assert_eq!(listed["items"].as_array().unwrap().len(), 1, "{listed}");
}
