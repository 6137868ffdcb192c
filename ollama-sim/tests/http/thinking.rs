//! Thinking models.

use serde_json::{Value, json};

use crate::support::{Sim, ask};

fn question(think: Value) -> Value {
    let mut body = ask("Why?");
    body["model"] = json!("qwen3:4b");
    body["think"] = think;
    body
}

#[tokio::test]
async fn a_thinking_model_thinks_unless_told_not_to() {
    let sim = Sim::start(&[]).await;
    for think in [json!(null), json!(true), json!("low"), json!("max")] {
        let message = sim.whole(&question(think.clone())).await.1["message"].clone();
        let thought = message["thinking"].as_str().unwrap();
        assert!(thought.starts_with("(simulated thinking) "), "{think}");
        assert!(
            message["content"]
                .as_str()
                .unwrap()
                .starts_with("[SIMULATED qwen3:4b] ")
        );
    }
    let message = sim.whole(&question(json!(false))).await.1["message"].clone();
    assert_eq!(message["thinking"], Value::Null);
}

#[tokio::test]
async fn thinking_comes_first_and_in_its_own_field() {
    let sim = Sim::start(&[]).await;
    let lines = sim.stream(&question(json!(true))).await;
    assert_eq!(
        lines[0]["message"],
        json!({"role": "assistant", "content": "", "thinking": "(simulated"})
    );
    let thoughts = lines
        .iter()
        .take_while(|line| line["message"]["thinking"].is_string())
        .count();
    let texts = lines[thoughts..]
        .iter()
        .filter(|line| line["message"]["thinking"].is_null());
    assert_eq!(thoughts + texts.count(), lines.len());
    assert_eq!(lines.last().unwrap()["eval_count"], lines.len() - 1);
}

#[tokio::test]
async fn older_servers_have_no_levels() {
    let sim = Sim::start(&["--version-of", "0.17.4"]).await;
    let message = r#"think value "high" is not supported for this model"#;
    assert_eq!(
        sim.error(&question(json!("high"))).await,
        (400, message.to_owned())
    );
    let message = r#"invalid think value: "max" (must be "high", "medium", "low", true, or false)"#;
    assert_eq!(
        sim.error(&question(json!("max"))).await,
        (400, message.to_owned())
    );
}
