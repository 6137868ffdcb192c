//! Pulling and deleting models.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Sim, lines};

async fn pulled(sim: &Sim, body: &Value) -> Vec<Value> {
    let request = sim.client.post(format!("{}/api/pull", sim.api)).json(body);
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 200);
    lines(&response.text().await.unwrap())
}

async fn deleted(sim: &Sim, name: &str) -> (u16, String) {
    let request = sim
        .client
        .request(Method::DELETE, format!("{}/api/delete", sim.api));
    let response = request.json(&json!({"model": name})).send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

async fn shown(sim: &Sim, name: &str) -> u16 {
    sim.post("/api/show", &json!({"model": name})).await.0
}

#[tokio::test]
async fn a_pull_tells_its_progress_and_brings_the_model() {
    let sim = Sim::start(&["--models", "gemma2:2b"]).await;
    assert_eq!(shown(&sim, "llama3.2:1b").await, 404);
    let told = pulled(&sim, &json!({"model": "llama3.2:1b"})).await;
    let statuses: Vec<_> = told
        .iter()
        .map(|line| line["status"].as_str().unwrap())
        .collect();
    assert_eq!(statuses[0], "pulling manifest");
    assert_eq!(statuses[1..5], ["pulling 14316704286d"; 4]);
    assert_eq!(
        statuses[5..],
        ["verifying sha256 digest", "writing manifest", "success"]
    );
    assert_eq!(told[4]["completed"], told[4]["total"]);
    assert_eq!(shown(&sim, "llama3.2:1b").await, 200);
    let (status, answer) = sim
        .post("/api/pull", &json!({"name": "other", "stream": false}))
        .await;
    assert_eq!((status, answer), (200, json!({"status": "success"})));
    assert_eq!(shown(&sim, "other").await, 200);
}

#[tokio::test]
async fn a_pull_of_nothing_fails_in_the_stream() {
    let sim = Sim::start(&[]).await;
    let error = json!({"error": "pull model manifest: file does not exist"});
    let told = pulled(&sim, &json!({"model": "missing:1b"})).await;
    assert_eq!(told, [json!({"status": "pulling manifest"}), error.clone()]);
    let whole = json!({"model": "missing:1b", "stream": false});
    assert_eq!(sim.post("/api/pull", &whole).await, (500, error));
    assert_eq!(
        sim.post("/api/pull", &json!({})).await,
        (400, json!({"error": "invalid model name"}))
    );
}

#[tokio::test]
async fn a_deleted_model_is_gone() {
    let sim = Sim::start(&[]).await;
    assert_eq!(deleted(&sim, "gemma2:2b").await, (200, String::new()));
    assert_eq!(shown(&sim, "gemma2:2b").await, 404);
    let error = json!({"error": "model 'gemma2:2b' not found"}).to_string();
    assert_eq!(deleted(&sim, "gemma2:2b").await, (404, error));
    for (release, message) in [
        ("0.33.0", "model is required"),
        ("0.17.4", "name \"\" is invalid"),
    ] {
        let sim = Sim::start(&["--version-of", release]).await;
        let error = json!({"error": message}).to_string();
        assert_eq!(deleted(&sim, "").await, (400, error));
    }
}
