//! Vectors.

use serde_json::{Value, json};

use crate::support::Sim;

async fn embedded(sim: &Sim, fields: Value) -> (u16, Value) {
    let mut body = json!({"model": "nomic-embed-text"});
    body.as_object_mut()
        .unwrap()
        .extend(fields.as_object().unwrap().clone());
    sim.post("/api/embed", &body).await
}

fn vectors(answer: &Value) -> Vec<Vec<f64>> {
    serde_json::from_value(answer["embeddings"].clone()).unwrap()
}

#[tokio::test]
async fn every_text_has_its_vector() {
    let sim = Sim::start(&[]).await;
    let (status, answer) =
        embedded(&sim, json!({"input": ["a red house", "x", "a red house"]})).await;
    let told = vectors(&answer);
    assert_eq!((status, told.len(), told[0].len()), (200, 3, 768));
    assert_eq!(told[0], told[2]);
    assert_ne!(told[0], told[1]);
    assert_eq!(
        (&answer["model"], &answer["prompt_eval_count"]),
        (&json!("nomic-embed-text"), &json!(7))
    );
    let (_, one) = embedded(&sim, json!({"input": "a red house"})).await;
    assert_eq!(vectors(&one), [told[0].clone()]);
    let old = json!({"model": "nomic-embed-text", "prompt": "a red house"});
    let (_, old) = sim.post("/api/embeddings", &old).await;
    assert_eq!(old, json!({"embedding": told[0]}));
    let (_, short) = embedded(&sim, json!({"input": "x", "dimensions": 5})).await;
    assert_eq!(vectors(&short)[0].len(), 5);
    let nothing = json!({"model": "llama3.2:1b", "embeddings": []});
    assert_eq!(
        embedded(&sim, json!({"model": "llama3.2:1b"})).await,
        (200, nothing)
    );
}

#[tokio::test]
async fn it_refuses_as_ollama_does() {
    let sim = Sim::start(&[]).await;
    let long = "abc ".repeat(3000);
    let cases = [
        (json!({"input": 1}), 400, "invalid input type"),
        (json!({"input": ["x", 1]}), 400, "invalid input type"),
        (
            json!({"model": "none", "input": "x"}),
            404,
            "model \"none\" not found, try pulling it first",
        ),
        (
            json!({"input": long, "truncate": false}),
            400,
            "the input length exceeds the context length",
        ),
    ];
    for (fields, status, message) in cases {
        assert_eq!(
            embedded(&sim, fields).await,
            (status, json!({"error": message}))
        );
    }
    assert_eq!(
        embedded(&sim, json!({"input": long})).await.1["prompt_eval_count"],
        2048
    );
}

#[tokio::test]
async fn models_for_chats_are_asked_in_vain_by_newer_servers() {
    let asked = json!({"model": "llama3.2:1b", "input": "x"});
    let (status, answer) = embedded(&Sim::start(&[]).await, asked.clone()).await;
    assert_eq!(status, 501);
    assert!(
        answer["error"]
            .as_str()
            .unwrap()
            .starts_with("This server does not support embeddings")
    );
    let old = Sim::start(&["--version-of", "0.17.4"]).await;
    assert_eq!(embedded(&old, asked).await.0, 200);
}
