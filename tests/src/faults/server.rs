//! The NATS server: killed, doubled messages, full queues.

use std::time::{Duration, Instant};

use async_nats::HeaderMap;
use serde_json::{Value, json};
use swarm_protocol::{RunId, RunState, headers};

use super::scene::{
    AGENT, FAST, PATIENCE, Scene, count_ended, ended_after_all, store, submit_somehow,
};
use super::{Outcome, Round};
use crate::eventually;
use crate::server::connect_as;

/// The server is killed again and again while tasks are submitted and worked on.
pub async fn killed_under_load(mut round: Round) -> Outcome {
    let mut scene = Scene::start(&FAST).await;
    scene.slots = 4;
    let _coordinator = scene.stack.coordinator().await;
    let _workers = [scene.worker(AGENT), scene.worker(AGENT)];
    scene.stack.agents_are_ready(2).await;
    let (count, kills) = round.size((300, 2), (2000, 10));
    let mut runs = Vec::new();
    let mut recovery = Duration::ZERO;
    for _ in 0..kills {
        let tasks = (0..count / kills).map(|n| format!("ledger t{n} ms=5 hold=0"));
        let client = scene.connect_as("client").await;
        let url = scene.stack.url();
        let submitting = submit_somehow(&client, AGENT, tasks);
        let killing = async {
            round.strikes_within(Duration::from_millis(600)).await;
            scene.stack.server.kill_and_restart().await;
            let back = Instant::now();
            let client = connect_as(&url, "client").await;
            let before = ended_after_all(&client).await;
            eventually("runs end again", PATIENCE, || async {
                (count_ended(&client).await? > before).then_some(())
            })
            .await;
            back.elapsed()
        };
        let (submitted, took) = tokio::join!(submitting, killing);
        runs.extend(submitted);
        recovery = recovery.max(took);
    }
    scene.ended(runs.len(), PATIENCE * 2).await;
    scene.outcome(&runs, recovery).await
}

/// The same message twice: inside the window the server itself says so, behind it the coordinator knows the run.
pub async fn doubled_submissions(_round: Round) -> Outcome {
    let scene = Scene::start(&FAST).await;
    let _coordinator = scene.stack.coordinator().await;
    let _worker = scene.worker(AGENT);
    scene.stack.agents_are_ready(1).await;
    let client = scene.connect_as("client").await;
    let send = async |id: &str| -> Value {
        let mut named = HeaderMap::new();
        named.insert(headers::MESSAGE_ID, id);
        let subject = format!("swarm.submit.{AGENT}");
        let task = format!("ledger {id} ms=5 hold=0");
        let reply = client
            .request_with_headers(subject, named, task.into())
            .await;
        serde_json::from_slice(&reply.unwrap().payload).unwrap()
    };
    let first = send("inside").await;
    let again = send("inside").await;
    assert_eq!(
        (&again["seq"], &again["duplicate"]),
        (&first["seq"], &json!(true))
    );

    scene
        .change_stream("SWARM_INBOX", &json!({ "duplicate_window": 100_000_000 }))
        .await;
    let first = send("behind").await["seq"].as_u64().unwrap();
    scene.ended(2, PATIENCE).await;
    let began = Instant::now();
    eventually("the window has passed", PATIENCE, || async {
        (send("behind").await["duplicate"] != true).then_some(())
    })
    .await;
    let more = send("behind").await;
    assert!(more["seq"].as_u64().unwrap() > first, "{more}");
    scene.queues_empty().await;
    let recovery = began.elapsed();

    // The same id with another word in it is another submission, and no run.
    let named = RunId::random();
    let subject = format!("swarm.submit.{AGENT}");
    for task in [
        "ledger a ms=5 hold=0",
        "ledger a ms=5 hold=0",
        "ledger b ms=5 hold=0",
    ] {
        store(&client, &subject, named, task).await.unwrap();
    }
    scene.ended(3, PATIENCE).await;
    let runs = ["inside", "behind"].map(RunId::from_message_id);
    let runs = [runs.to_vec(), vec![named]].concat();
    let (history, tally) = scene.check(&runs).await;
    assert_eq!((tally.executed_twice, history.dead), (0, 1));
    assert_eq!(scene.ledger.begins().len(), 3);
    Outcome { tally, recovery }
}

/// Full queues: whoever submits is told at once, what was taken is done, and what is open waits for room and ends.
pub async fn full_queues(_round: Round) -> Outcome {
    let scene = Scene::start(&FAST).await;
    let coordinator = scene.stack.coordinator().await;
    let task = |n: usize| format!("ledger t{n} ms=1 hold=0 {}", "x".repeat(2000));

    // The work queue has room for a few attempts; the others are open and wait.
    scene
        .change_stream("SWARM_WORK", &json!({ "max_bytes": 16_384 }))
        .await;
    let mut runs = scene.submit(AGENT, (0..20).map(task)).await;
    eventually("the work queue is full", PATIENCE, || async {
        coordinator
            .log()
            .contains("takes nothing now")
            .then_some(())
    })
    .await;

    // The inbox is full: the server refuses, and the command says so at once.
    drop(coordinator);
    scene
        .change_stream("SWARM_INBOX", &json!({ "max_bytes": 65_536 }))
        .await;
    let client = scene.connect_as("client").await;
    let subject = format!("swarm.submit.{AGENT}");
    let refused = loop {
        let run = RunId::random();
        match store(&client, &subject, run, &task(runs.len())).await {
            Ok(_) => runs.push(run),
            Err(refused) => break refused,
        }
        assert!(runs.len() < 100, "the inbox takes everything");
    };
    assert!(refused.contains("10077"), "{refused}");
    let asked = Instant::now();
    let (printed, code) = scene
        .stack
        .swarm(&["run", &task(0), "--agents", AGENT, "--detach"])
        .await;
    assert!(
        asked.elapsed() < Duration::from_secs(5),
        "{:?}",
        asked.elapsed()
    );
    assert_ne!(code, 0, "{printed:?}");
    assert!(printed.err.contains("takes nothing now"), "{printed:?}");
    assert_eq!(printed.out, "", "no id for what was not taken");

    let _coordinator = scene.stack.coordinator().await;
    let _worker = scene.worker(AGENT);
    let began = Instant::now();
    scene.ended(runs.len(), PATIENCE).await;
    let recovery = began.elapsed();
    let (history, tally) = scene.check(&runs).await;
    assert_eq!(history.ended_as(RunState::Completed), runs.len());
    Outcome { tally, recovery }
}
