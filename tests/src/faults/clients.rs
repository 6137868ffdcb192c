//! Those who submit and watch: killed, and too slow.

use std::time::{Duration, Instant};

use serde_json::Value;
use swarm_protocol::{RunId, RunState};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpSocket;

use super::scene::{AGENT, FAST, PATIENCE, Scene, store};
use super::{Outcome, Round};
use crate::proxy::{Direction, Proxy, Trap};
use crate::server::connect_as;
use crate::{Process, eventually, holds};

/// A client dies in the middle of a submission, and another one dies while it watches: the same id again is the same run, and
/// whoever watches next sees every event.
pub async fn killed(mut round: Round) -> Outcome {
    let scene = Scene::start(&FAST).await;
    let _coordinator = scene.stack.coordinator().await;
    let _worker = scene.worker(AGENT);
    scene.stack.agents_are_ready(1).await;
    let subject = format!("swarm.submit.{AGENT}");
    let task = "ledger t ms=1500 hold=0";
    let mut runs = Vec::new();
    // Before the message is out, and before its receipt is in.
    for hold in [Direction::ToServer, Direction::ToClient] {
        let proxy = Proxy::open(&scene.stack.server.url()).await;
        let client = connect_as(&proxy.url(), "client").await;
        proxy.trap(Trap {
            word: "PUB swarm.submit.",
            after: 0,
            hold,
        });
        let run = RunId::random();
        let lost = store(&client, &subject, run, task).await;
        assert!(lost.is_err(), "{lost:?}");
        proxy.cut();
        drop(client);
        let again = scene.connect_as("client").await;
        store(&again, &subject, run, task).await.unwrap();
        runs.push(run);
    }
    let watched = runs[1].to_string();
    let watch = ["runs", "watch", &watched, "--output", "json"];
    let mut first = Process::start("watch", scene.stack.command(&watch), scene.stack.folder());
    eventually("it has seen an event", PATIENCE, || async {
        holds(!first.out().is_empty())
    })
    .await;
    round.strikes_within(Duration::from_secs(1)).await;
    first.kill_9();
    let killed = Instant::now();
    let (printed, code) = scene.stack.swarm(&watch).await;
    assert_eq!(code, 0, "{printed:?}");
    let recovery = killed.elapsed();
    let seen: Vec<Value> = printed
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|line: &Value| line.get("n").is_some())
        .collect();
    assert_eq!(
        seen,
        scene.stack.log_of(&watched).await,
        "every event was seen"
    );
    scene.ended(runs.len(), PATIENCE).await;
    let (history, tally) = scene.check(&runs).await;
    assert_eq!(history.ended_as(RunState::Completed), 2);
    assert_eq!(scene.ledger.begins().len(), 2, "each was done once");
    Outcome { tally, recovery }
}

/// Whoever watches all text and reads none of it disturbs nobody.
pub async fn too_slow(round: Round) -> Outcome {
    let mut scene = Scene::start(&FAST).await;
    scene.slots = 4;
    let _coordinator = scene.stack.coordinator().await;
    let _worker = scene.worker(AGENT);
    scene.stack.agents_are_ready(1).await;
    let address = scene.stack.url().replace("nats://", "");
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut slow = socket.connect(address.parse().unwrap()).await.unwrap();
    let words =
        "CONNECT {\"verbose\":false}\r\nSUB swarm.out.> 1\r\nSUB swarm.event.> 2\r\nPING\r\n";
    slow.write_all(words.as_bytes()).await.unwrap();

    // A word without a blank is one token.
    let words: Vec<String> = (0..100)
        .map(|n| uuid::Uuid::from_u128(n).simple().to_string().repeat(30))
        .collect();
    let rules = format!("rules: [{{then: [{{text: '{}'}}]}}]", words.join(" "));
    scene.stack.sim.follow(&rules).await;
    let began = Instant::now();
    let tasks = (0..round.size(100, 500)).map(|n| format!("task {n}"));
    let runs = scene.submit(AGENT, tasks).await;
    scene.ended(runs.len(), PATIENCE * 2).await;
    let recovery = began.elapsed();
    eventually("the server has cut it off", PATIENCE, || async {
        holds(scene.stack.server.log().contains("Slow Consumer"))
    })
    .await;
    let (history, tally) = scene.check(&runs).await;
    assert_eq!(history.ended_as(RunState::Completed), runs.len());
    Outcome { tally, recovery }
}
