//! The little of `/v1` that there is.

use serde_json::{Value, json};

use crate::support::Sim;
use crate::tools::weather;

const PATH: &str = "/v1/chat/completions";

fn asked(user: &str) -> Value {
    json!({"model": "llama3.2:1b", "messages": [{"role": "user", "content": [{"type": "text", "text": user}]}]})
}

#[tokio::test]
async fn a_chat_is_completed() {
    let sim = Sim::start(&[]).await;
    let (status, answer) = sim.post(PATH, &asked("[[sim:reply=So.]]")).await;
    assert_eq!(
        (status, &answer["object"]),
        (200, &json!("chat.completion"))
    );
    let message = json!({"role": "assistant", "content": "[SIMULATED llama3.2:1b] So."});
    assert_eq!(
        answer["choices"],
        json!([{"index": 0, "message": message, "finish_reason": "stop"}])
    );
    assert_eq!(answer["usage"]["completion_tokens"], 3);
    sim.logged("", "done").await;
    assert_eq!(sim.stats().await["chat"], 1);
}

#[tokio::test]
async fn a_call_has_its_arguments_as_a_string() {
    let sim = Sim::start(&[]).await;
    let mut body = asked("Oslo?");
    body["tools"] = weather();
    let answer = sim.post(PATH, &body).await.1;
    let choice = &answer["choices"][0];
    assert_eq!(choice["finish_reason"], "tool_calls");
    let function = json!({"name": "get_weather", "arguments": "{\"city\":\"Oslo?\"}"});
    assert_eq!(choice["message"]["tool_calls"][0]["function"], function);
    let messages = body["messages"].as_array_mut().unwrap();
    messages.push(choice["message"].clone());
    let call = &choice["message"]["tool_calls"][0]["id"];
    messages.push(json!({"role": "tool", "content": "rain", "tool_call_id": call}));
    let answer = sim.post(PATH, &body).await.1;
    let text = answer["choices"][0]["message"]["content"].as_str().unwrap();
    assert!(
        text.ends_with("The tool get_weather returned: \u{201c}rain\u{201d}"),
        "{text}"
    );
}

#[tokio::test]
async fn a_stream_is_events() {
    let sim = Sim::start(&[]).await;
    let mut body = asked("[[sim:reply=So.]]");
    body["stream"] = json!(true);
    let request = sim.client.post(format!("{}{PATH}", sim.api)).json(&body);
    let response = request.send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let text = response.text().await.unwrap();
    let events: Vec<_> = text
        .split_terminator("\n\n")
        .map(|event| event.strip_prefix("data: ").unwrap())
        .collect();
    assert_eq!((events.len(), events[2]), (3, "[DONE]"));
    let first: Value = serde_json::from_str(events[0]).unwrap();
    assert_eq!(
        first["choices"][0]["delta"]["content"],
        "[SIMULATED llama3.2:1b] So."
    );
}

#[tokio::test]
async fn errors_have_the_other_shape() {
    let sim = Sim::start(&[]).await;
    let mut body = asked("x");
    body["model"] = json!("none");
    let error = json!({"message": "model 'none' not found", "type": "not_found_error", "param": null, "code": null});
    assert_eq!(sim.post(PATH, &body).await, (404, json!({"error": error})));
    body["messages"] = json!([]);
    let (status, answer) = sim.post(PATH, &body).await;
    let short = json!("[] is too short - 'messages'");
    assert_eq!((status, &answer["error"]["message"]), (400, &short));
    let listing = sim
        .client
        .get(format!("{}/v1/models", sim.api))
        .send()
        .await
        .unwrap();
    let listing: Value = listing.json().await.unwrap();
    assert_eq!(listing["data"][0]["id"], "llama3.2:3b");
}
