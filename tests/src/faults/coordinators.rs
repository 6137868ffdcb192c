//! Coordinators that are killed, stopped, or all away.

use std::time::Instant;

use futures_util::future::join_all;

use super::scene::{FAST, PATIENCE, Scene};
use super::{Outcome, Round};
use crate::proxy::{Direction, Proxy, Trap};

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
