//! The network between a worker and the server.

use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::scene::{ACK_WAIT, AGENT, PATIENCE, Scene};
use super::{Outcome, Round, lasts};
use crate::proxy::{Direction, Proxy, Way};

/// What is done to the network.
#[derive(Debug, Clone, Copy)]
enum Trouble {
    /// Both directions are silent.
    Silent,
    /// The worker is heard and hears nothing.
    Deaf,
    /// The worker hears and is not heard.
    Mute,
    /// Connections are closed, and none comes about.
    Cut,
    /// Everything takes 200 ms, and a tenth of it a second.
    Slow,
}

/// A model that answers while the network is in trouble.
const THOUGHTFUL: [&str; 4] = ["--latency", "1s", "--tokens-per-second", "0"];

/// The network between a worker and the server breaks while a model thinks: its task is done by another one, or by itself,
/// once; and when the network is back, it works as before.
pub async fn partition(_round: Round) -> Outcome {
    let troubles = [
        Trouble::Silent,
        Trouble::Deaf,
        Trouble::Mute,
        Trouble::Cut,
        Trouble::Slow,
    ];
    let outcomes = join_all(troubles.map(between_worker_and_server)).await;
    outcomes.into_iter().fold(Outcome::default(), Outcome::and)
}

async fn between_worker_and_server(trouble: Trouble) -> Outcome {
    let scene = Scene::start(&THOUGHTFUL).await;
    let _coordinator = scene.stack.coordinator().await;
    let proxy = Proxy::open(&scene.stack.server.url()).await;
    let _first = scene.worker_by(AGENT, &proxy.url());
    scene.stack.agents_are_ready(1).await;
    let mut runs = vec![scene.submit_one(AGENT, "ledger t ms=20 hold=0").await];
    scene.models_at_work(1).await;
    match trouble {
        Trouble::Silent => proxy.set_both(Way::Held),
        Trouble::Deaf => proxy.set(Direction::ToClient, Way::Held),
        Trouble::Mute => proxy.set(Direction::ToServer, Way::Held),
        Trouble::Cut => proxy.cut(),
        Trouble::Slow => proxy.set_both(Way::Slow(Duration::from_millis(200))),
    }
    let broken = Instant::now();
    let _second = scene.worker(AGENT);
    scene.ended(1, PATIENCE).await;
    let recovery = broken.elapsed();
    // Whatever the first one did meanwhile comes now.
    lasts(broken, ACK_WAIT * 3).await;
    proxy.mend();
    let tasks = (0..6).map(|n| format!("ledger u{n} ms=20 hold=0"));
    runs.extend(scene.submit(AGENT, tasks).await);
    scene.ended(runs.len(), PATIENCE).await;
    eprintln!("F21: {trouble:?} took {recovery:?}");
    scene.outcome(&runs, recovery).await
}
