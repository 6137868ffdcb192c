//! Whole answers, without tools.

use serde_json::{Value, json};
use swarm_tests::ollama::client;

use crate::case::Case;
use crate::host::Host;
use crate::outcome::Outcome;

const MODEL: &str = "llama3.2:3b";

async fn say(host: Host, text: &str, more: Value) -> Outcome {
    host.say(MODEL, text, more).await.outcome()
}

async fn capabilities(host: Host, model: &str) -> Outcome {
    let shown = host.show(model).await;
    let mut capabilities: Vec<&str> = shown["capabilities"]
        .as_array()
        .expect("capabilities")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    capabilities.sort_unstable();
    Outcome::fact(capabilities.join(", "))
}

/// The headers of a streamed answer that matter, and the fields of its first and last chunk.
async fn shape(host: Host) -> Outcome {
    let response = host
        .post(
            "/api/chat",
            crate::host::body(MODEL, "Hello", json!({})).to_string(),
        )
        .await;
    let header = |name: &str| {
        let value = response.headers().get(name);
        value
            .map_or("none", |value| value.to_str().unwrap_or_default())
            .to_owned()
    };
    let (content, length) = (header("content-type"), header("content-length"));
    let reply = crate::outcome::Reply::read(response).await;
    let fields = |chunk: &Value| {
        let mut fields: Vec<&str> = chunk
            .as_object()
            .expect("an object")
            .keys()
            .map(String::as_str)
            .collect();
        fields.sort_unstable();
        fields.join(" ")
    };
    let (first, last) = (&reply.chunks[0], &reply.chunks[reply.chunks.len() - 1]);
    Outcome::fact(format!(
        "{content}, length {length}; first: {}; last: {}",
        fields(first),
        fields(last)
    ))
}

/// A chat without messages loads a model, and unloads it when it is to be kept for no time.
async fn load_and_unload(host: Host) -> Outcome {
    let load = host.chat(json!({"model": MODEL, "messages": []})).await;
    host.loaded(1).await;
    let unload = host
        .chat(json!({"model": MODEL, "messages": [], "keep_alive": 0}))
        .await;
    host.loaded(0).await;
    Outcome::fact(format!("{}; then {}", load.outcome(), unload.outcome()))
}

async fn root(host: Host) -> Outcome {
    let response = client().get(host.url()).send().await.expect("an answer");
    Outcome::fact(response.text().await.expect("a body"))
}

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("GET /", |host| Box::pin(root(host)), "?"),
        Case::new(
            "capabilities of llama3.2:3b",
            |host| Box::pin(capabilities(host, MODEL)),
            "?",
        ),
        Case::new(
            "capabilities of gemma2:2b",
            |host| Box::pin(capabilities(host, "gemma2:2b")),
            "?",
        ),
        Case::new(
            "capabilities of a model that thinks",
            |host| Box::pin(capabilities(host, "swarm-thinking")),
            "?",
        ),
        Case::new(
            "capabilities of a model with a Jinja template alone",
            |host| Box::pin(capabilities(host, "swarm-native")),
            "?",
        ),
        Case::new(
            "headers and fields of a stream",
            |host| Box::pin(shape(host)),
            "?",
        ),
        Case::new(
            "a text, streamed",
            |host| Box::pin(say(host, "Hello", json!({}))),
            "?",
        ),
        Case::new(
            "a text, in one document",
            |host| Box::pin(say(host, "Hello", json!({"stream": false}))),
            "?",
        ),
        Case::new(
            "a text beyond ASCII",
            |host| Box::pin(say(host, "<|s:unicode|>", json!({}))),
            "?",
        ),
        Case::new(
            "a text cut by `num_predict`",
            |host| Box::pin(say(host, "Hello", json!({"options": {"num_predict": 2}}))),
            "?",
        ),
        Case::new(
            "nothing at all",
            |host| Box::pin(say(host, "<|s:empty|>", json!({}))),
            "?",
        ),
        Case::new(
            "one token for ever, streamed",
            |host| {
                Box::pin(say(
                    host,
                    "<|s:loop|>",
                    json!({"options": {"num_predict": 50}}),
                ))
            },
            "?",
        ),
        Case::new(
            "one token for ever, in one document",
            |host| {
                let more = json!({"stream": false, "options": {"num_predict": 50}});
                Box::pin(say(host, "<|s:loop|>", more))
            },
            "?",
        ),
        Case::new(
            "one token for ever, native",
            |host| {
                Box::pin(async move {
                    let more = json!({"options": {"num_predict": 50}});
                    host.say("swarm-native", "<|s:loop|>", more).await.outcome()
                })
            },
            "?",
        ),
        Case::new(
            "tokens of a text without an end, window of 256, no `num_predict`",
            |host| {
                Box::pin(async move {
                    let more = json!({"stream": false, "options": {"num_ctx": 256}});
                    let reply = host.say(MODEL, "<|s:endless|>", more).await;
                    let (count, reason) = (reply.last("eval_count"), reply.last("done_reason"));
                    Outcome::fact(format!("{count} tokens, {reason}"))
                })
            },
            "?",
        ),
        Case::new(
            "no messages: load and unload",
            |host| Box::pin(load_and_unload(host)),
            "?",
        ),
    ]
}
