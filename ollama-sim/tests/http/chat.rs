//! Documents of chats that are answered.

use serde_json::{Value, json};

use crate::support::{Sim, ask, ask_whole, chunk, last, lines, normalised};

async fn stream(sim: &Sim, body: &Value) -> Vec<Value> {
    let response = sim.chat(body).send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "application/x-ndjson");
    assert_eq!(response.headers()["transfer-encoding"], "chunked");
    assert_eq!(response.headers()["x-ollama-sim"], "1");
    lines(&response.text().await.unwrap())
        .into_iter()
        .map(normalised)
        .collect()
}

async fn whole(sim: &Sim, body: &Value) -> Value {
    let response = sim.chat(body).send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(
        response.headers()["content-type"],
        "application/json; charset=utf-8"
    );
    assert_eq!(response.headers()["x-ollama-sim"], "1");
    response.json().await.unwrap()
}

#[tokio::test]
async fn an_answer_is_streamed_unless_the_client_says_no() {
    let sim = Sim::start(&[]).await;
    let expected = [
        chunk("[SIMULATED"),
        chunk(" llama3.2:1b]"),
        chunk(" Ja,"),
        chunk(" süß."),
        last("", "stop", 1, 4),
    ];
    let mut body = ask("Hm [[sim:reply=Ja, süß.]]");
    assert_eq!(stream(&sim, &body).await, expected);
    body["stream"] = json!(true);
    assert_eq!(stream(&sim, &body).await, expected);
    body["stream"] = json!(null);
    assert_eq!(stream(&sim, &body).await, expected);
    body["stream"] = json!(false);
    assert_eq!(
        normalised(whole(&sim, &body).await),
        last("[SIMULATED llama3.2:1b] Ja, süß.", "stop", 1, 4)
    );
}

#[tokio::test]
async fn a_paced_stream_has_the_same_documents() {
    let sim = Sim::start(&[]).await;
    let expected = [
        chunk("[SIMULATED"),
        chunk(" llama3.2:1b]"),
        chunk(" Ja"),
        last("", "stop", 0, 3),
    ];
    let mut body = ask("[[sim:reply=Ja]][[sim:tps=1000]][[sim:latency=1ms]]");
    let mut told = stream(&sim, &body).await;
    // A prompt of nothing but marks counts as one token.
    told[3]["prompt_eval_count"] = json!(0);
    assert_eq!(told, expected);
    body["stream"] = json!(false);
    assert_eq!(
        normalised(whole(&sim, &body).await),
        last("[SIMULATED llama3.2:1b] Ja", "stop", 1, 3)
    );
}

#[tokio::test]
async fn a_long_stream_is_complete() {
    let sim = Sim::start(&[]).await;
    let told = stream(&sim, &ask("x [[sim:tokens=2000]]")).await;
    assert_eq!(told.len(), 2001);
    assert_eq!(told[2000], last("", "stop", 1, 2000));
    let text: String = told
        .iter()
        .map(|line| line["message"]["content"].as_str().unwrap())
        .collect();
    let again = whole(&sim, &ask_whole("x [[sim:tokens=2000]]")).await;
    assert_eq!(again["message"]["content"], text);
}

#[tokio::test]
async fn num_predict_cuts_the_answer() {
    let sim = Sim::start(&[]).await;
    let mut body = ask("[[sim:reply=one two three]]");
    body["options"] =
        json!({"num_predict": 3, "stop": ["two"], "temperature": 0, "unheard_of": []});
    let expected = [
        chunk("[SIMULATED"),
        chunk(" llama3.2:1b]"),
        chunk(" one"),
        last("", "length", 1, 3),
    ];
    assert_eq!(stream(&sim, &body).await, expected);
    body["options"]["num_predict"] = json!(5);
    assert_eq!(stream(&sim, &body).await[5], last("", "stop", 1, 5));
}

#[tokio::test]
async fn the_prompt_is_counted_and_cut_to_the_window() {
    let sim = Sim::start(&[]).await;
    let mut body = ask_whole(&"x".repeat(400));
    assert_eq!(whole(&sim, &body).await["prompt_eval_count"], 100);
    body["options"] = json!({"num_ctx": 64});
    assert_eq!(whole(&sim, &body).await["prompt_eval_count"], 35);
    body["truncate"] = json!(true);
    assert_eq!(whole(&sim, &body).await["prompt_eval_count"], 35);
    body["messages"][0]["content"] = json!("x".repeat(3 << 20));
    assert_eq!(whole(&sim, &body).await["prompt_eval_count"], 35);
}

#[tokio::test]
async fn no_messages_load_and_unload() {
    let sim = Sim::start(&[]).await;
    let expected = |reason: &str| {
        json!({
            "model": "llama3.2:3b",
            "created_at": "T",
            "message": {"role": "assistant", "content": ""},
            "done": true,
            "done_reason": reason,
        })
    };
    let mut body = json!({"model": "llama3.2:3b", "messages": []});
    assert_eq!(normalised(whole(&sim, &body).await), expected("load"));
    body["keep_alive"] = json!("5m");
    assert_eq!(normalised(whole(&sim, &body).await), expected("load"));
    body["keep_alive"] = json!(0);
    assert_eq!(normalised(whole(&sim, &body).await), expected("unload"));
}

#[tokio::test]
async fn harmless_fields_are_accepted() {
    let sim = Sim::start(&[]).await;
    let tool =
        json!({"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}});
    let body = json!({
        "model": " library/llama3.2:1b ",
        "messages": [
            {"role": "SYSTEM", "content": "You are Ada.", "images": null},
            {"role": "User", "content": "x [[sim:reply=y]]", "tool_calls": null},
            {"role": "assistant"},
        ],
        "stream": false,
        "think": false,
        "format": "json",
        "tools": [tool],
        "keep_alive": -1,
        "unheard_of": 1,
    });
    let answer = whole(&sim, &body).await;
    assert_eq!(answer["model"], " library/llama3.2:1b ");
    assert_eq!(
        answer["message"],
        json!({"role": "assistant", "content": "[SIMULATED llama3.2:1b] y"})
    );
    for format in [json!(null), json!(""), json!({"type": "object"})] {
        let mut body = ask_whole("x");
        body["format"] = format;
        whole(&sim, &body).await;
    }
}
