//! Many tasks at once, and processes that die all the time.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use swarm_protocol::{RunId, RunState};

use super::scene::{FAST, PATIENCE, Scene, count_ended, submit_somehow};
use super::{Outcome, Round};
use crate::{Process, eventually, holds};

/// The agents of the storm, with one worker each.
const AGENTS: [&str; 3] = ["research_agent", "creative_agent", "critical_agent"];

/// Tasks of the storm.
const TASKS: usize = 2000;

/// How often one of the processes is killed.
const KILL_EVERY: Duration = Duration::from_secs(1);

/// With every so many kills, the server is killed too.
const SERVER_EVERY: u32 = 10;

/// Most that a process may have in memory.
pub(super) const MOST_MEMORY_KIB: u64 = 256 * 1024;

/// Tasks of 20 ms over three agents and two coordinators, of which one is killed and started again every second, and the
/// server every ten seconds.
pub async fn storm(mut round: Round) -> Outcome {
    let mut scene = Scene::start(&FAST).await;
    let coordinators = [
        scene.stack.coordinator().await,
        scene.stack.coordinator().await,
    ];
    let workers = AGENTS.map(|agent| scene.worker(agent));
    let mut processes: Vec<Process> = coordinators.into_iter().chain(workers).collect();
    scene.stack.agents_are_ready(3).await;
    let submitter = scene.connect_as("client").await;
    let submitting = tokio::spawn(async move {
        let mut runs: Vec<RunId> = Vec::new();
        for agent in AGENTS {
            let share = (0..TASKS).filter(|n| AGENTS[n % 3] == agent);
            let tasks = share.map(|n| format!("ledger t{n} ms=20 hold=0"));
            runs.extend(submit_somehow(&submitter, agent, tasks).await);
        }
        runs
    });
    let client = scene.connect_as("client").await;
    let began = Instant::now();
    let mut kills: u32 = 0;
    loop {
        let next = KILL_EVERY * kills + round.moment(KILL_EVERY);
        tokio::time::sleep(next.saturating_sub(began.elapsed())).await;
        if count_ended(&client).await >= Some(TASKS as u64) {
            break;
        }
        assert!(began.elapsed() < PATIENCE * 10, "{kills} kills, and no end");
        kills += 1;
        if kills.is_multiple_of(SERVER_EVERY) {
            scene.stack.server.kill_and_restart().await;
        }
        let struck = round.pick(processes.len());
        processes[struck].kill_9();
        processes[struck] = match struck {
            0 | 1 => scene.stack.coordinator_soon(),
            other => scene.worker(AGENTS[other - 2]),
        };
    }
    let took = began.elapsed();
    let runs = submitting.await.unwrap();
    assert_eq!(runs.len(), TASKS);
    // What was answered last may wait for the acknowledgement of one who was killed.
    let (history, tally) = scene.check(&runs).await;
    eprintln!("storm: {TASKS} tasks in {took:?}, {kills} kills");
    assert_eq!(history.ended_as(RunState::Completed), TASKS);
    Outcome {
        tally,
        recovery: history.longest_stall(),
    }
}

/// More submissions than are worked on at a time: every process stays small, and all of them are done.
pub async fn flood(round: Round) -> Outcome {
    let mut scene = Scene::start(&FAST).await;
    scene.slots = 32;
    let coordinator = scene.stack.coordinator().await;
    let worker = scene.worker("research_agent");
    scene.stack.agents_are_ready(1).await;
    scene
        .stack
        .sim
        .follow("rules: [{then: [{text: done}]}]")
        .await;
    let count = round.size(5_000, 100_000);
    let client = scene.connect_as("client").await;
    let began = Instant::now();
    let tasks = (0..count).map(|n| format!("task {n}"));
    let runs = submit_somehow(&client, "research_agent", tasks).await;
    let submitted = began.elapsed();
    scene.ended(count, PATIENCE * 60).await;
    let recovery = began.elapsed() - submitted;
    eprintln!("flood: {count} submitted in {submitted:?}, all done {recovery:?} later");
    let server = scene.stack.server.process();
    for (name, process) in [
        ("nats-server", server),
        ("coordinator", &coordinator),
        ("worker", &worker),
    ] {
        let peak = process.peak_memory_kib();
        eprintln!("flood: {name} had at most {} MiB", peak / 1024);
        assert!(peak < MOST_MEMORY_KIB, "{name}: {peak} KiB");
    }
    let (history, tally) = scene.check(&runs).await;
    assert_eq!(history.ended_as(RunState::Completed), count);
    Outcome { tally, recovery }
}

/// A cancel that is sent while 2,000 submissions wait in the inbox reaches the model as soon as any other.
pub async fn cancel_in_a_flood(_round: Round) -> Outcome {
    let mut scene = Scene::start(&FAST).await;
    scene.slots = 8;
    let coordinator = scene.stack.coordinator().await;
    let _worker = scene.worker("research_agent");
    scene.stack.agents_are_ready(1).await;
    let rules = "rules: [{when: {user: slow}, then: [{latency: 60s}, {text: late}]}, {then: [{text: done}]}]";
    scene.stack.sim.follow(rules).await;
    let slow = scene.submit_one("research_agent", "slow").await;
    scene.models_at_work(1).await;
    coordinator.signal(Signal::SIGSTOP);
    let quick = (0..2000).map(|n| format!("task {n}"));
    let mut runs = scene.submit("research_agent", quick).await;
    runs.push(slow);
    let waiting = scene.stack.observe("STREAM.INFO.SWARM_INBOX").await;
    assert_eq!(waiting["state"]["messages"], 2000, "{waiting}");
    let client = scene.connect_as("client").await;
    coordinator.signal(Signal::SIGCONT);
    let asked = Instant::now();
    let reply = client
        .request("swarm.cancel", slow.to_string().into())
        .await;
    let reply: Value = serde_json::from_slice(&reply.unwrap().payload).unwrap();
    assert_eq!(reply, json!({ "run": slow, "state": "canceling" }));
    let answered = asked.elapsed();
    eventually("the connection is closed", PATIENCE, || async {
        holds(scene.stack.sim.disconnected().await == 1)
    })
    .await;
    let recovery = asked.elapsed();
    let waiting = scene.stack.observe("STREAM.INFO.SWARM_INBOX").await;
    let left = &waiting["state"]["messages"];
    eprintln!("cancel: answered after {answered:?}, closed after {recovery:?}, {left} still wait");
    assert!(recovery < Duration::from_secs(1), "{recovery:?}");
    scene.ended(runs.len(), PATIENCE * 2).await;
    let (history, tally) = scene.check(&runs).await;
    assert_eq!(history.ended_as(RunState::Canceled), 1);
    Outcome { tally, recovery }
}
