//! `swarm up`: the whole stack by one command.

use std::time::Duration;

use nix::sys::signal::Signal;
use swarm_tests::process::free_port;
use swarm_tests::{Process, Stack, nats_cli, tools};

fn up(stack: &Stack, url: &str, more: &[&str]) -> std::process::Command {
    let mut command = stack.command(&[&["up", "--nats", url], more].concat());
    let path = std::env::var("PATH").unwrap_or_default();
    let tools = tools::installed("nats-server");
    command.env(
        "PATH",
        format!("{}:{path}", tools.parent().unwrap().display()),
    );
    command.env_remove("SWARM_OLLAMA_HOSTS");
    command
}

#[tokio::test]
async fn everything_is_started_used_and_stopped() {
    let stack = Stack::start(&[]).await;
    let url = format!("nats://127.0.0.1:{}", free_port());
    let mut process = Process::start("up", up(&stack, &url, &["--simulate"]), stack.folder());
    process
        .says("swarm is ready", Duration::from_secs(30))
        .await;
    let printed = nats_cli::nats(
        &url,
        &[
            "req",
            "swarm.ask",
            "Why is the sky blue?",
            "--timeout",
            "60s",
            "--raw",
        ],
    )
    .await;
    for agent in [
        "[SIMULATED",
        "research_agent",
        "creative_agent",
        "critical_agent",
    ] {
        assert!(printed.out.contains(agent), "{agent} in {printed:?}");
    }
    process.signal(Signal::SIGINT);
    let status = process.ends(Duration::from_secs(20)).await;
    assert_eq!(status.code(), Some(0), "{}", process.log());
    assert!(!process.log().contains("is killed"), "{}", process.log());
    let left = std::net::TcpStream::connect(url.strip_prefix("nats://").unwrap());
    assert!(left.is_err(), "the server is still there");
}

#[tokio::test]
async fn one_task_is_run_and_all_is_stopped() {
    let stack = Stack::start(&[]).await;
    let url = format!("nats://127.0.0.1:{}", free_port());
    let task = "Analyze the pros and cons of renewable energy";
    let agents = "research_agent,creative_agent,critical_agent";
    let command = up(
        &stack,
        &url,
        &["--simulate=auto", "--run", task, "--agents", agents],
    );
    let mut process = Process::start("up", command, stack.folder());
    let status = process.ends(Duration::from_secs(60)).await;
    assert_eq!(status.code(), Some(0), "{}", process.log());
    let out = process.out();
    for wanted in [
        "SIMULATED",
        "research_agent",
        "creative_agent",
        "critical_agent",
    ] {
        assert!(out.contains(wanted), "{wanted} in {out}");
    }
}

#[tokio::test]
async fn a_second_one_on_the_same_data_is_told_who_has_it() {
    let stack = Stack::start(&[]).await;
    let url = format!("nats://127.0.0.1:{}", free_port());
    let mut first = Process::start("up", up(&stack, &url, &["--simulate"]), stack.folder());
    first.says("swarm is ready", Duration::from_secs(30)).await;
    let mut second = Process::start("up", up(&stack, &url, &["--simulate"]), stack.folder());
    assert_eq!(second.ends(Duration::from_secs(10)).await.code(), Some(2));
    assert!(
        second.log().contains(&format!("process {}", first.pid())),
        "{}",
        second.log()
    );
    first.signal(Signal::SIGTERM);
    first.ends(Duration::from_secs(20)).await;
}

#[tokio::test]
async fn a_role_that_dies_is_started_again() {
    let stack = Stack::start(&[]).await;
    let url = format!("nats://127.0.0.1:{}", free_port());
    let mut process = Process::start("up", up(&stack, &url, &["--simulate"]), stack.folder());
    process
        .says("swarm is ready", Duration::from_secs(30))
        .await;
    let cards = nats_cli::nats(&url, &["req", "swarm.agents", "", "--raw"]).await;
    let cards: serde_json::Value = serde_json::from_str(&cards.out).unwrap();
    let pid = i32::try_from(cards["items"][0]["pid"].as_i64().unwrap()).unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    process
        .says("was killed by signal 9", Duration::from_secs(10))
        .await;
    let printed = nats_cli::nats(
        &url,
        &["req", "swarm.ask", "Still there?", "--timeout", "60s"],
    )
    .await;
    assert_eq!(
        printed.header("Swarm-Status").as_deref(),
        Some("completed"),
        "{printed:?}"
    );
    process.signal(Signal::SIGTERM);
    process.ends(Duration::from_secs(20)).await;
}
