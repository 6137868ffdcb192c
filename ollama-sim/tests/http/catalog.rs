//! Everything but chat on the API port.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Sim, ask_whole};

/// The digest of a model is the SHA-256 of its name.
const DIGESTS: [&str; 3] = [
    "925b2caf983238a56eb239f3a68a67647b4fd908f282c92d3fe4d211878d24ac",
    "14316704286ddeae99db8699c13d8c5a9e010aea7edd980f5691c2760284158d",
    "dba0c942cdc00892bf84a161c2d7e8d8f982bc50ae1c16888a8c9d6988105e4b",
];

fn details(family: &str, parameters: &str, quantization: &str) -> Value {
    json!({
        "parent_model": "",
        "format": "gguf",
        "family": family,
        "families": [family],
        "parameter_size": parameters,
        "quantization_level": quantization,
    })
}

fn tag(name: &str, size: u64, digest: &str, details: &Value) -> Value {
    let modified_at = "2026-01-01T00:00:00Z";
    json!({"name": name, "model": name, "modified_at": modified_at, "size": size, "digest": digest, "details": details})
}

async fn show(sim: &Sim, body: &str) -> (u16, Value) {
    let response = sim
        .client
        .post(format!("{}/api/show", sim.api))
        .body(body.to_owned())
        .send()
        .await
        .unwrap();
    assert_eq!(response.headers()["x-ollama-sim"], "1");
    (response.status().as_u16(), response.json().await.unwrap())
}

#[tokio::test]
async fn the_root_and_the_version_say_simulated() {
    let sim = Sim::start(&[]).await;
    let root = sim.client.get(&sim.api).send().await.unwrap();
    assert_eq!(root.headers()["content-type"], "text/plain; charset=utf-8");
    assert_eq!(root.headers()["x-ollama-sim"], "1");
    assert_eq!(
        root.text().await.unwrap(),
        "Ollama is running (SIMULATED by ollama-sim)"
    );
    assert_eq!(
        sim.get("/api/version").await,
        json!({"version": "0.0.0-sim+0.33"})
    );
}

#[tokio::test]
async fn the_models_of_the_built_in_table_are_served() {
    let sim = Sim::start(&["--version-of", "0.17.4"]).await;
    let mut tags = sim.get("/api/tags").await;
    let rest = tags["models"].as_array_mut().unwrap().split_off(3);
    let expected = json!({"models": [
        tag("llama3.2:3b", 2_019_393_189, DIGESTS[0], &details("llama", "3.2B", "Q4_K_M")),
        tag("llama3.2:1b", 1_321_098_329, DIGESTS[1], &details("llama", "1.2B", "Q8_0")),
        tag("gemma2:2b", 1_629_518_495, DIGESTS[2], &details("gemma2", "2.6B", "Q4_0")),
    ]});
    assert_eq!(tags, expected);
    let names: Vec<_> = rest.iter().map(|model| &model["name"]).collect();
    assert_eq!(
        names,
        ["qwen3:4b", "nomic-embed-text:latest", "fake-cloud:latest"]
    );
    let remote = (&rest[2]["remote_host"], &rest[2]["remote_model"]);
    assert_eq!(
        remote,
        (&json!("https://ollama.com:443"), &json!("gpt-oss:120b"))
    );
}

#[tokio::test]
async fn newer_servers_list_capabilities_too() {
    let sim = Sim::start(&["--models", "llama3.2:1b"]).await;
    let mut details = details("llama", "1.2B", "Q8_0");
    details["context_length"] = json!(131_072);
    details["embedding_length"] = json!(2048);
    let mut expected = tag("llama3.2:1b", 1_321_098_329, DIGESTS[1], &details);
    expected["capabilities"] = json!(["completion", "tools"]);
    assert_eq!(sim.get("/api/tags").await, json!({"models": [expected]}));
}

#[tokio::test]
async fn a_table_of_ones_own_can_be_served() {
    let directory = tempfile::TempDir::new().unwrap();
    let file = directory.path().join("models.yaml");
    std::fs::write(
        &file,
        "- {name: mine, capabilities: [completion, vision], context_length: 100}",
    )
    .unwrap();
    let sim = Sim::start(&["--models", "mine", "--model-table", file.to_str().unwrap()]).await;
    let (_, mine) = show(&sim, r#"{"model":"mine"}"#).await;
    assert_eq!(mine["capabilities"], json!(["completion", "vision"]));
    assert_eq!(mine["model_info"]["llama.context_length"], 100);
}

#[tokio::test]
async fn other_models_can_be_served() {
    let sim = Sim::start(&["--models", "gemma2:2b,mine"]).await;
    let tags = sim.get("/api/tags").await;
    let names: Vec<_> = tags["models"]
        .as_array()
        .unwrap()
        .iter()
        .map(|model| &model["name"])
        .collect();
    assert_eq!(names, ["gemma2:2b", "mine:latest"]);
    assert_eq!(tags["models"][0]["details"]["family"], "gemma2");
    assert_eq!(
        show(&sim, r#"{"model":"mine"}"#).await.1["capabilities"],
        json!(["completion"])
    );
    assert_eq!(show(&sim, r#"{"model":"llama3.2:3b"}"#).await.0, 404);
    assert!(
        sim.text("mine", "", "x")
            .await
            .starts_with("[SIMULATED mine:latest] ")
    );
}

#[tokio::test]
async fn show_tells_capabilities_and_context() {
    let sim = Sim::start(&[]).await;
    let notice = "SIMULATED by ollama-sim: there is no model behind this name";
    let gemma = json!({
        "license": notice,
        "modelfile": format!("# {notice}\nFROM gemma2:2b\n"),
        "parameters": "",
        "template": "{{- range .Messages }}<|{{ .Role }}|>{{ .Content }}{{ end }}",
        "details": details("gemma2", "2.6B", "Q4_0"),
        "model_info": {
            "general.architecture": "gemma2",
            "general.parameter_count": 2_614_341_888_u64,
            "gemma2.context_length": 8192,
            "gemma2.embedding_length": 2304,
        },
        "capabilities": ["completion"],
        "modified_at": "2026-01-01T00:00:00Z",
    });
    assert_eq!(show(&sim, r#"{"model":"gemma2:2b"}"#).await, (200, gemma));
    for name in ["llama3.2:3b", "llama3.2:1b"] {
        let (status, llama) = show(&sim, &json!({"name": name}).to_string()).await;
        assert_eq!(
            (status, &llama["capabilities"]),
            (200, &json!(["completion", "tools"]))
        );
        assert_eq!(llama["model_info"]["llama.context_length"], 131_072);
        assert!(llama["template"].as_str().unwrap().contains(".Tools"));
    }
}

#[tokio::test]
async fn show_refuses_as_ollama_does() {
    let sim = Sim::start(&[]).await;
    let cases = [
        ("", 400, "missing request body"),
        ("{", 400, "unexpected EOF"),
        ("{}", 400, "model is required"),
        (r#"{"model":"","name":" "}"#, 400, "model is required"),
        (r#"{"model":"x"}"#, 404, "model 'x:latest' not found"),
    ];
    for (body, status, message) in cases {
        assert_eq!(
            show(&sim, body).await,
            (status, json!({"error": message})),
            "{body}"
        );
    }
}

#[tokio::test]
async fn ps_lists_the_models_that_were_used() {
    let sim = Sim::start(&[]).await;
    assert_eq!(sim.get("/api/ps").await, json!({"models": []}));
    let mut body = ask_whole("x");
    body["options"] = json!({"num_ctx": 512});
    sim.chat(&body).send().await.unwrap();
    let mut ps = sim.get("/api/ps").await;
    let expires_at = ps["models"][0]["expires_at"].take();
    assert!(expires_at.as_str().unwrap().ends_with('Z'), "{expires_at}");
    let expected = json!({"models": [{
        "name": "llama3.2:1b",
        "model": "llama3.2:1b",
        "size": 1_321_098_329,
        "digest": DIGESTS[1],
        "details": details("llama", "1.2B", "Q8_0"),
        "expires_at": null,
        "size_vram": 0,
        "context_length": 512,
    }]});
    assert_eq!(ps, expected);
    let unload = json!({"model": "llama3.2:1b", "keep_alive": 0});
    sim.chat(&unload).send().await.unwrap();
    assert_eq!(sim.get("/api/ps").await, json!({"models": []}));
}

#[tokio::test]
async fn head_is_answered_without_a_body() {
    let sim = Sim::start(&[]).await;
    let answered = [
        ("/", 200),
        ("/api/tags", 200),
        ("/api/version", 200),
        ("/api/ps", 405),
    ];
    for (path, status) in answered {
        let response = sim
            .client
            .head(format!("{}{path}", sim.api))
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), status, "{path}");
        assert_eq!(response.headers()["x-ollama-sim"], "1");
        assert_eq!(response.text().await.unwrap(), "", "{path}");
    }
}

#[tokio::test]
async fn unknown_paths_and_methods_are_plain_text() {
    let sim = Sim::start(&[]).await;
    let cases = [
        (Method::GET, "/api/nothing", 404, "404 page not found"),
        (Method::POST, "/api/generate/", 404, "404 page not found"),
        (Method::GET, "/api/generate", 405, "405 method not allowed"),
        (Method::POST, "/api/delete", 405, "405 method not allowed"),
        (Method::GET, "/api/chat", 405, "405 method not allowed"),
        (Method::GET, "/api/show", 405, "405 method not allowed"),
        (Method::POST, "/api/tags", 405, "405 method not allowed"),
        (Method::DELETE, "/", 405, "405 method not allowed"),
    ];
    for (method, path, status, text) in cases {
        let response = sim
            .client
            .request(method, format!("{}{path}", sim.api))
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), status, "{path}");
        assert_eq!(response.headers()["content-type"], "text/plain");
        assert_eq!(response.headers()["x-ollama-sim"], "1");
        assert_eq!(response.text().await.unwrap(), text);
    }
}

#[tokio::test]
async fn a_table_says_what_a_model_is_like() {
    let folder = tempfile::tempdir().unwrap();
    let table = folder.path().join("table.yaml");
    let model = "[{name: mine, digest: abc, requires: 0.30.0, prompt_tokens_per_second: 100, \
                 tokens: {characters: 3, bytes: 1, template: 2, markers: ['<|x|>']}}]";
    std::fs::write(&table, model).unwrap();
    let sim = Sim::start(&["--models", "mine", "--model-table", table.to_str().unwrap()]).await;
    assert_eq!(sim.get("/api/tags").await["models"][0]["digest"], "abc");
    let shown = sim.post("/api/show", &json!({"model": "mine"})).await.1;
    assert_eq!(shown["requires"], "0.30.0");
    let mut body = crate::support::ask_whole("12345<|x|>[[sim:reply=x]]");
    body["model"] = json!("mine");
    let begun = std::time::Instant::now();
    let answer = sim.post("/api/chat", &body).await.1;
    // Eight tokens of a hundred a second; "[SIMULATED mine:latest] x" has 25 characters.
    assert!(begun.elapsed() >= std::time::Duration::from_millis(80));
    assert_eq!(
        (&answer["prompt_eval_count"], &answer["eval_count"]),
        (&json!(8), &json!(8))
    );
}
