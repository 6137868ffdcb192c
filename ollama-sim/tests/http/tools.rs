//! Offered tools, and the calls that come of them.

use serde_json::{Value, json};

use crate::support::{Sim, ask};

/// A weather tool with a required city and an optional number of days.
pub fn weather() -> Value {
    json!([{"type": "function", "function": {
        "name": "get_weather",
        "description": "The weather of a city",
        "parameters": {"type": "object", "required": ["city"], "properties": {
            "city": {"type": "string"}, "days": {"type": "integer"},
        }},
    }}])
}

/// A question with the weather tool.
pub fn offering(user: &str) -> Value {
    let mut body = ask(user);
    body["tools"] = weather();
    body
}

/// Asks for the weather in Oslo, brings the result of the call that comes, and gives back the text that follows.
pub async fn after_the_call(sim: &Sim, user: &str, result: Value) -> Value {
    let mut body = offering(user);
    let call = sim.whole(&body).await.1["message"].clone();
    assert_eq!(
        call["tool_calls"][0]["function"]["arguments"],
        json!({"city": "Oslo"})
    );
    let messages = body["messages"].as_array_mut().unwrap();
    messages.push(call);
    messages.push(result);
    sim.whole(&body).await.1["message"]["content"].clone()
}

fn check_call(call: &Value, prefix: &str, length: usize) {
    let id = call["id"].as_str().unwrap();
    assert!(id.starts_with(prefix) && id.len() == length, "{id}");
    let function = json!({"index": 0, "name": "get_weather", "arguments": {"city": "Oslo?"}});
    assert_eq!(call["function"], function);
}

#[tokio::test]
async fn a_rendered_call_is_a_chunk_before_the_last() {
    let sim = Sim::start(&[]).await;
    let lines = sim.stream(&offering("Oslo?")).await;
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!(
        (&lines[0]["done"], &lines[1]["done"]),
        (&json!(false), &json!(true))
    );
    check_call(&lines[0]["message"]["tool_calls"][0], "call_", 13);
    assert_eq!(
        lines[1]["message"],
        json!({"role": "assistant", "content": ""})
    );
    assert_eq!(lines[1]["done_reason"], "stop");
    let (status, whole) = sim.whole(&offering("Oslo?")).await;
    assert_eq!(status, 200);
    assert_eq!(
        whole["message"]["tool_calls"],
        lines[0]["message"]["tool_calls"]
    );
    assert_eq!(whole["message"]["content"], "");
}

#[tokio::test]
async fn a_native_call_is_in_the_last_chunk() {
    let sim = Sim::start(&["--emission", "native"]).await;
    let lines = sim.stream(&offering("Oslo?")).await;
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(lines[0]["done"], true);
    check_call(&lines[0]["message"]["tool_calls"][0], "", 32);
}

#[tokio::test]
async fn older_servers_know_rendered_calls_only() {
    let sim = Sim::start(&["--emission", "native", "--version-of", "0.17.4"]).await;
    let lines = sim.stream(&offering("Oslo?")).await;
    check_call(&lines[0]["message"]["tool_calls"][0], "call_", 13);
}

#[tokio::test]
async fn a_result_is_quoted_and_no_tool_called_again() {
    let sim = Sim::start(&[]).await;
    let mut body = offering("Oslo?");
    let call = &sim.whole(&body).await.1["message"];
    let messages = body["messages"].as_array_mut().unwrap();
    messages.push(call.clone());
    messages.push(json!({"role": "tool", "content": "It rains.", "tool_call_id": call["tool_calls"][0]["id"]}));
    let (_, answer) = sim.whole(&body).await;
    assert_eq!(answer["message"]["tool_calls"], Value::Null);
    let text = answer["message"]["content"].as_str().unwrap();
    assert!(text.starts_with("[SIMULATED llama3.2:1b] "), "{text}");
    assert!(
        text.ends_with("The tool get_weather returned: \u{201c}It rains.\u{201d}"),
        "{text}"
    );
}

#[tokio::test]
async fn directives_choose_a_call_or_a_text() {
    let sim = Sim::start(&[]).await;
    let body = offering(r#"Oslo? [[sim:call=other {"x": [1, {"y": null}]}]]"#);
    let call = &sim.whole(&body).await.1["message"]["tool_calls"][0]["function"];
    assert_eq!(
        call,
        &json!({"index": 0, "name": "other", "arguments": {"x": [1, {"y": null}]}})
    );
    let message = &sim.whole(&offering("[[sim:reply=no]]")).await.1["message"];
    assert_eq!(
        message,
        &json!({"role": "assistant", "content": "[SIMULATED llama3.2:1b] no"})
    );
}

#[tokio::test]
async fn a_call_that_is_cut_by_its_length() {
    let rendered = Sim::start(&[]).await;
    let mut body = offering("Oslo?");
    body["options"] = json!({"num_predict": 5});
    let lines = rendered.stream(&body).await;
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["done_reason"], "length");
    assert_eq!(lines[0]["message"]["content"], r#"{"name":"get_weather"#);
    let native = Sim::start(&["--emission", "native"]).await;
    let message = r#"llama-server returned invalid tool call arguments for "get_weather": unexpected end of JSON input"#;
    assert_eq!(native.error(&body).await, (500, message.to_owned()));
}

#[tokio::test]
async fn arguments_of_the_history_are_objects() {
    let sim = Sim::start(&[]).await;
    let mut body = offering("Oslo?");
    let messages = body["messages"].as_array_mut().unwrap();
    let call = |arguments: Value| json!({"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": arguments}}]});
    messages.push(call(json!("{}")));
    let message = "Value looks like object, but can't find closing '}' symbol";
    assert_eq!(sim.error(&body).await, (400, message.to_owned()));
    body["messages"][1] = call(json!({}));
    assert_eq!(sim.whole(&body).await.0, 200);
}
