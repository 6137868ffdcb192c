//! Disks and streams that are full.

use std::time::{Duration, Instant};

use serde_json::json;
use swarm_protocol::{RunId, RunState};
use tempfile::TempDir;

use super::scene::{AGENT, FAST, PATIENCE, Scene, store, submit_somehow};
use super::{Outcome, Round};
use crate::small_disk::SmallDisk;
use crate::{Server, Stack, eventually, holds};

/// The disk of the server is full: nothing is accepted that is not stored, whoever submits is told, and when there is room
/// again everything that was accepted is done.
pub async fn full_disk(_round: Round) -> Outcome {
    let folder = TempDir::new().unwrap();
    let disk = SmallDisk::of(64, folder.path()).await;
    let server = Server::start_on(folder.path(), disk).await;
    let mut scene = Scene::on(Stack::on(server, folder, &FAST).await).await;
    let _coordinator = scene.stack.coordinator().await;
    let _worker = scene.worker(AGENT);
    scene.stack.agents_are_ready(1).await;
    let mut runs = vec![scene.submit_one(AGENT, "ledger t ms=5 hold=0").await];
    scene.ended(1, PATIENCE).await;
    // These are open when the disk gets full, one of them with a call that is running.
    let open = (0..3).map(|n| format!("ledger u{n} ms=1000 hold=0"));
    runs.extend(scene.submit(AGENT, open).await);
    eventually("a call has begun", PATIENCE, || async {
        holds(scene.ledger.begins().len() == 2)
    })
    .await;

    scene.disk().fill();
    let client = scene.connect_as("client").await;
    let subject = format!("swarm.submit.{AGENT}");
    let task = format!("ledger f ms=5 hold=0 {}", "x".repeat(100_000));
    // What is written last may still fit into a block that is there.
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        let run = RunId::random();
        match store(&client, &subject, run, &task).await {
            Ok(_) => runs.push(run),
            Err(_) => break,
        }
    }
    let asked = Instant::now();
    let (printed, code) = scene
        .stack
        .swarm(&["run", &task, "--agents", AGENT, "--detach"])
        .await;
    let told = asked.elapsed();
    assert!(
        told < Duration::from_secs(15),
        "told after {told:?}: {printed:?}"
    );
    assert_ne!(code, 0, "{printed:?}");
    assert_eq!(printed.out, "", "no id for what was not taken");
    assert!(!printed.err.trim().is_empty(), "{printed:?}");
    eprintln!("full disk: {}", printed.err);

    // A stream that could not write once takes nothing until its server is started again.
    scene.disk().free();
    scene.stack.server.kill_and_restart().await;
    let began = Instant::now();
    let later = (0..5).map(|n| format!("ledger v{n} ms=5 hold=0"));
    runs.extend(submit_somehow(&client, AGENT, later).await);
    scene.ended(runs.len(), PATIENCE).await;
    let recovery = began.elapsed();
    let (_, tally) = scene.check(&runs).await;
    Outcome { tally, recovery }
}

/// The stream of the runs is nearly full: new submissions wait, and those that are open end.
pub async fn full_runs(_round: Round) -> Outcome {
    let scene = Scene::start(&FAST).await;
    let coordinator = scene.stack.coordinator().await;
    let task = |n: usize| format!("ledger t{n} ms=1 hold=0 {}", "x".repeat(20_000));
    let mut runs = scene.submit(AGENT, (0..60).map(task)).await;
    let runs_stream = || scene.stack.observe("STREAM.INFO.SWARM_RUNS");
    eventually("all are accepted", PATIENCE, || async {
        holds(runs_stream().await["state"]["messages"] == 60)
    })
    .await;
    let used = runs_stream().await["state"]["bytes"].as_u64().unwrap();
    let full = json!({ "max_bytes": used * 100 / 82 });
    scene.change_stream("SWARM_RUNS", &full).await;
    coordinator.says("submissions are held", PATIENCE).await;
    let later = scene.submit(AGENT, (60..65).map(task)).await;
    let began = Instant::now();
    let _worker = scene.worker(AGENT);
    scene.ended(runs.len(), PATIENCE).await;
    let recovery = began.elapsed();
    let inbox = scene.stack.observe("STREAM.INFO.SWARM_INBOX").await;
    assert_eq!(inbox["state"]["messages"], 5, "they wait: {inbox}");
    let (status, _) = scene.stack.swarm(&["status"]).await;
    assert!(status.all().contains("% full"), "{status:?}");
    scene
        .change_stream("SWARM_RUNS", &json!({ "max_bytes": 1_u64 << 30 }))
        .await;
    runs.extend(later);
    scene.ended(runs.len(), PATIENCE).await;
    let (history, tally) = scene.check(&runs).await;
    assert_eq!(history.ended_as(RunState::Completed), runs.len());
    Outcome { tally, recovery }
}
