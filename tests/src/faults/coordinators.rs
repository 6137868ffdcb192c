//! Coordinators that are killed, stopped, or all away.

use std::time::{Duration, Instant};

use futures_util::future::join_all;

use nix::sys::signal::Signal;

use super::scene::{AGENT, FAST, PATIENCE, Scene};
use super::{Outcome, Round, lasts};
use crate::proxy::{Direction, Proxy, Trap};
use crate::{eventually, holds};

/// What a coordinator does with a submission and with the end of a task, and where it is held in it: before the event is
/// stored (C3), before it knows that it is (C5), before its effects (C6), between two of them (C7), before the acknowledgement
/// (C4).
const STEPS: [Trap; 8] = [
    trap("PUB swarm.run.", 0, Direction::ToServer),
    trap("PUB swarm.run.", 0, Direction::ToClient),
    trap("PUB swarm.work.", 0, Direction::ToServer),
    trap("PUB swarm.work.", 1, Direction::ToServer),
    trap("PUB $JS.ACK.SWARM_INBOX", 0, Direction::ToServer),
    trap("PUB swarm.run.", 1, Direction::ToServer),
    trap("PUB swarm.run.", 3, Direction::ToClient),
    trap("PUB $JS.ACK.SWARM_RUNS", 0, Direction::ToServer),
];

const fn trap(word: &'static str, after: usize, hold: Direction) -> Trap {
    Trap { word, after, hold }
}

/// At each step the coordinator is killed; another one carries on.
pub async fn killed_at_each_step(_round: Round) -> Outcome {
    let outcomes = join_all(STEPS.map(killed_at)).await.into_iter();
    outcomes.fold(Outcome::default(), Outcome::and)
}

async fn killed_at(trap: Trap) -> Outcome {
    let scene = Scene::start(&FAST).await;
    let proxy = Proxy::open(&scene.stack.server.url()).await;
    let mut first = scene.stack.coordinator_by(&proxy.url()).await;
    let team = ["research_agent", "creative_agent", "critical_agent"];
    let _workers = team.map(|agent| scene.worker(agent));
    scene.stack.agents_are_ready(3).await;
    proxy.trap(trap);
    let task = r#"{"task": "ledger t ms=5 hold=0", "agents": ["research_agent", "creative_agent", "critical_agent"], "aggregate": "concat"}"#;
    let run = scene.submit_to("swarm.submit", task).await;
    proxy.trapped(PATIENCE).await;
    let _second = scene.stack.coordinator().await;
    first.kill_9();
    proxy.cut();
    let killed = Instant::now();
    scene.ended(1, PATIENCE).await;
    let recovery = killed.elapsed();
    let (_, tally) = scene.check(&[run]).await;
    assert_eq!(tally.executed_twice, 0, "no effect ran twice");
    Outcome { tally, recovery }
}

/// All coordinators are away: workers finish what they have, submissions and ends of tasks wait, nothing is lost.
pub async fn all_away(round: Round) -> Outcome {
    let scene = Scene::start(&FAST).await;
    let mut coordinators = [
        scene.stack.coordinator().await,
        scene.stack.coordinator().await,
    ];
    let _worker = scene.worker(AGENT);
    scene.stack.agents_are_ready(1).await;
    let count = round.size(40, 400);
    let tasks = (0..count).map(|n| format!("ledger t{n} ms=40 hold=0"));
    let mut runs = scene.submit(AGENT, tasks).await;
    scene.ended(3, PATIENCE).await;
    for coordinator in &mut coordinators {
        coordinator.kill_9();
    }
    let killed = Instant::now();
    let dispatched = || scene.stack.observe("STREAM.INFO.SWARM_WORK");
    eventually(
        "what was dispatched is worked off",
        PATIENCE * 2,
        || async { holds(dispatched().await["state"]["messages"] == 0) },
    )
    .await;
    let meanwhile = (0..5).map(|n| format!("ledger m{n} ms=5 hold=0"));
    runs.extend(scene.submit(AGENT, meanwhile).await);
    let away = round.size(Duration::from_secs(3), Duration::from_secs(60));
    lasts(killed, away).await;
    let back = Instant::now();
    let _next = scene.stack.coordinator().await;
    scene.ended(runs.len(), PATIENCE * 2).await;
    let recovery = back.elapsed();
    let (_, tally) = scene.check(&runs).await;
    assert_eq!(tally.executed_twice, 0, "no worker was disturbed");
    Outcome { tally, recovery }
}

/// A coordinator is stopped in the middle of its work, for longer than it may be silent; another one does it. When the first
/// one goes on, what it appends is refused, and no effect happens twice.
pub async fn stopped_and_continued(round: Round) -> Outcome {
    let scene = Scene::start(&FAST).await;
    let proxy = Proxy::open(&scene.stack.server.url()).await;
    let first = scene.stack.coordinator_by(&proxy.url()).await;
    let _worker = scene.worker(AGENT);
    scene.stack.agents_are_ready(1).await;
    // Held before its event is stored, then stopped: it decided on a log that is older than what follows.
    proxy.trap(trap("PUB swarm.run.", 0, Direction::ToServer));
    let tasks = (0..20).map(|n| format!("ledger t{n} ms=5 hold=0"));
    let mut runs = scene.submit(AGENT, tasks).await;
    proxy.trapped(PATIENCE).await;
    first.signal(Signal::SIGSTOP);
    let stopped = Instant::now();
    let _second = scene.stack.coordinator().await;
    scene.ended(runs.len(), PATIENCE).await;
    let recovery = stopped.elapsed();
    let away = round.size(Duration::from_secs(6), Duration::from_secs(30));
    lasts(stopped, away).await;
    proxy.mend();
    first.signal(Signal::SIGCONT);
    // Both work from now on.
    let tasks = (0..20).map(|n| format!("ledger u{n} ms=5 hold=0"));
    runs.extend(scene.submit(AGENT, tasks).await);
    scene.ended(runs.len(), PATIENCE).await;
    let (_, tally) = scene.check(&runs).await;
    assert_eq!(tally.executed_twice, 0, "no effect happened twice");
    Outcome { tally, recovery }
}
