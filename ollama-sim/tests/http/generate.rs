//! `POST /api/generate`.

use serde_json::{Value, json};

use crate::support::{Sim, lines};

async fn whole(sim: &Sim, fields: Value) -> (u16, Value) {
    let mut body = json!({"model": "llama3.2:1b", "stream": false});
    body.as_object_mut()
        .unwrap()
        .extend(fields.as_object().unwrap().clone());
    sim.post("/api/generate", &body).await
}

#[tokio::test]
async fn a_prompt_gets_a_response() {
    let sim = Sim::start(&[]).await;
    let asked = json!({"prompt": "Why? [[sim:reply=So.]]", "system": "You are Ada."});
    let (status, answer) = whole(&sim, asked).await;
    assert_eq!(
        (status, &answer["response"]),
        (200, &json!("[SIMULATED llama3.2:1b] So."))
    );
    assert_eq!(
        (&answer["done"], &answer["done_reason"]),
        (&json!(true), &json!("stop"))
    );
    assert_eq!(answer.get("message"), None);
    let body = json!({"model": "llama3.2:1b", "prompt": "[[sim:reply=a b]]"});
    let request = sim
        .client
        .post(format!("{}/api/generate", sim.api))
        .json(&body);
    let told = lines(&request.send().await.unwrap().text().await.unwrap());
    let texts: Vec<_> = told
        .iter()
        .map(|line| line["response"].as_str().unwrap())
        .collect();
    assert_eq!(texts, ["[SIMULATED", " llama3.2:1b]", " a", " b", ""]);
}

#[tokio::test]
async fn formats_and_thinking_hold_here_too() {
    let sim = Sim::start(&[]).await;
    let (_, answer) = whole(&sim, json!({"prompt": "x", "format": {"enum": ["yes"]}})).await;
    assert_eq!(answer["response"], "\"yes\"");
    let (_, answer) = whole(&sim, json!({"model": "qwen3:4b", "prompt": "x"})).await;
    assert!(
        answer["thinking"]
            .as_str()
            .unwrap()
            .starts_with("(simulated thinking)")
    );
}

#[tokio::test]
async fn no_prompt_loads_and_unloads() {
    let sim = Sim::start(&[]).await;
    for (fields, reason) in [(json!({}), "load"), (json!({"keep_alive": 0}), "unload")] {
        let (status, answer) = whole(&sim, fields).await;
        assert_eq!(
            (status, &answer["done_reason"], &answer["response"]),
            (200, &json!(reason), &json!(""))
        );
    }
}

#[tokio::test]
async fn it_refuses_as_ollama_does() {
    let sim = Sim::start(&[]).await;
    let cases = [
        (
            json!({"model": "x", "prompt": "x"}),
            404,
            "model 'x' not found",
        ),
        (json!({"model": ""}), 404, "model '' not found"),
        (
            json!({"prompt": "x", "think": true}),
            400,
            "\"llama3.2:1b\" does not support thinking",
        ),
        (
            json!({"prompt": "x", "suffix": "y"}),
            400,
            "registry.ollama.ai/library/llama3.2:1b does not support insert",
        ),
        (
            json!({"model": "nomic-embed-text", "prompt": "x"}),
            400,
            "\"nomic-embed-text\" does not support generate",
        ),
    ];
    for (fields, status, message) in cases {
        assert_eq!(
            whole(&sim, fields).await,
            (status, json!({"error": message}))
        );
    }
}
