//! Models that run elsewhere: names that say so, and stubs whose names do not.

use serde_json::{Value, json};

use crate::support::{Sim, ask};

async fn asked(sim: &Sim, model: &str) -> (u16, Value) {
    let mut body = ask("x");
    body["model"] = json!(model);
    let (status, document) = sim.whole(&body).await;
    (status, document["error"].clone())
}

async fn shown(sim: &Sim, model: &str) -> (u16, Value) {
    let request = sim.client.post(format!("{}/api/show", sim.api));
    let response = request.json(&json!({"model": model})).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

async fn status(sim: &Sim) -> Value {
    let response = sim
        .client
        .get(format!("{}/api/status", sim.api))
        .send()
        .await
        .unwrap();
    response.json().await.unwrap()
}

#[tokio::test]
async fn they_are_refused_by_default() {
    let sim = Sim::start(&[]).await;
    let disabled = json!("ollama cloud is disabled: remote model is unavailable");
    for model in ["x:cloud", "y:120b-cloud", "fake-cloud"] {
        assert_eq!(asked(&sim, model).await, (403, disabled.clone()), "{model}");
    }
    let (code, document) = shown(&sim, "fake-cloud").await;
    let text = "ollama cloud is disabled: remote model details are unavailable";
    assert_eq!((code, document), (403, json!({"error": text})));
    assert_eq!(
        status(&sim).await,
        json!({"cloud": {"disabled": true, "source": "env"}})
    );
}

#[tokio::test]
async fn a_suffix_keeps_a_request_here() {
    let sim = Sim::start(&["--cloud"]).await;
    assert_eq!(asked(&sim, "llama3.2:1b:local").await, (200, Value::Null));
    let missing = json!("model 'fake-cloud:local' not found");
    assert_eq!(asked(&sim, "fake-cloud:local").await, (404, missing));
    let both = json!("use either :local or :cloud, not both: \"x:local:cloud\"");
    assert_eq!(asked(&sim, "x:local:cloud").await, (400, both));
}

#[tokio::test]
async fn older_servers_know_no_suffixes() {
    let sim = Sim::start(&["--version-of", "0.17.4"]).await;
    for model in ["x:cloud", "x:local"] {
        let missing = json!(format!("model '{model}' not found"));
        assert_eq!(asked(&sim, model).await, (404, missing));
    }
    let nameless = json!("model is required");
    assert_eq!(asked(&sim, "llama3.2:1b:local").await, (400, nameless));
}

#[tokio::test]
async fn every_chunk_says_where_it_comes_from() {
    let sim = Sim::start(&["--cloud"]).await;
    let mut body = ask("x [[sim:reply=y]]");
    body["model"] = json!("fake-cloud");
    let lines = sim.stream(&body).await;
    assert!(lines.len() > 2);
    for line in &lines {
        assert_eq!(line["remote_host"], "https://ollama.com:443");
        assert_eq!(line["remote_model"], "gpt-oss:120b");
    }
    assert_eq!(
        shown(&sim, "fake-cloud").await.1["remote_model"],
        "gpt-oss:120b"
    );
    assert_eq!(asked(&sim, "x:cloud").await, (401, json!("unauthorized")));
    assert_eq!(status(&sim).await["cloud"]["disabled"], false);
}
