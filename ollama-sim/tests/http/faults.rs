//! Faults of what is said, and of documents.

use serde_json::{Value, json};

use crate::support::{Sim, ask};
use crate::tools::offering;

/// A whole answer to an offer of a tool, with a fault.
async fn faulty(sim: &Sim, fault: &str) -> Value {
    let (status, answer) = sim
        .whole(&offering(&format!("Oslo? [[sim:fault={fault}]]")))
        .await;
    assert_eq!(status, 200, "{fault}: {answer}");
    answer
}

fn call(answer: &Value) -> &Value {
    &answer["message"]["tool_calls"][0]["function"]
}

#[tokio::test]
async fn statuses_in_place_of_an_answer() {
    let sim = Sim::start(&[]).await;
    let busy = "server busy, please try again.  maximum pending requests exceeded";
    assert_eq!(
        sim.error(&ask("[[sim:fault=busy]]")).await,
        (503, busy.to_owned())
    );
    let (status, text) = sim.error(&ask("[[sim:fault=tool_parse_error]]")).await;
    assert!(
        status == 500 && text.starts_with("error parsing tool call"),
        "{text}"
    );
    let (status, text) = sim.error(&ask("[[sim:fault=runner_crash]]")).await;
    assert!(
        status == 500 && text.starts_with("model runner has unexpectedly stopped"),
        "{text}"
    );
    let (status, text) = sim.error(&ask("[[sim:fault=error200]]")).await;
    assert!(
        status == 200 && text.starts_with("an error was encountered"),
        "{text}"
    );
    let page = sim
        .chat(&ask("[[sim:fault=html502]]"))
        .send()
        .await
        .unwrap();
    assert_eq!(
        (
            page.status().as_u16(),
            &page.headers()["content-type"] == "text/html"
        ),
        (502, true)
    );
}

#[tokio::test]
async fn calls_go_wrong() {
    let sim = Sim::start(&[]).await;
    let right = json!({"city": "Oslo?"});
    let cases = [
        ("args_string", json!(right.to_string())),
        (
            "args_nested",
            json!({"name": "get_weather", "arguments": right.to_string()}),
        ),
        ("args_types", json!({"city": 17})),
        ("args_missing", json!({})),
        ("args_extra", json!({"city": "Oslo?", "confidence": 0.9})),
    ];
    for (fault, arguments) in cases {
        assert_eq!(
            call(&faulty(&sim, fault).await)["arguments"],
            arguments,
            "{fault}"
        );
    }
    assert_eq!(
        call(&faulty(&sim, "unknown_tool").await)["name"],
        "get_weather_v2"
    );
    let missing = faulty(&sim, "missing_ids").await;
    assert_eq!(missing["message"]["tool_calls"][0].get("id"), None);
}

#[tokio::test]
async fn calls_get_lost() {
    let sim = Sim::start(&[]).await;
    let texts = [
        ("swallowed_call", ""),
        ("empty", ""),
        (
            "text_call",
            r#"{"name":"get_weather","parameters":{"city":"Oslo?"}}"#,
        ),
        ("prose_call", "I will now call the tool get_weather."),
    ];
    for (fault, text) in texts {
        let answer = faulty(&sim, fault).await;
        assert_eq!(
            answer["message"],
            json!({"role": "assistant", "content": text}),
            "{fault}"
        );
        assert!(answer["eval_count"].as_u64() > Some(0), "{fault}");
    }
}

#[tokio::test]
async fn a_rule_can_make_two_calls_with_one_id_in_a_dialect() {
    let sim = Sim::start(&[]).await;
    sim.put(
        "/sim/rules",
        "[{then: [{tool_calls: [{name: a}, {name: b}]}, {fault: duplicate_ids}]}]",
    )
    .await;
    let calls = sim.whole(&offering("x")).await.1["message"]["tool_calls"].clone();
    assert_eq!(
        (calls.as_array().unwrap().len(), &calls[0]["id"]),
        (2, &calls[1]["id"])
    );
    sim.put(
        "/sim/rules",
        "[{then: [{tool_calls: [{name: a}, {name: b}]}, {fault: {name: text_call, dialect: tagged}}]}]",
    )
    .await;
    let text = &sim.whole(&offering("x")).await.1["message"]["content"];
    let tagged =
        |name| format!("<tool_call>\n{{\"name\":\"{name}\",\"arguments\":{{}}}}\n</tool_call>");
    assert_eq!(text, &json!(tagged("a") + &tagged("b")));
}

#[tokio::test]
async fn the_same_call_for_ever() {
    let sim = Sim::start(&[]).await;
    let mut body = offering("Oslo? [[sim:fault=same_call]]");
    let mut calls = Vec::new();
    for _ in 0..3 {
        let message = sim.whole(&body).await.1["message"].clone();
        calls.push(message["tool_calls"][0]["function"].clone());
        let messages = body["messages"].as_array_mut().unwrap();
        messages.push(message);
        messages.push(json!({"role": "tool", "content": "rain"}));
    }
    assert_eq!(calls[0]["name"], "get_weather");
    assert!(calls.iter().all(|call| *call == calls[0]), "{calls:?}");
}

#[tokio::test]
async fn text_goes_wrong() {
    let sim = Sim::start(&[]).await;
    let text = async |fault: &str| {
        let body = ask(&format!("[[sim:reply=Yes]][[sim:fault={fault}]]"));
        let message = sim.whole(&body).await.1["message"].clone();
        message["content"].as_str().unwrap().to_owned()
    };
    let right = "[SIMULATED llama3.2:1b] Yes";
    assert_eq!(
        text("think_tags").await,
        format!("<think>\nHm.\n</think>\n\n{right}")
    );
    assert_eq!(
        text("think_unclosed").await,
        format!("<think>\nHm. {right}")
    );
    assert_eq!(text("cut_json").await, right[..13]);
    assert_eq!(text("bad_schema").await, "{\"unexpected\":[27]}");
    let lines = sim.stream(&ask("[[sim:fault=huge_line]]")).await;
    assert_eq!(
        lines[0]["message"]["content"].as_str().unwrap().len(),
        10 << 20
    );
}

#[tokio::test]
async fn endings_go_wrong() {
    let sim = Sim::start(&[]).await;
    let lines = sim
        .stream(&ask("[[sim:reply=a b]][[sim:fault=error_midstream:2]]"))
        .await;
    assert_eq!(lines.len(), 3);
    let error = "an error was encountered while running the model: unexpected EOF";
    assert_eq!(lines[2], json!({"error": error}));
    let (status, text) = sim.error(&ask("[[sim:fault=error_midstream]]")).await;
    assert_eq!((status, text.as_str()), (500, error));
    for body in [
        "[[sim:reply=a b]][[sim:fault=no_done]]",
        "[[sim:fault=repeat_loop]]",
    ] {
        let lines = sim.stream(&ask(body)).await;
        assert!(lines.iter().all(|line| line["done"] == false), "{lines:?}");
        let whole = sim.whole(&ask(body)).await.1;
        assert_eq!(
            (&whole["done"], whole.get("done_reason")),
            (&json!(false), None)
        );
    }
    assert_eq!(
        sim.stream(&ask("[[sim:fault=repeat_loop]]")).await.len(),
        31
    );
    let native = Sim::start(&["--emission", "native"]).await;
    let mut body = ask("[[sim:fault=repeat_loop]]");
    body["options"] = json!({"num_ctx": 16});
    let lines = native.stream(&body).await;
    assert_eq!(
        (lines.len(), &lines[160]["done_reason"]),
        (161, &json!("length"))
    );
}

#[tokio::test]
async fn documents_go_wrong() {
    let sim = Sim::start(&[]).await;
    let last = async |fault: &str| {
        let body = ask(&format!("[[sim:reply=a]][[sim:fault={fault}]]"));
        sim.stream(&body).await.pop().unwrap()
    };
    assert_eq!(
        last("tool_calls_null").await["message"]["tool_calls"],
        Value::Null
    );
    assert!(
        last("tool_calls_null").await["message"]
            .as_object()
            .unwrap()
            .contains_key("tool_calls")
    );
    assert_eq!(
        last("missing_content").await["message"],
        json!({"role": "assistant"})
    );
    assert_eq!(last("unknown_role").await["message"]["role"], "oracle");
    assert_eq!(
        last("unknown_fields").await["x_unheard_of"],
        json!({"a": [1, null]})
    );
    assert_eq!(last("remote_host").await["remote_model"], "gpt-oss:120b");
    let metrics = last("no_metrics").await;
    assert_eq!(
        (&metrics["done"], metrics.get("eval_count")),
        (&json!(true), None)
    );
}

#[tokio::test]
async fn plans_hit_the_requests_they_name() {
    let sim = Sim::start(&[]).await;
    let plans = json!([{"fault": "busy", "nth": 2}, {"fault": "runner_crash", "model": "gemma*", "every": 1}]);
    sim.put("/sim/faults", plans.to_string()).await;
    let mut statuses = Vec::new();
    for model in ["llama3.2:1b", "llama3.2:1b", "llama3.2:1b", "gemma2:2b"] {
        let mut body = ask("x");
        body["model"] = json!(model);
        statuses.push(sim.whole(&body).await.0);
    }
    assert_eq!(statuses, [200, 503, 200, 500]);
    let listing: Value = sim.told("/sim/faults").await;
    let hits = |place: usize| {
        (
            &listing["faults"][place]["seen"],
            &listing["faults"][place]["hits"],
        )
    };
    assert_eq!(hits(0), (&json!(4), &json!(1)));
    assert_eq!(hits(1), (&json!(1), &json!(1)));
}
