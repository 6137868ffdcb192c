//! Chats that are refused, fail or are cut.

use serde_json::{Value, json};

use crate::support::{Sim, ask, ask_whole, chunk, normalised};

/// The answer to a chat with this body: status and document.
async fn refusal(sim: &Sim, body: impl Into<String>) -> (u16, Value) {
    let request = sim
        .client
        .post(format!("{}/api/chat", sim.api))
        .body(body.into());
    let response = request.send().await.unwrap();
    assert_eq!(
        response.headers()["content-type"],
        "application/json; charset=utf-8"
    );
    assert_eq!(response.headers()["x-ollama-sim"], "1");
    (response.status().as_u16(), response.json().await.unwrap())
}

/// A sound request with these fields in place of its own.
fn with(fields: Value) -> Value {
    let mut body = ask("x");
    body.as_object_mut()
        .unwrap()
        .extend(fields.as_object().unwrap().clone());
    body
}

#[tokio::test]
async fn bodies_that_are_no_requests() {
    let sim = Sim::start(&[]).await;
    let cases = [
        ("", "missing request body"),
        (" \n", "missing request body"),
        ("{\"model\":", "unexpected EOF"),
        ("nonsense", "expected ident at line 1 column 2"),
        ("{\"messages\":[]}", "model is required"),
        ("{\"model\":null}", "model is required"),
        ("{\"model\":\"  \"}", "model is required"),
        (
            "{\"model\":7}",
            "invalid type: integer `7`, expected a string at line 1 column 10",
        ),
    ];
    for (body, message) in cases {
        assert_eq!(
            refusal(&sim, body).await,
            (400, json!({"error": message})),
            "{body}"
        );
    }
}

#[tokio::test]
async fn requests_that_the_model_cannot_answer() {
    let sim = Sim::start(&[]).await;
    let tools = json!([{"type": "function", "function": {"name": "f"}}]);
    let think =
        r#"invalid think value: "hard" (must be "high", "medium", "low", "max", true, or false)"#;
    let cases = [
        (json!({"model": "x"}), 404, "model 'x' not found"),
        (
            json!({"model": "x", "messages": []}),
            404,
            "model 'x' not found",
        ),
        (
            json!({"model": "llama3.2"}),
            404,
            "model 'llama3.2' not found",
        ),
        (
            json!({"model": "gemma2:2b", "tools": tools}),
            400,
            "registry.ollama.ai/library/gemma2:2b does not support tools",
        ),
        (
            json!({"think": true}),
            400,
            r#""llama3.2:1b" does not support thinking"#,
        ),
        (
            json!({"think": "low"}),
            400,
            r#""llama3.2:1b" does not support thinking"#,
        ),
        (json!({"think": "hard"}), 400, think),
        (
            json!({"options": {"num_ctx": "big"}}),
            500,
            r#"option "num_ctx" must be of type integer"#,
        ),
        (
            json!({"format": "xml"}),
            500,
            r#"invalid format: "\"xml\""; expected "json" or a valid JSON Schema object"#,
        ),
        (
            json!({"format": 1}),
            500,
            r#"invalid format: "1"; expected "json" or a valid JSON Schema object"#,
        ),
    ];
    for (fields, status, message) in cases {
        for stream in [true, false] {
            let mut body = with(fields.clone());
            body["stream"] = json!(stream);
            assert_eq!(
                refusal(&sim, body.to_string()).await,
                (status, json!({"error": message})),
                "{fields}"
            );
        }
    }
}

#[tokio::test]
async fn a_prompt_that_is_too_long_without_truncation() {
    let sim = Sim::start(&[]).await;
    let mut body = ask(&"x".repeat(4 * 4096 + 1));
    body["truncate"] = json!(false);
    let (status, document) = refusal(&sim, body.to_string()).await;
    let inner: Value = serde_json::from_str(document["error"].as_str().unwrap()).unwrap();
    let expected = json!({"error": {
        "code": 400,
        "message": "request (4097 tokens) exceeds the available context size (4096 tokens), try increasing it",
        "type": "exceed_context_size_error",
        "n_prompt_tokens": 4097,
        "n_ctx": 4096,
    }});
    assert_eq!((status, inner), (400, expected));
    body["options"] = json!({"num_ctx": 8192});
    assert_eq!(sim.chat(&body).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_misspelt_directive_is_refused() {
    let sim = Sim::start(&[]).await;
    let message = r#"ollama-sim: directive "latncy=1s" is unknown; there are latency, tps, tokens, reply, call, fault, fail and cut"#;
    let body = ask("[[sim:latncy=1s]]").to_string();
    assert_eq!(refusal(&sim, body).await, (400, json!({"error": message})));
}

#[tokio::test]
async fn only_the_last_user_message_steers() {
    let sim = Sim::start(&[]).await;
    let messages = json!([
        {"role": "system", "content": "[[sim:fail=500]]"},
        {"role": "user", "content": "[[sim:fail=500]]"},
        {"role": "user", "content": "[[sim:reply=fine]]"},
        {"role": "assistant", "content": "[[sim:fail=500]]"},
    ]);
    let response = sim
        .chat(&with(json!({"messages": messages, "stream": false})))
        .send()
        .await
        .unwrap();
    let answer: Value = response.json().await.unwrap();
    assert_eq!(answer["message"]["content"], "[SIMULATED llama3.2:1b] fine");
}

#[tokio::test]
async fn a_failure_comes_in_place_of_the_answer() {
    let sim = Sim::start(&[]).await;
    for status in [500, 503] {
        let expected = (
            status,
            json!({"error": format!("simulated failure with status {status}")}),
        );
        let user = format!("a [[sim:fail={status}]]");
        assert_eq!(refusal(&sim, ask(&user).to_string()).await, expected);
        assert_eq!(refusal(&sim, ask_whole(&user).to_string()).await, expected);
    }
    let record = sim.logged("a", "failed").await;
    assert_eq!(
        (&record["status"], &record["chunks"]),
        (&json!(500), &json!(0))
    );
}

#[tokio::test]
async fn a_cut_stream_has_half_of_its_tokens_and_no_end() {
    let sim = Sim::start(&[]).await;
    for pace in ["", "[[sim:tps=1000]]"] {
        let body = ask(&format!("b [[sim:cut]][[sim:reply=one two three]]{pace}"));
        let mut response = sim.chat(&body).send().await.unwrap();
        assert_eq!(response.status(), 200);
        let mut told = Vec::new();
        let error = loop {
            match response.chunk().await {
                Ok(Some(bytes)) => told.extend(bytes),
                Ok(None) => panic!("the stream ended well: {told:?}"),
                Err(error) => break error,
            }
        };
        assert!(error.is_body() || error.is_decode(), "{error:?}");
        let told = String::from_utf8(told).unwrap();
        let told: Vec<_> = crate::support::lines(&told)
            .into_iter()
            .map(normalised)
            .collect();
        assert_eq!(
            told,
            [chunk("[SIMULATED"), chunk(" llama3.2:1b]"), chunk(" one")],
            "{pace}"
        );
    }
    let record = sim.logged("b", "failed").await;
    assert_eq!(
        (&record["status"], &record["chunks"]),
        (&json!(200), &json!(3))
    );
    assert_eq!(sim.stats().await["disconnected"], 0);
}

#[tokio::test]
async fn a_cut_document_is_half_there() {
    let sim = Sim::start(&[]).await;
    let response = sim.chat(&ask_whole("c [[sim:cut]]")).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let error = response.bytes().await.unwrap_err();
    assert!(error.is_body() || error.is_decode(), "{error:?}");
    let record = sim.logged("c", "failed").await;
    assert_eq!(record["status"], 200);
}
