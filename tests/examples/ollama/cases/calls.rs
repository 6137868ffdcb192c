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
    let text = format!("@s:{script}@");
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
            "call get_weather {\"city\":\"Paris\"} (id call_+8), done stop; then \"It is 22 degrees in Paris.\", done stop",
        ),
        Case::new(
            "a whole tool loop, in a tag",
            |host| Box::pin(whole_loop(host, TAGGED)),
            "call get_weather {\"city\":\"Paris\"} (id call_+8), done stop; then \"It is 22 degrees in Paris.\", done stop",
        ),
        Case::new(
            "a whole tool loop, native",
            |host| Box::pin(whole_loop(host, NATIVE)),
            "call get_weather {\"city\":\"Paris\"} (id +32), done stop; then \"It is 22 degrees in Paris.\", done stop",
        ).but_0_17_4("400 `registry.ollama.ai/library/swarm-native:latest does not support tools`; then 400 `registry.ollama.ai/library/swarm-native:latest does not support tools`", "It reads templates in the form of Go alone."),
        Case::new("one call", |host| Box::pin(play(host, BARE, "call")), "call get_weather {\"city\":\"Paris\"} (id call_+8), done stop"),
        Case::new(
            "one call, in a tag",
            |host| Box::pin(play(host, TAGGED, "call")),
            "call get_weather {\"city\":\"Paris\"} (id call_+8), done stop",
        ),
        Case::new(
            "one call, native",
            |host| Box::pin(play(host, NATIVE, "call")),
            "done stop, call get_weather {\"city\":\"Paris\"} (id +32)",
        ).but_0_17_4("400 `registry.ollama.ai/library/swarm-native:latest does not support tools`", "It reads templates in the form of Go alone."),
        Case::new(
            "two calls",
            |host| Box::pin(play(host, BARE, "two-calls")),
            "call get_weather {\"city\":\"Paris\"} (id call_+8), call get_weather {\"city\":\"Rome\"} (id call_+8), done stop",
        ),
        Case::new(
            "two calls, in tags",
            |host| Box::pin(play(host, TAGGED, "two-calls")),
            "call get_weather {\"city\":\"Paris\"} (id call_+8), call get_weather {\"city\":\"Rome\"} (id call_+8), done stop",
        ),
        Case::new(
            "two calls, native",
            |host| Box::pin(play(host, NATIVE, "two-calls")),
            "done stop, call get_weather {\"city\":\"Paris\"} (id +32), call get_weather {\"city\":\"Rome\"} (id +32)",
        ).but_0_17_4("400 `registry.ollama.ai/library/swarm-native:latest does not support tools`", "It reads templates in the form of Go alone."),
        Case::new(
            "`arguments` for `parameters`",
            |host| Box::pin(play(host, BARE, "call-arguments")),
            "call get_weather {\"city\":\"Paris\"} (id call_+8), done stop",
        ),
        Case::new(
            "`{\"type\":\"function\",…}`",
            |host| Box::pin(play(host, BARE, "call-function")),
            "call get_weather {\"city\":\"Paris\"} (id call_+8), done stop",
        ),
        Case::new(
            "arguments as a string",
            |host| Box::pin(play(host, BARE, "call-string")),
            "call get_weather {\"city\":\"Paris\"} (id call_+8), done stop",
        ),
        Case::new(
            "arguments as a string, native",
            |host| Box::pin(play(host, NATIVE, "call-string")),
            "done stop, call get_weather {\"city\":\"Paris\"} (id +32)",
        ).but_0_17_4("400 `registry.ollama.ai/library/swarm-native:latest does not support tools`", "It reads templates in the form of Go alone."),
        Case::new(
            "wrong types, unknown arguments",
            |host| Box::pin(play(host, BARE, "call-types")),
            "call get_weather {\"city\":7,\"days\":\"many\"} (id call_+8), done stop",
        ),
        Case::new(
            "a tool that was not offered",
            |host| Box::pin(play(host, BARE, "call-unknown")),
            "\"{\\\"name\\\": \\\"get_wether\\\", \\\"parameters\\\": {\\\"city\\\": \\\"Paris\\\"}}\", done stop",
        ),
        Case::new(
            "a tool that was not offered, in a tag",
            |host| Box::pin(play(host, TAGGED, "call-unknown")),
            "done stop",
        ),
        Case::new(
            "a tool that was not offered, native",
            |host| Box::pin(play(host, NATIVE, "call-unknown")),
            "500 `llama-server returned invalid tool call arguments for \"get_weather\": unexpected end of JSON input`",
        ).but_0_17_4("400 `registry.ollama.ai/library/swarm-native:latest does not support tools`", "It reads templates in the form of Go alone."),
        Case::new(
            "a call that is cut off",
            |host| Box::pin(play(host, BARE, "call-cut")),
            "done stop, \"{\\\"name\\\": \\\"get_weather\\\", \\\"parameters\\\": {\\\"city\\\": \\\"Par\"",
        ),
        Case::new(
            "a call that is cut off, in a tag",
            |host| Box::pin(play(host, TAGGED, "call-cut")),
            "done stop",
        ),
        Case::new(
            "a call that is cut off, native",
            |host| Box::pin(play(host, NATIVE, "call-cut")),
            "500 `llama-server returned invalid tool call arguments for \"get_weather\": unexpected end of JSON input`",
        ).but_0_17_4("400 `registry.ollama.ai/library/swarm-native:latest does not support tools`", "It reads templates in the form of Go alone."),
        Case::new(
            "a call behind a text",
            |host| Box::pin(play(host, BARE, "call-after-text")),
            "\"Let me look that up. {\\\"name\\\": \\\"get_weather\\\", \\\"parameters\\\": {\\\"city\\\": \\\"Paris\\\"}}\", done stop",
        ),
        Case::new(
            "a fenced call",
            |host| Box::pin(play(host, BARE, "call-fenced")),
            "\"```json\\n{\\\"name\\\": \\\"get_weather\\\", \\\"parameters\\\": {\\\"city\\\": \\\"Paris\\\"}}\\n```\", done stop",
        ),
        Case::new(
            "a call in a foreign tag",
            |host| Box::pin(play(host, BARE, "call-tagged")),
            "\"<tool_call>\\n{\\\"name\\\": \\\"get_weather\\\", \\\"arguments\\\": {\\\"city\\\": \\\"Paris\\\"}}\\n</tool_call>\", done stop",
        ),
        Case::new(
            "a call as in Python",
            |host| Box::pin(play(host, BARE, "call-pythonic")),
            "\"[get_weather(city=\\\"Paris\\\")]\", done stop",
        ),
        Case::new(
            "a call that is only announced",
            |host| Box::pin(play(host, BARE, "call-prose")),
            "\"I will call the tool get_weather now.\", done stop",
        ),
    ]
}
