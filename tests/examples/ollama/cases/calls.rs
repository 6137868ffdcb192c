//! What becomes of a call in the text of a model, when `get_weather(city)` is offered.

use serde_json::json;

use super::weather;
use crate::case::Case;
use crate::host::Host;
use crate::outcome::Outcome;

const BARE: &str = "llama3.2:3b";
const TAGGED: &str = "swarm-tagged";
const NATIVE: &str = "swarm-native";

async fn play(host: Host, model: &str, script: &str) -> Outcome {
    let text = format!("<|s:{script}|>");
    let more = json!({"tools": weather(), "options": {"num_predict": 100}});
    host.say(model, &text, more).await.outcome()
}

/// The call, its result, and the answer, each request as a client makes it.
async fn whole_loop(host: Host, model: &str) -> Outcome {
    let user = json!({"role": "user", "content": "What is the weather in Paris?"});
    let ask = |messages| json!({"model": model, "messages": messages, "tools": weather(), "stream": false});
    let first = host.chat(ask(json!([user]))).await;
    let called = first.last("message").clone();
    let result = json!({
        "role": "tool",
        "tool_name": "get_weather",
        "tool_call_id": called["tool_calls"][0]["id"],
        "content": "22 degrees",
    });
    let second = host.chat(ask(json!([user, called, result]))).await;
    Outcome::fact(format!("{}; then {}", first.outcome(), second.outcome()))
}

pub fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "a whole tool loop",
            |host| Box::pin(whole_loop(host, BARE)),
            "?",
        ),
        Case::new(
            "a whole tool loop, in a tag",
            |host| Box::pin(whole_loop(host, TAGGED)),
            "?",
        ),
        Case::new(
            "a whole tool loop, native",
            |host| Box::pin(whole_loop(host, NATIVE)),
            "?",
        ),
        Case::new("one call", |host| Box::pin(play(host, BARE, "call")), "?"),
        Case::new(
            "one call, in a tag",
            |host| Box::pin(play(host, TAGGED, "call")),
            "?",
        ),
        Case::new(
            "one call, native",
            |host| Box::pin(play(host, NATIVE, "call")),
            "?",
        ),
        Case::new(
            "two calls",
            |host| Box::pin(play(host, BARE, "two-calls")),
            "?",
        ),
        Case::new(
            "two calls, in tags",
            |host| Box::pin(play(host, TAGGED, "two-calls")),
            "?",
        ),
        Case::new(
            "two calls, native",
            |host| Box::pin(play(host, NATIVE, "two-calls")),
            "?",
        ),
        Case::new(
            "`arguments` for `parameters`",
            |host| Box::pin(play(host, BARE, "call-arguments")),
            "?",
        ),
        Case::new(
            "`{\"type\":\"function\",…}`",
            |host| Box::pin(play(host, BARE, "call-function")),
            "?",
        ),
        Case::new(
            "arguments as a string",
            |host| Box::pin(play(host, BARE, "call-string")),
            "?",
        ),
        Case::new(
            "arguments as a string, native",
            |host| Box::pin(play(host, NATIVE, "call-string")),
            "?",
        ),
        Case::new(
            "wrong types, unknown arguments",
            |host| Box::pin(play(host, BARE, "call-types")),
            "?",
        ),
        Case::new(
            "a tool that was not offered",
            |host| Box::pin(play(host, BARE, "call-unknown")),
            "?",
        ),
        Case::new(
            "a tool that was not offered, in a tag",
            |host| Box::pin(play(host, TAGGED, "call-unknown")),
            "?",
        ),
        Case::new(
            "a tool that was not offered, native",
            |host| Box::pin(play(host, NATIVE, "call-unknown")),
            "?",
        ),
        Case::new(
            "a call that is cut off",
            |host| Box::pin(play(host, BARE, "call-cut")),
            "?",
        ),
        Case::new(
            "a call that is cut off, in a tag",
            |host| Box::pin(play(host, TAGGED, "call-cut")),
            "?",
        ),
        Case::new(
            "a call that is cut off, native",
            |host| Box::pin(play(host, NATIVE, "call-cut")),
            "?",
        ),
        Case::new(
            "a call behind a text",
            |host| Box::pin(play(host, BARE, "call-after-text")),
            "?",
        ),
        Case::new(
            "a fenced call",
            |host| Box::pin(play(host, BARE, "call-fenced")),
            "?",
        ),
        Case::new(
            "a call in a foreign tag",
            |host| Box::pin(play(host, BARE, "call-tagged")),
            "?",
        ),
        Case::new(
            "a call as in Python",
            |host| Box::pin(play(host, BARE, "call-pythonic")),
            "?",
        ),
        Case::new(
            "a call that is only announced",
            |host| Box::pin(play(host, BARE, "call-prose")),
            "?",
        ),
    ]
}
