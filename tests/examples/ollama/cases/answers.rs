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
        Case::new("GET /", |host| Box::pin(root(host)), "Ollama is running").but_simulators("Ollama is running (SIMULATED by ollama-sim)", "Nobody shall take it for a model."),
        Case::new(
            "capabilities of llama3.2:3b",
            |host| Box::pin(capabilities(host, MODEL)),
            "completion, tools",
        ),
        Case::new(
            "capabilities of gemma2:2b",
            |host| Box::pin(capabilities(host, "gemma2:2b")),
            "completion",
        ),
        Case::new(
            "capabilities of a model that thinks",
            |host| Box::pin(capabilities(host, "swarm-thinking")),
            "completion, thinking",
        ),
        Case::new(
            "capabilities of a model with a Jinja template alone",
            |host| Box::pin(capabilities(host, "swarm-native")),
            "completion, tools",
        ).but_0_17_4("completion", "It reads templates in the form of Go alone."),
        Case::new(
            "headers and fields of a stream",
            |host| Box::pin(shape(host)),
            "application/x-ndjson, length none; first: created_at done message model; last: created_at done done_reason eval_count eval_duration load_duration message model prompt_eval_count prompt_eval_duration total_duration",
        ),
        Case::new(
            "a text, streamed",
            |host| Box::pin(say(host, "Hello", json!({}))),
            "a text, done stop",
        ),
        Case::new(
            "a text, in one document",
            |host| Box::pin(say(host, "Hello", json!({"stream": false}))),
            "a text, done stop",
        ),
        Case::new(
            "a text beyond ASCII",
            |host| Box::pin(say(host, "@s:unicode@", json!({}))),
            "\"Grüße aus 東京, 42 °C 🦀.\", done stop",
        ),
        Case::new(
            "a text cut by `num_predict`",
            |host| Box::pin(say(host, "Hello", json!({"options": {"num_predict": 2}}))),
            "\"Hello, t\", done length",
        ),
        Case::new(
            "nothing at all",
            |host| Box::pin(say(host, "@s:empty@", json!({}))),
            "done stop",
        ),
        Case::new(
            "one token for ever, streamed",
            |host| {
                Box::pin(say(
                    host,
                    "@s:loop@",
                    json!({"options": {"num_predict": 50}}),
                ))
            },
            "\"again again again again again again again again again again again again again again again \"…, ends without done",
        ),
        Case::new(
            "one token for ever, in one document",
            |host| {
                let more = json!({"stream": false, "options": {"num_predict": 50}});
                Box::pin(say(host, "@s:loop@", more))
            },
            "\"again again again again again again again again again again again again again again again \"…, ends without done",
        ),
        Case::new(
            "one token for ever, native",
            |host| {
                Box::pin(async move {
                    let more = json!({"options": {"num_predict": 50}});
                    host.say("swarm-native", "@s:loop@", more).await.outcome()
                })
            },
            "\"again again again again again again again again again again again again again again again \"…, done length",
        ).but_0_17_4("\"again again again again again again again again again again again again again again again \"…, ends without done", "It has its own runner, which gives up after 30 equal tokens."),
        Case::new(
            "tokens of a text without an end, window of 256, no `num_predict`",
            |host| {
                Box::pin(async move {
                    let more = json!({"stream": false, "options": {"num_ctx": 256}});
                    let reply = host.say(MODEL, "@s:endless@", more).await;
                    let (count, reason) = (reply.last("eval_count"), reply.last("done_reason"));
                    Outcome::fact(format!("{count} tokens, {reason}"))
                })
            },
            "2560 tokens, \"length\"",
        ),
        Case::new(
            "no messages: load and unload",
            |host| Box::pin(load_and_unload(host)),
            "done load; then done unload",
        ),
    ]
}
