//! `swarm up` looks after its processes: it starts them again, says why one does not start, stops them in order, and what is
//! left of an `up` that was killed is cleared away.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use swarm_tests::{Home, Process, eventually, holds};

const PATIENCE: Duration = Duration::from_secs(20);

/// Flags of a stack whose models answer at once.
const AT_ONCE: [&str; 4] = [
    "--simulate-latency",
    "0ms",
    "--simulate-tokens-per-second",
    "0",
];

/// Flags of a stack whose models think for a while.
const THOUGHTFUL: [&str; 4] = [
    "--simulate-latency",
    "1s",
    "--simulate-tokens-per-second",
    "0",
];

fn signal(pid: &Value, signal: Signal) {
    let pid = pid.as_i64().and_then(|pid| i32::try_from(pid).ok());
    kill(Pid::from_raw(pid.expect("a process id")), signal).unwrap();
}

/// Kills a child, and waits until `status` shows that it was started once more.
async fn kill_and_see_it_restart(home: &Home, name: &str) {
    let before = home.child(name).await;
    signal(&before["pid"], Signal::SIGKILL);
    let restarts = before["restarts"].as_u64().unwrap() + 1;
    let after = eventually("it is started again", PATIENCE, || async {
        let child = home.child(name).await;
        (child["restarts"] == restarts && child["state"] == "running").then_some(child)
    })
    .await;
    assert_ne!(after["pid"], before["pid"], "{after}");
    assert_eq!(after["last_error"], "was killed by signal 9", "{after}");
}

async fn is_at_work(home: &Home, agent: &str) {
    eventually("the agent is at work", PATIENCE, || async {
        let status = home.swarm_json(&["status"]).await;
        let cards = status["agents"].as_array()?;
        holds(
            cards
                .iter()
                .any(|card| card["agent"] == agent && card["busy"] == 1),
        )
    })
    .await;
}

#[tokio::test]
async fn from_nothing_to_an_answer_and_back_to_nothing() {
    let home = Home::default();
    let (printed, code) = home
        .shell("swarm up --detach --simulate && swarm status && nats req swarm.ask hello && swarm down")
        .await;
    assert_eq!(code, 0, "{printed:?}\n{}", home.log());
    for shown in [
        "nats-server",
        "coordinator",
        "research_agent",
        "SIMULATED llama3.2:3b",
    ] {
        assert!(printed.out.contains(shown), "{shown} in {}", printed.out);
    }
    assert_eq!(home.processes(), Vec::<String>::new());

    // Nothing is running: status says so, and down has nothing to do.
    let (printed, code) = home.swarm(&["status"]).await;
    assert_eq!((code, printed.err.lines().count()), (3, 1), "{printed:?}");
    assert!(printed.err.contains("swarm up"), "{printed:?}");
    let (printed, code) = home.swarm(&["down"]).await;
    assert_eq!(code, 0, "{printed:?}");
    assert!(printed.err.contains("nothing is running"), "{printed:?}");
}

#[tokio::test]
async fn whoever_is_killed_is_started_again_and_nothing_is_lost() {
    let mut home = Home::default();
    home.set("SWARM_NATS_WORK_ACK_WAIT", "2s");
    home.up(&THOUGHTFUL).await;
    let (printed, code) = home
        .swarm(&["run", "before", "--detach", "--aggregate", "summarize"])
        .await;
    assert_eq!(code, 0, "{printed:?}");
    is_at_work(&home, "research_agent").await;
    for child in [
        "nats-server",
        "coordinator",
        "research_agent",
        "creative_agent",
        "critical_agent",
        "summarizer_agent",
    ] {
        kill_and_see_it_restart(&home, child).await;
    }
    home.completes(printed.out.trim()).await;
    kill_and_see_it_restart(&home, "ollama-sim").await;
    let after = home.submit("after", "research_agent").await;
    home.completes(&after).await;
    let (shown, code) = home.swarm(&["status"]).await;
    assert_eq!(code, 0, "{shown:?}");
    let killed = shown.out.matches("was killed by signal 9").count();
    assert_eq!(killed, 7, "{}", shown.out);
}

#[tokio::test]
async fn a_role_that_cannot_start_says_why_once_and_is_tried_again() {
    let mut home = Home::default();
    let file = home.folder().join("limits.yaml");
    let agents_at_most = |count: u32| {
        let yaml = format!(
            "agents: {{research_agent: {{}}, critical_agent: {{}}}}\nmcp: {{max_agents: {count}}}\n"
        );
        std::fs::write(&file, yaml).unwrap();
    };
    agents_at_most(2);
    home.set("SWARM_CONFIG", &file.display().to_string());
    home.up(&AT_ONCE).await;
    // From the next coordinator on there is room for one agent, and the other one has it.
    agents_at_most(1);
    kill_and_see_it_restart(&home, "coordinator").await;
    let killed = home.child("research_agent").await;
    signal(&killed["pid"], Signal::SIGKILL);
    let broken = eventually("it has been tried again", PATIENCE, || async {
        let child = home.child("research_agent").await;
        let refused = child["last_error"].as_str()?.contains("mcp.max_agents");
        (refused && child["restarts"].as_u64()? >= 3).then_some(child)
    })
    .await;
    let (shown, _) = home.swarm(&["status"]).await;
    assert!(shown.out.contains("mcp.max_agents"), "{}", shown.out);
    let log = home.log();
    let said = log.lines().filter(|line| line.contains("mcp.max_agents"));
    assert_eq!(said.count(), 1, "{broken}\n{log}");

    // Cards of the dead count until they are forgotten.
    agents_at_most(50);
    kill_and_see_it_restart(&home, "coordinator").await;
    let run = home.submit("t", "research_agent").await;
    home.completes(&run).await;
}

#[tokio::test]
async fn a_stack_that_is_stopped_at_work_drains_and_loses_nothing() {
    let mut home = Home::default();
    home.set("SWARM_RUNS_DEFAULT_AGENTS", "[research_agent]");
    let arguments = [&["up", "--simulate"], &THOUGHTFUL[..]].concat();
    let mut up = Process::start("up", home.swarm_command(&arguments), home.folder());
    up.says("swarm is ready", PATIENCE).await;
    let mut runs = Vec::new();
    for task in ["first", "second", "third"] {
        runs.push(home.submit(task, "research_agent").await);
    }
    is_at_work(&home, "research_agent").await;
    let began = Instant::now();
    up.signal(Signal::SIGTERM);
    let status = up.ends(PATIENCE).await;
    assert_eq!(status.code(), Some(0), "{}", up.log());
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "{:?}",
        began.elapsed()
    );
    assert!(!up.log().contains("is killed"), "{}", up.log());
    assert_eq!(home.processes(), Vec::<String>::new());

    home.up(&AT_ONCE).await;
    for run in &runs {
        home.completes(run).await;
    }
    let (first, _) = home.swarm(&["runs", "explain", &runs[0]]).await;
    assert_eq!(
        first.out.matches("research_agent taken by").count(),
        1,
        "{}",
        first.out
    );
}

#[tokio::test]
async fn what_a_killed_up_leaves_is_shown_and_cleared_away() {
    let home = Home::default();
    home.up(&THOUGHTFUL).await;
    let run = home.submit("before", "research_agent").await;
    is_at_work(&home, "research_agent").await;
    let simulator = home.child("ollama-sim").await["pid"].clone();
    let kill_up = async || {
        let status = home.swarm_json(&["status"]).await;
        signal(&status["up"]["pid"], Signal::SIGKILL);
        // The roles end by themselves. What they stand on does not know of their parent.
        eventually("the roles have ended", PATIENCE, || async {
            let roles = |process: &String| process.ends_with(" swarm");
            holds(!home.processes().iter().any(roles))
        })
        .await;
    };
    kill_up().await;
    let (shown, _) = home.swarm(&["status"]).await;
    let left =
        format!("left over by a `swarm up` that was killed: ollama-sim, process {simulator}");
    assert!(shown.out.contains(&left), "{shown:?}");
    let findings = home.swarm_json(&["doctor"]).await;
    let finding = findings["findings"]
        .as_array()
        .unwrap()
        .iter()
        .find(|finding| {
            finding["check"] == "processes" && finding["mend"] == "`swarm down` ends it"
        });
    assert!(finding.is_some(), "{findings}");

    // The next one clears it away and goes on with what is stored.
    home.up(&AT_ONCE).await;
    assert_ne!(home.child("ollama-sim").await["pid"], simulator);
    home.completes(&run).await;
    let simulators = |process: &&String| process.ends_with(" ollama-sim");
    assert_eq!(home.processes().iter().filter(simulators).count(), 1);

    kill_up().await;
    let (printed, code) = home.swarm(&["down"]).await;
    assert_eq!(code, 0, "{printed:?}");
    assert!(printed.err.contains("ollama-sim, process"), "{printed:?}");
    assert_eq!(home.processes(), Vec::<String>::new());
}
