//! Answers under a `format`.

use serde_json::{Value, json};

use crate::support::{Sim, ask};
use crate::tools::offering;

fn content(answer: &Value) -> Value {
    serde_json::from_str(answer["message"]["content"].as_str().unwrap()).unwrap()
}

#[tokio::test]
async fn a_schema_gets_an_instance() {
    let sim = Sim::start(&[]).await;
    let mut body = ask("Oslo?");
    body["format"] = json!({"type": "object", "required": ["kind", "n"], "properties": {
        "n": {"type": "integer", "minimum": 3}, "kind": {"enum": ["rain", "sun"]}, "why": {"type": "string"},
    }});
    let (status, answer) = sim.whole(&body).await;
    let expected = json!({"kind": "rain", "n": 3, "why": "[SIMULATED llama3.2:1b] Oslo?"});
    assert_eq!((status, content(&answer)), (200, expected));
    let text = answer["message"]["content"].as_str().unwrap();
    assert!(
        text.starts_with("{\"n\":"),
        "not in the order of the schema: {text}"
    );
    body["format"] = json!("json");
    let (_, answer) = sim.whole(&body).await;
    assert!(
        content(&answer)["answer"]
            .as_str()
            .unwrap()
            .starts_with("[SIMULATED ")
    );
}

#[tokio::test]
async fn an_action_and_then_the_final_one() {
    let sim = Sim::start(&[]).await;
    let mut body = json!({"model": "gemma2:2b", "think": false, "messages": [{"role": "user", "content": "Oslo?"}]});
    let action = |name: &str, field: &str, schema: Value| {
        json!({"type": "object", "required": ["action", field], "properties": {
            "action": {"const": name}, field: schema,
        }})
    };
    let arguments =
        json!({"type": "object", "required": ["city"], "properties": {"city": {"type": "string"}}});
    body["format"] = json!({"anyOf": [
        action("get_weather", "arguments", arguments),
        action("final", "answer", json!({"type": "string"})),
    ]});
    let first = sim.whole(&body).await.1;
    assert_eq!(
        content(&first),
        json!({"action": "get_weather", "arguments": {"city": "Oslo?"}})
    );
    let messages = body["messages"].as_array_mut().unwrap();
    messages.push(first["message"].clone());
    messages.push(json!({"role": "user", "content": "Tool get_weather returned: rain"}));
    let last = content(&sim.whole(&body).await.1);
    assert_eq!(last["action"], "final");
    let answer = last["answer"].as_str().unwrap();
    assert!(answer.starts_with("[SIMULATED gemma2:2b] "), "{answer}");
    assert!(
        answer.ends_with("The tool get_weather returned: \u{201c}rain\u{201d}"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_format_beside_tools_is_read_for_calls() {
    let rendered = Sim::start(&[]).await;
    let mut body = offering("Oslo?");
    body["format"] = json!({"properties": {"action": {"enum": ["get_weather", "final"]}, "answer": {"type": "string"}}});
    let instance = json!({"action": "get_weather", "answer": ""});
    let call = &rendered.whole(&body).await.1["message"]["tool_calls"][0]["function"];
    assert_eq!(
        call,
        &json!({"index": 0, "name": "get_weather", "arguments": instance})
    );
    let native = Sim::start(&["--emission", "native"]).await;
    let answer = native.whole(&body).await.1;
    assert_eq!(
        (content(&answer), &answer["message"]["tool_calls"]),
        (instance, &Value::Null)
    );
}
