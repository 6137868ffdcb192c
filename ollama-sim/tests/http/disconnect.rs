//! Clients that hang up are noticed within a second, also while no byte is being written.

use std::time::Duration;

use serde_json::json;

use crate::support::{SOON, Sim, ask, ask_whole};

const PROMPT: Duration = Duration::from_secs(1);

#[tokio::test]
async fn while_waiting_for_the_first_token() {
    let sim = Sim::start(&[]).await;
    for (number, body) in [
        ask("x [[sim:latency=1h]]"),
        ask_whole("x [[sim:latency=1h]]"),
    ]
    .into_iter()
    .enumerate()
    {
        let waiting = tokio::spawn(sim.chat(&body).send());
        sim.until(SOON, "running", 1).await;
        waiting.abort();
        sim.until(PROMPT, "disconnected", number as u64 + 1).await;
        let record = &sim.log().await["requests"][number];
        assert_eq!(
            (&record["state"], &record["status"], &record["chunks"]),
            (&json!("disconnected"), &json!(0), &json!(0))
        );
        assert!(record["ended_ms"].is_u64());
    }
    assert_eq!(
        sim.stats().await,
        json!({"chat": 2, "running": 0, "disconnected": 2, "max_running": 1})
    );
}

#[tokio::test]
async fn in_the_middle_of_a_stream() {
    let sim = Sim::start(&[]).await;
    let mut response = sim.chat(&ask("x [[sim:tps=0.001]]")).send().await.unwrap();
    assert!(response.chunk().await.unwrap().is_some());
    assert_eq!(sim.stats().await["running"], 1);
    drop(response);
    sim.until(PROMPT, "disconnected", 1).await;
    let record = &sim.log().await["requests"][0];
    assert_eq!(
        (&record["state"], &record["status"], &record["chunks"]),
        (&json!("disconnected"), &json!(200), &json!(1))
    );
}

#[tokio::test]
async fn while_the_tokens_of_a_whole_answer_are_due() {
    let sim = Sim::start(&[]).await;
    let waiting = tokio::spawn(sim.chat(&ask_whole("x [[sim:tps=0.001]]")).send());
    sim.until(SOON, "running", 1).await;
    waiting.abort();
    sim.until(PROMPT, "disconnected", 1).await;
}

#[tokio::test]
async fn in_the_line_for_a_slot_which_goes_to_the_next() {
    let sim = Sim::start(&["--parallel", "1"]).await;
    let holder = tokio::spawn(sim.chat(&ask("holder [[sim:latency=1h]]")).send());
    sim.logged("holder", "running").await;
    let leaver = tokio::spawn(sim.chat(&ask("leaver [[sim:latency=1h]]")).send());
    sim.logged("leaver", "running").await;
    let patient = tokio::spawn(sim.chat(&ask_whole("patient")).send());
    sim.logged("patient", "running").await;
    leaver.abort();
    sim.logged("leaver", "disconnected").await;
    holder.abort();
    assert_eq!(patient.await.unwrap().unwrap().status(), 200);
    assert_eq!(
        sim.stats().await,
        json!({"chat": 3, "running": 0, "disconnected": 2, "max_running": 3})
    );
}
