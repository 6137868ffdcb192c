//! The control port.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{SOON, Sim, ask, ask_whole};

/// A record with its times checked and taken out.
fn timeless(record: &Value) -> Value {
    let mut record = record.clone();
    let at = record["at"].take();
    assert!(at.as_str().unwrap().ends_with('Z'), "{at}");
    let started = record["started_ms"].take();
    if let Some(ended) = record.get_mut("ended_ms") {
        assert!(ended.take().as_u64() >= started.as_u64());
    }
    record
}

#[tokio::test]
async fn the_log_tells_every_request() {
    let sim = Sim::start(&[]).await;
    let long = |letter: &str, length| letter.repeat(length);
    let messages = json!([
        {"role": "system", "content": long("ä", 81)},
        {"role": "user", "content": "earlier"},
        {"role": "user", "content": format!("{}[[sim:reply=a b]]", long("ü", 201))},
    ]);
    sim.chat(&json!({"model": "gemma2:2b", "messages": messages}))
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    sim.chat(&ask_whole("whole")).send().await.unwrap();
    sim.chat(&json!({"model": "x"})).send().await.unwrap();
    sim.client
        .post(format!("{}/api/chat", sim.api))
        .body("?")
        .send()
        .await
        .unwrap();
    sim.client
        .get(format!("{}/api/tags?a=b", sim.api))
        .send()
        .await
        .unwrap();
    sim.client
        .delete(format!("{}/nothing", sim.api))
        .send()
        .await
        .unwrap();
    let _waiting = tokio::spawn(sim.chat(&ask("slow [[sim:latency=1h]]")).send());
    sim.until(SOON, "running", 1).await;

    let record = |id: u64, request: [&str; 5], state: &str, status: u16, chunks: u64| {
        let [method, path, model, system, prompt] = request;
        let mut record = json!({
            "id": id, "at": null, "method": method, "path": path, "model": model, "system": system, "prompt": prompt,
            "state": state, "status": status, "started_ms": null, "chunks": chunks,
        });
        if state != "running" {
            record["ended_ms"] = json!(null);
        }
        record
    };
    let (system, prompt) = (long("ä", 80), long("ü", 200));
    let expected = [
        record(
            1,
            ["POST", "/api/chat", "gemma2:2b", &system, &prompt],
            "done",
            200,
            5,
        ),
        record(
            2,
            ["POST", "/api/chat", "llama3.2:1b", "", "whole"],
            "done",
            200,
            1,
        ),
        record(3, ["POST", "/api/chat", "x", "", ""], "failed", 404, 0),
        record(4, ["POST", "/api/chat", "", "", ""], "failed", 400, 0),
        record(5, ["GET", "/api/tags", "", "", ""], "done", 200, 0),
        record(6, ["DELETE", "/nothing", "", "", ""], "failed", 404, 0),
        record(
            7,
            ["POST", "/api/chat", "llama3.2:1b", "", "slow "],
            "running",
            0,
            0,
        ),
    ];
    let log = sim.log().await;
    let told: Vec<_> = log["requests"]
        .as_array()
        .unwrap()
        .iter()
        .map(timeless)
        .collect();
    assert_eq!(told, expected);
    assert_eq!(log.as_object().unwrap().len(), 1);
    assert_eq!(
        sim.stats().await,
        json!({"chat": 5, "running": 1, "disconnected": 0, "max_running": 1})
    );
}

#[tokio::test]
async fn the_log_can_be_cleared_and_the_stats_stay() {
    let sim = Sim::start(&[]).await;
    sim.chat(&ask_whole("one")).send().await.unwrap();
    let response = sim.control(Method::DELETE, "/sim/log").await;
    assert_eq!(response.status(), 204);
    assert_eq!(response.headers()["x-ollama-sim"], "1");
    assert_eq!(sim.log().await, json!({"requests": []}));
    sim.chat(&ask_whole("two")).send().await.unwrap();
    let log = sim.log().await;
    let told: Vec<_> = log["requests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| (&r["id"], &r["prompt"]))
        .collect();
    assert_eq!(told, [(&json!(2), &json!("two"))]);
    assert_eq!(
        sim.stats().await,
        json!({"chat": 2, "running": 0, "disconnected": 0, "max_running": 1})
    );
}
