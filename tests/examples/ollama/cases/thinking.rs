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

/// The call, its result and the answer with a model that is offered no tools, but a schema of what it may do.
async fn structured_loop(host: Host) -> Outcome {
    let user = json!({"role": "user", "content": "Tools: get_weather(city). What is the weather in Paris?"});
    let ask = |messages| {
        let model = "swarm-structured";
        json!({"model": model, "messages": messages, "format": action_schema(), "think": false})
    };
    let first = host.chat(ask(json!([user]))).await;
    let called = json!({"role": "assistant", "content": first.text()});
    let result = json!({"role": "user", "content": "Tool get_weather returned: 22 degrees"});
    let second = host.chat(ask(json!([user, called, result]))).await;
    let read =
        |text: String| serde_json::from_str::<Value>(&text).expect("the grammar makes it JSON");
    let (first, second) = (read(first.text()), read(second.text()));
    let (action, arguments, answer) = (&first["action"], &first["arguments"], &second["answer"]);
    Outcome::fact(format!(
        "{action} {arguments}; then {} {answer}",
        second["action"]
    ))
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
            "thinking \"Two and two.\", \"The answer is 4.\", done stop",
        ),
        Case::new(
            "a model that thinks, `think: false`",
            |host| Box::pin(play(host, THINKER, "Add 2 and 2", json!({"think": false}))),
            "\"The answer is 4.\", done stop",
        ),
        Case::new(
            "a model that thinks all the same, `think: false`",
            |host| Box::pin(play(host, THINKER, "@s:plain@", json!({"think": false}))),
            "\"<think>Two and two.</think>The answer is 4.\", done stop",
        ),
        Case::new(
            "thinking that does not end",
            |host| Box::pin(play(host, THINKER, "@s:unclosed@", json!({}))),
            "thinking \"Two and two is\", done stop",
        ),
        Case::new(
            "a model without the capability that thinks in its text",
            |host| Box::pin(play(host, "llama3.2:3b", "@s:think-inline@", json!({}))),
            "\"<think>It is a sum.</think>The answer is 4.\", done stop",
        ),
        Case::new(
            "`think: \"high\"`, for a model that thinks or not",
            |host| Box::pin(play(host, THINKER, "Add 2 and 2", json!({"think": "high"}))),
            "thinking \"Two and two.\", \"The answer is 4.\", done stop",
        )
        .but_0_17_4(
            "400 `think value \"high\" is not supported for this model`",
            "Levels are for models that have levels.",
        ),
        Case::new(
            "noise, held to a schema",
            |host| Box::pin(held(host)),
            "a value of the schema",
        ),
        Case::new(
            "a whole tool loop by a schema, for a model without tools",
            |host| Box::pin(structured_loop(host)),
            "\"get_weather\" {\"city\":\"Paris\"}; then \"final\" \"It is 22 degrees in Paris.\"",
        ),
        Case::new(
            "a schema, and a script that fits it",
            |host| {
                let more = json!({"format": action_schema(), "think": false});
                Box::pin(play(host, "llama3.2:3b", "@s:action@", more))
            },
            "\"{\\\"action\\\": \\\"get_weather\\\", \\\"arguments\\\": {\\\"city\\\": \\\"Paris\\\"}, \\\"answer\\\": \\\"\\\"}\", done stop",
        ),
        Case::new(
            "a schema and tools together",
            |host| {
                let more = json!({"format": action_schema(), "tools": weather()});
                Box::pin(play(host, "llama3.2:3b", "@s:action@", more))
            },
            "call get_weather {\"action\":\"get_weather\",\"answer\":\"\",\"arguments\":{\"city\":\"Paris\"}} (id call_+8), done stop",
        ),
        Case::new(
            "a schema, `think` not set: a model that thinks first",
            |host| {
                let more = json!({"format": answer_schema(), "options": {"num_predict": 40}});
                Box::pin(play(host, THINKER, "@s:think-json@", more))
            },
            "thinking \"Two and two.\", \"{\\\"answer\\\": 4}\", done stop",
        ),
        Case::new(
            "a schema, `think` not set: a model that does not think",
            |host| {
                let more = json!({"format": answer_schema(), "options": {"num_predict": 40}});
                Box::pin(play(host, THINKER, "@s:direct@", more))
            },
            "\"The answer is 4.\", done stop",
        ),
        Case::new(
            "a schema, `think: false`: the same model",
            |host| {
                let more = json!({"format": answer_schema(), "think": false, "options": {"num_predict": 40}});
                Box::pin(play(host, THINKER, "@s:json@", more))
            },
            "\"{\\\"answer\\\": 4}\", done stop",
        ),
    ]
}
