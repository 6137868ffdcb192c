//! Prompts that are too long, release by release.

use serde_json::{Value, json};

use crate::support::{Sim, ask};

fn long(fields: Value) -> Value {
    let mut body = ask(&"abc ".repeat(300));
    body["options"] = json!({"num_ctx": 256});
    body.as_object_mut()
        .unwrap()
        .extend(fields.as_object().unwrap().clone());
    body
}

async fn refused(sim: &Sim, fields: Value) -> String {
    let (status, message) = sim.error(&long(fields)).await;
    assert_eq!(status, 400);
    message
}

fn check_numbers(message: &str) {
    let inner: Value = serde_json::from_str(message).unwrap();
    assert_eq!(inner["error"]["type"], "exceed_context_size_error");
    assert_eq!(
        (&inner["error"]["n_prompt_tokens"], &inner["error"]["n_ctx"]),
        (&json!(300), &json!(256))
    );
}

#[tokio::test]
async fn newer_servers() {
    let sim = Sim::start(&[]).await;
    assert_eq!(
        sim.whole(&long(json!({}))).await.1["prompt_eval_count"],
        131
    );
    check_numbers(&refused(&sim, json!({"truncate": false})).await);
    let message = refused(&sim, json!({"shift": false})).await;
    assert!(
        message.starts_with("the prompt is longer than the context length currently available")
    );
}

#[tokio::test]
async fn newer_servers_with_native_chat() {
    let sim = Sim::start(&["--emission", "native"]).await;
    check_numbers(&refused(&sim, json!({})).await);
}

#[tokio::test]
async fn older_servers() {
    let sim = Sim::start(&["--version-of", "0.17.4"]).await;
    assert_eq!(
        sim.whole(&long(json!({}))).await.1["prompt_eval_count"],
        256
    );
    let message = refused(&sim, json!({"truncate": false})).await;
    assert_eq!(message, "the input length exceeds the context length");
    let (status, answer) = sim.whole(&long(json!({"shift": false}))).await;
    assert_eq!(
        (status, &answer["eval_count"], &answer["done_reason"]),
        (200, &json!(1), &json!("length"))
    );
}

#[tokio::test]
async fn the_default_window_can_be_set() {
    let sim = Sim::start(&["--context-length", "100"]).await;
    let body = ask(&"abc ".repeat(300));
    assert_eq!(sim.whole(&body).await.1["prompt_eval_count"], 53);
}

#[tokio::test]
async fn images_are_for_models_that_see() {
    let mut body = ask("What is this?");
    body["messages"][0]["images"] = json!(["aGk="]);
    let sim = Sim::start(&[]).await;
    let (status, message) = sim.error(&body).await;
    let inner: Value = serde_json::from_str(&message).unwrap();
    assert_eq!((status, &inner["error"]["code"]), (400, &json!(400)));
    let sim = Sim::start(&["--version-of", "0.17.4"]).await;
    assert_eq!(sim.whole(&body).await.0, 200);
}
