//! Rules by file and over the control port.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Sim, ask};
use crate::tools::{after_the_call, offering};

const RULES: &str = r#"
rules:
  - name: the weather
    when: {tools: get_weather, last: user, user: "in (?<city>\\w+)"}
    then:
      - tool_call: {name: get_weather, arguments: {city: "{city}"}}
  - name: its result
    when: {last: tool}
    then:
      - template: "{tool_name} said: {tool}"
  - name: a slow end
    when: {user: "^end"}
    then: [{latency: 1ms}, {text: one two}, {end: length}]
  - name: an error after text
    when: {user: "^break"}
    then: [{text: one}, {error: {status: 503, text: broken}}]
  - name: an error
    when: {user: "^no"}
    then: [{error: {status: 404, text: "no such thing"}}]
"#;

fn contents(lines: &[Value]) -> Vec<&str> {
    lines
        .iter()
        .map(|line| line["message"]["content"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn a_file_of_rules_is_followed() {
    let directory = tempfile::TempDir::new().unwrap();
    let file = directory.path().join("rules.yaml");
    std::fs::write(&file, RULES).unwrap();
    let sim = Sim::start(&["--rules", file.to_str().unwrap()]).await;
    let result = json!({"role": "tool", "content": "rain", "tool_name": "get_weather"});
    let answer = after_the_call(&sim, "The weather in Oslo", result).await;
    assert_eq!(answer, "get_weather said: rain");
    let lines = sim.stream(&ask("end")).await;
    assert_eq!(contents(&lines), ["one", " two", ""]);
    assert_eq!(lines[2]["done_reason"], "length");
}

#[tokio::test]
async fn errors_of_rules_come_as_those_of_a_server() {
    let sim = Sim::start(&[]).await;
    sim.put("/sim/rules", RULES).await;
    assert_eq!(
        sim.error(&ask("no")).await,
        (404, "no such thing".to_owned())
    );
    assert_eq!(sim.error(&ask("break")).await, (503, "broken".to_owned()));
    let lines = sim.stream(&ask("break")).await;
    assert_eq!(lines[0]["message"]["content"], "one");
    assert_eq!(lines[1..], [json!({"error": "broken"})]);
}

#[tokio::test]
async fn rules_are_listed_added_and_taken_away() {
    let sim = Sim::start(&[]).await;
    let rule = json!({"when": {"call": 2}, "then": [{"text": "again"}]});
    sim.put("/sim/rules", json!([rule]).to_string()).await;
    let first = sim.whole(&ask("x")).await.1;
    assert!(
        first["message"]["content"]
            .as_str()
            .unwrap()
            .starts_with("[SIMULATED")
    );
    let second = sim.whole(&ask("x")).await.1;
    assert_eq!(second["message"]["content"], "again");
    let listing: Value = sim.told("/sim/rules").await;
    assert_eq!(listing, json!({"rules": [{"rule": rule, "followed": 1}]}));
    assert_eq!(
        sim.control(Method::DELETE, "/sim/rules").await.status(),
        204
    );
    let listing: Value = sim.told("/sim/rules").await;
    assert_eq!(listing, json!({"rules": []}));
}

#[tokio::test]
async fn thinking_of_a_rule_is_text_where_nobody_thinks() {
    let sim = Sim::start(&[]).await;
    sim.put("/sim/rules", "[{then: [{thinking: Hm.}, {text: Yes.}]}]")
        .await;
    let mut body = ask("x");
    let message = &sim.whole(&body).await.1["message"];
    assert_eq!(message["content"], "<think>\nHm.\n</think>\n\nYes.");
    body["model"] = json!("qwen3:4b");
    let message = &sim.whole(&body).await.1["message"];
    assert_eq!(
        (&message["thinking"], &message["content"]),
        (&json!("Hm."), &json!("Yes."))
    );
}

#[tokio::test]
async fn a_reset_forgets_everything() {
    let sim = Sim::start(&[]).await;
    sim.put("/sim/rules", "[{then: [echo]}]").await;
    sim.put("/sim/faults", "[{fault: busy}]").await;
    assert_eq!(sim.error(&ask("x")).await.0, 503);
    assert_eq!(sim.control(Method::POST, "/sim/reset").await.status(), 204);
    assert_eq!(sim.log().await, json!({"requests": []}));
    assert_eq!(sim.stats().await["chat"], 0);
    let answer = sim.whole(&ask("x")).await.1;
    assert_ne!(answer["message"]["content"], "x");
}

#[tokio::test]
async fn the_same_request_has_the_same_bytes_under_a_fixed_clock() {
    let mut bodies = Vec::new();
    for _ in 0..2 {
        let sim = Sim::start(&["--clock", "fixed", "--seed", "3"]).await;
        for body in [offering("Oslo?"), ask("Oslo?"), offering("Oslo?")] {
            let response = sim.chat(&body).send().await.unwrap();
            bodies.push(response.text().await.unwrap());
        }
    }
    assert_eq!(bodies[..3], bodies[3..]);
    assert_eq!(bodies[0], bodies[2]);
    assert!(bodies[0].contains("\"created_at\":\"2026-01-01T00:00:00.000000000Z\""));
    let other = Sim::start(&["--clock", "fixed", "--seed", "4"]).await;
    let response = other.chat(&offering("Oslo?")).send().await.unwrap();
    assert_ne!(response.text().await.unwrap(), bodies[0]);
}
