//! Models that think, formats, and both together.

use serde_json::{Value, json};

use super::weather;
use crate::case::Case;
use crate::host::Host;
use crate::outcome::Outcome;

const THINKER: &str = "swarm-thinking";

async fn play(host: Host, model: &str, text: &str, more: Value) -> Outcome {
    host.say(model, text, more).await.outcome()
}

fn answer_schema() -> Value {
    json!({
        "type": "object",
        "properties": {"answer": {"type": "integer"}},
        "required": ["answer"],
    })
}

fn action_schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "action": {"type": "string", "enum": ["get_weather", "final"]},
            "arguments": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
            "answer": {"type": "string"},
        },
        "required": ["action", "arguments", "answer"],
    })
}

/// Whether noise that is held to a schema comes out as a value of it.
async fn held(host: Host) -> Outcome {
    let format = json!({
        "type": "object",
        "properties": {
            "action": {"type": "string", "enum": ["search", "final"]},
            "count": {"type": "integer"},
        },
        "required": ["action", "count"],
    });
    let more = json!({"format": format, "stream": false, "options": {"num_predict": 400}});
    let reply = host.say("swarm-random", "Hello", more).await;
    let value: Value = serde_json::from_str(&reply.text()).unwrap_or_default();
    let kept = ["search", "final"].contains(&value["action"].as_str().unwrap_or_default())
        && value["count"].is_i64();
    if kept {
        Outcome::fact("a value of the schema")
    } else {
        reply.outcome()
    }
}

pub fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "a model that thinks, `think` not set",
            |host| Box::pin(play(host, THINKER, "Add 2 and 2", json!({}))),
            "?",
        ),
        Case::new(
            "a model that thinks, `think: false`",
            |host| Box::pin(play(host, THINKER, "Add 2 and 2", json!({"think": false}))),
            "?",
        ),
        Case::new(
            "a model that thinks all the same, `think: false`",
            |host| Box::pin(play(host, THINKER, "<|s:plain|>", json!({"think": false}))),
            "?",
        ),
        Case::new(
            "thinking that does not end",
            |host| Box::pin(play(host, THINKER, "<|s:unclosed|>", json!({}))),
            "?",
        ),
        Case::new(
            "a model without the capability that thinks in its text",
            |host| Box::pin(play(host, "llama3.2:3b", "<|s:think-inline|>", json!({}))),
            "?",
        ),
        Case::new(
            "`think: \"high\"`, for a model that thinks or not",
            |host| Box::pin(play(host, THINKER, "Add 2 and 2", json!({"think": "high"}))),
            "?",
        ),
        Case::new("noise, held to a schema", |host| Box::pin(held(host)), "?"),
        Case::new(
            "a schema, and a script that fits it",
            |host| {
                let more = json!({"format": action_schema(), "think": false});
                Box::pin(play(host, "llama3.2:3b", "<|s:action|>", more))
            },
            "?",
        ),
        Case::new(
            "a schema and tools together",
            |host| {
                let more = json!({"format": action_schema(), "tools": weather()});
                Box::pin(play(host, "llama3.2:3b", "<|s:action|>", more))
            },
            "?",
        ),
        Case::new(
            "a schema, `think` not set: a model that thinks first",
            |host| {
                let more = json!({"format": answer_schema(), "options": {"num_predict": 40}});
                Box::pin(play(host, THINKER, "<|s:think-json|>", more))
            },
            "?",
        ),
        Case::new(
            "a schema, `think` not set: a model that does not think",
            |host| {
                let more = json!({"format": answer_schema(), "options": {"num_predict": 40}});
                Box::pin(play(host, THINKER, "<|s:direct|>", more))
            },
            "?",
        ),
        Case::new(
            "a schema, `think: false`: the same model",
            |host| {
                let more = json!({"format": answer_schema(), "think": false, "options": {"num_predict": 40}});
                Box::pin(play(host, THINKER, "<|s:json|>", more))
            },
            "?",
        ),
    ]
}
