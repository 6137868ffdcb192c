//! Workers that are killed, stopped, or wait for a tool.

use std::time::{Duration, Instant};

use super::scene::{AGENT, FAST, PATIENCE, Scene};
use super::{Outcome, Round};
use crate::eventually;
use crate::holds;
use crate::proxy::{Direction, Proxy, Trap};

/// A model that thinks for a while.
const THOUGHTFUL: [&str; 4] = ["--latency", "1s", "--tokens-per-second", "0"];

/// Of two workers one dies; the other one does its task after the ack wait.
pub async fn killed_while_the_model_thinks(mut round: Round) -> Outcome {
    let mut scene = Scene::start(&THOUGHTFUL).await;
    scene.slots = 2;
    let _coordinator = scene.stack.coordinator().await;
    let mut workers = [scene.worker(AGENT), scene.worker(AGENT)];
    scene.stack.agents_are_ready(2).await;
    let tasks = (0..4).map(|n| format!("ledger t{n} ms=20 hold=0"));
    let runs = scene.submit(AGENT, tasks).await;
    scene.models_at_work(4).await;
    tokio::time::sleep(round.moment(Duration::from_millis(900))).await;
    workers[round.pick(2)].kill_9();
    let killed = Instant::now();
    scene.ended(runs.len(), PATIENCE).await;
    scene.outcome(&runs, killed.elapsed()).await
}

/// The answer is stored and the worker knows it, but the acknowledgement of its work never leaves it.
pub async fn killed_between_result_and_ack(_round: Round) -> Outcome {
    let scene = Scene::start(&FAST).await;
    let _coordinator = scene.stack.coordinator().await;
    let proxy = Proxy::open(&scene.stack.server.url()).await;
    proxy.trap(Trap {
        word: "PUB $JS.ACK.SWARM_WORK",
        after: 0,
        hold: Direction::ToServer,
    });
    let mut first = scene.worker_by(AGENT, &proxy.url());
    scene.stack.agents_are_ready(1).await;
    let run = scene.submit_one(AGENT, "ledger once ms=0 hold=0").await;
    proxy.trapped(PATIENCE).await;
    first.kill_9();
    proxy.cut();
    let killed = Instant::now();
    let asked = scene.stack.sim.chats("done").await.len();
    let _second = scene.worker(AGENT);
    let observe = || scene.stack.observe("STREAM.INFO.SWARM_WORK");
    eventually("the work is acknowledged", PATIENCE, || async {
        holds(observe().await["state"]["messages"] == 0)
    })
    .await;
    let recovery = killed.elapsed();
    let (history, tally) = scene.check(&[run]).await;
    assert!(history.story(run).text().contains("entry"), "{history:?}");
    assert_eq!(tally.executed_twice, 0, "the call was not made again");
    let asked_again = scene.stack.sim.chats("done").await.len() - asked;
    assert_eq!(asked_again, 0, "the model was not asked again");
    Outcome { tally, recovery }
}
