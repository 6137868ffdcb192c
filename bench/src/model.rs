//! The model host that both sides ask: it speaks as much of Ollama's API as a worker uses, and answers after a fixed time.
//!
//! It is no simulator of Ollama (that is `ollama-sim`): it is as cheap as an HTTP server can be, so that it hides nothing.

use std::time::Duration;

use anyhow::Result;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// The answer to everything: 256 bytes.
pub const ANSWER: &str = "The measured answer has exactly two hundred and fifty-six bytes, as a short paragraph of a small model \
    has. It says nothing, so that whoever reads it by accident knows that no model was asked, and that only the way to it and the way back are measured here.";
const _: () = assert!(ANSWER.len() == 256);

#[derive(Deserialize)]
struct Ask {
    #[serde(default)]
    stream: bool,
}

/// Serves on a port of loopback until the process is ended.
pub async fn serve(port: u16, latency: Duration) -> Result<()> {
    let app = Router::new()
        .route(
            "/api/version",
            get(|| async { Json(json!({ "version": "0.33.0" })) }),
        )
        .route("/api/tags", get(tags))
        .route("/api/show", post(show))
        .route("/api/ps", get(|| async { Json(json!({ "models": [] })) }))
        .route(
            "/api/status",
            get(|| async { Json(json!({ "cloud": { "disabled": true, "source": "env" } })) }),
        )
        .route("/api/chat", post(chat))
        .with_state(latency);
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    axum::serve(listener, app).await?;
    Ok(())
}

async fn tags() -> Json<Value> {
    let models = ["llama3.2:3b", "llama3.2:1b", "gemma2:2b"];
    // As every server does: by its digest, what a model can do is asked once.
    let model = |name| json!({ "name": name, "model": name, "digest": format!("{:064x}", 7) });
    Json(json!({ "models": models.map(model) }))
}

async fn show() -> Json<Value> {
    let facts = json!({ "llama.context_length": 131_072 });
    Json(json!({ "capabilities": ["completion", "tools"], "model_info": facts }))
}

async fn chat(State(latency): State<Duration>, body: Bytes) -> impl IntoResponse {
    let stream = serde_json::from_slice::<Ask>(&body).is_ok_and(|ask| ask.stream);
    if !latency.is_zero() {
        tokio::time::sleep(latency).await;
    }
    let message = json!({ "role": "assistant", "content": ANSWER });
    let end = |message: Value| {
        json!({
            "model": "m", "message": message, "done": true, "done_reason": "stop",
            "prompt_eval_count": 40, "eval_count": 60,
        })
    };
    let text = if stream {
        let first = json!({ "model": "m", "message": message, "done": false });
        let last = end(json!({ "role": "assistant", "content": "" }));
        format!("{first}\n{last}\n")
    } else {
        end(message).to_string()
    };
    ([(CONTENT_TYPE, "application/x-ndjson")], text)
}
