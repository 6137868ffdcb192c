//! When answers come, and how many at a time. Only lower bounds of time are checked: a slow machine passes too.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinSet;

use crate::support::{SOON, Sim, ask, ask_whole, lines};

#[tokio::test]
async fn headers_wait_for_the_first_token() {
    let sim = Sim::start(&["--latency", "150ms"]).await;
    for (user, wait) in [("x", 150), ("x [[sim:latency=300ms]]", 300)] {
        let start = Instant::now();
        let response = sim.chat(&ask(user)).send().await.unwrap();
        let headers = start.elapsed();
        assert!(headers >= Duration::from_millis(wait), "{headers:?}");
        response.text().await.unwrap();
    }
}

#[tokio::test]
async fn tokens_come_one_by_one() {
    let sim = Sim::start(&["--tokens-per-second", "2"]).await;
    let start = Instant::now();
    let mut response = sim.chat(&ask("x [[sim:tokens=2]]")).send().await.unwrap();
    let first = response.chunk().await.unwrap().unwrap();
    assert_eq!(lines(str::from_utf8(&first).unwrap()).len(), 1);
    let rest = response.text().await.unwrap();
    assert_eq!(lines(&rest).len(), 2);
    assert!(
        start.elapsed() >= Duration::from_millis(500),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test]
async fn a_whole_answer_takes_as_long_as_its_tokens() {
    let sim = Sim::start(&[]).await;
    let start = Instant::now();
    sim.chat(&ask_whole("x [[sim:tokens=11]][[sim:tps=50]]"))
        .send()
        .await
        .unwrap();
    assert!(
        start.elapsed() >= Duration::from_millis(200),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test]
async fn without_slots_all_run_at_once() {
    let sim = Sim::start(&[]).await;
    let mut waiting = JoinSet::new();
    for _ in 0..20 {
        waiting.spawn(sim.chat(&ask("x [[sim:latency=1h]]")).send());
    }
    sim.until(SOON, "running", 20).await;
    assert_eq!(
        sim.stats().await,
        json!({"chat": 20, "running": 20, "disconnected": 0, "max_running": 20})
    );
}

#[tokio::test]
async fn a_model_answers_as_many_at_a_time_as_it_has_slots() {
    let sim = Sim::start(&["--parallel", "2", "--latency", "100ms"]).await;
    let start = Instant::now();
    let mut waiting = JoinSet::new();
    for _ in 0..6 {
        waiting.spawn(sim.chat(&ask_whole("x")).send());
    }
    while let Some(answer) = waiting.join_next().await {
        assert_eq!(answer.unwrap().unwrap().status(), 200);
    }
    assert!(
        start.elapsed() >= Duration::from_millis(300),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test]
async fn requests_that_wait_are_answered_in_order() {
    let sim = Sim::start(&["--parallel", "1", "--latency", "50ms"]).await;
    let mut waiting = JoinSet::new();
    for number in 0..5 {
        waiting.spawn(sim.chat(&ask_whole("x")).send());
        // The next one is sent when this one is in the line.
        sim.until(SOON, "chat", number + 1).await;
    }
    while let Some(answer) = waiting.join_next().await {
        assert_eq!(answer.unwrap().unwrap().status(), 200);
    }
    let log = sim.log().await;
    let requests = log["requests"].as_array().unwrap().iter();
    let ends: Vec<_> = requests.map(|r| r["ended_ms"].as_u64().unwrap()).collect();
    assert_eq!(ends.len(), 5);
    assert!(
        ends.windows(2).all(|pair| pair[1] >= pair[0] + 50),
        "{ends:?}"
    );
}

#[tokio::test]
async fn a_full_model_does_not_hold_up_another() {
    let sim = Sim::start(&["--parallel", "1"]).await;
    let first = tokio::spawn(sim.chat(&ask("first [[sim:latency=1h]]")).send());
    sim.logged("first", "running").await;
    let second = tokio::spawn(sim.chat(&ask_whole("second")).send());
    sim.logged("second", "running").await;
    sim.text("llama3.2:3b", "", "third").await;
    assert!(!second.is_finished());
    first.abort();
    assert_eq!(second.await.unwrap().unwrap().status(), 200);
    sim.logged("first", "disconnected").await;
}
