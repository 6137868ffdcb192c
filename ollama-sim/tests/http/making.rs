//! Models that are made of others: copy, create, files, and the push that reaches nobody.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Sim, ask, lines};

async fn posted(sim: &Sim, path: &str, body: impl Into<reqwest::Body>) -> (u16, String) {
    let request = sim.client.post(format!("{}{path}", sim.api)).body(body);
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

async fn refused(sim: &Sim, path: &str, body: Value) -> (u16, String) {
    let (status, answer) = posted(sim, path, body.to_string()).await;
    let answer: Value = serde_json::from_str(&answer).unwrap();
    (status, answer["error"].as_str().unwrap().to_owned())
}

async fn told(sim: &Sim, path: &str, body: Value) -> Vec<Value> {
    let (status, answer) = posted(sim, path, body.to_string()).await;
    assert_eq!(status, 200);
    lines(&answer)
}

async fn shown(sim: &Sim, name: &str) -> Value {
    sim.post("/api/show", &json!({"model": name})).await.1
}

#[tokio::test]
async fn a_copy_is_the_same_model() {
    let sim = Sim::start(&[]).await;
    let body = json!({"source": "gemma2:2b", "destination": "mine"}).to_string();
    assert_eq!(posted(&sim, "/api/copy", body).await, (200, String::new()));
    assert_eq!(
        shown(&sim, "mine").await["details"],
        shown(&sim, "gemma2:2b").await["details"]
    );
    let tags: Value = sim.get("/api/tags").await;
    let digest = |name: &str| {
        let mut models = tags["models"].as_array().unwrap().iter();
        models.find(|model| model["name"] == name).unwrap()["digest"].clone()
    };
    assert_eq!(digest("mine:latest"), digest("gemma2:2b"));
    let cases = [
        (("", "x"), 400, "source \"\" is invalid"),
        (("gemma2:2b", "a b"), 400, "destination \"a b\" is invalid"),
        (("none", "x"), 404, "model \"none\" not found"),
    ];
    for ((source, destination), status, error) in cases {
        let body = json!({"source": source, "destination": destination});
        assert_eq!(
            refused(&sim, "/api/copy", body).await,
            (status, error.to_owned())
        );
    }
}

#[tokio::test]
async fn a_model_is_made_of_another_one() {
    let sim = Sim::start(&[]).await;
    let body = json!({"model": "ada", "from": "llama3.2:1b", "system": "You are Ada the poet.", "parameters": {"num_predict": 3}});
    let told = told(&sim, "/api/create", body).await;
    let statuses: Vec<&str> = told
        .iter()
        .map(|line| line["status"].as_str().unwrap())
        .map(|status| status.split(" sha256:").next().unwrap())
        .collect();
    assert_eq!(
        statuses,
        [
            "using existing layer",
            "using existing layer",
            "creating new layer",
            "creating new layer",
            "writing manifest",
            "success"
        ]
    );
    let shown = shown(&sim, "ada").await;
    assert_eq!(shown["system"], "You are Ada the poet.");
    assert_eq!(shown["parameters"], "num_predict                    3");
    assert_eq!(shown["details"]["parent_model"], "llama3.2:1b");
    // Its options and its system message hold for requests that have none.
    let mut body = ask("Why?");
    body["model"] = json!("ada");
    let (_, answer) = sim.whole(&body).await;
    assert_eq!(
        (&answer["done_reason"], &answer["eval_count"]),
        (&json!("length"), &json!(3))
    );
    body["options"] = json!({"num_predict": 100});
    let (_, answer) = sim.whole(&body).await;
    let text = answer["message"]["content"].as_str().unwrap();
    assert!(text.contains("As the Ada the poet"), "{text}");
}

#[tokio::test]
async fn what_cannot_be_made() {
    let sim = Sim::start(&[]).await;
    let nothing = "neither 'from' or 'files' was specified";
    let cases = [
        (json!({"from": "gemma2:2b"}), 400, "invalid model name"),
        (
            json!({"model": "a b", "from": "gemma2:2b"}),
            400,
            "invalid model name",
        ),
        (json!({"model": "made"}), 400, nothing),
        (
            json!({"model": "made", "from": "gemma2:2b", "quantize": "q9"}),
            500,
            "unsupported quantization type Q9 - supported types are F32, F16, Q4_K_S, Q4_K_M, Q8_0",
        ),
        (
            json!({"model": "made", "from": "missing:1b", "stream": false}),
            500,
            "pull model manifest: file does not exist",
        ),
    ];
    for (body, status, error) in cases {
        assert_eq!(
            refused(&sim, "/api/create", body).await,
            (status, error.to_owned())
        );
    }
    let told = told(
        &sim,
        "/api/create",
        json!({"model": "made", "from": "missing:1b"}),
    )
    .await;
    assert_eq!(
        told,
        [
            json!({"status": "pulling manifest"}),
            json!({"error": "pull model manifest: file does not exist"})
        ]
    );
    assert_eq!(posted(&sim, "/api/create", "").await.0, 400);
}

#[tokio::test]
async fn a_stub_of_a_model_elsewhere() {
    let sim = Sim::start(&[]).await;
    let made = json!([{"status": "writing manifest"}, {"status": "success"}]);
    let body = json!({"model": "stub", "from": "gemma2:2b", "remote_host": "http://127.0.0.1:1"});
    assert_eq!(json!(told(&sim, "/api/create", body).await), made);
    let body = json!({"model": "other", "from": "gpt-oss:120b-cloud"});
    assert_eq!(json!(told(&sim, "/api/create", body).await), made);
    let mut body = ask("Why?");
    for name in ["stub", "other"] {
        body["model"] = json!(name);
        let error = "ollama cloud is disabled: remote model is unavailable";
        assert_eq!(sim.error(&body).await, (403, error.to_owned()));
    }
}

#[tokio::test]
async fn files_have_to_be_what_their_digest_says() {
    let sim = Sim::start(&[]).await;
    let hello = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    let path = format!("/api/blobs/{hello}");
    let head = async || {
        let url = format!("{}{path}", sim.api);
        let response = sim.client.request(Method::HEAD, url).send().await.unwrap();
        response.status().as_u16()
    };
    assert_eq!(head().await, 404);
    assert_eq!(posted(&sim, &path, "hello").await, (201, String::new()));
    assert_eq!(posted(&sim, &path, "hello").await, (200, String::new()));
    assert_eq!(head().await, 200);
    let zeros = format!("sha256:{}", "0".repeat(64));
    let error = format!("digest mismatch, expected {zeros:?}, got {hello:?}");
    assert_eq!(
        posted(&sim, &format!("/api/blobs/{zeros}"), "hello").await,
        (400, json!({"error": error}).to_string())
    );
    let error = json!({"error": "invalid digest format"}).to_string();
    assert_eq!(posted(&sim, "/api/blobs/x", "hello").await, (400, error));
    let no_model = json!({"model": "a", "files": {"a.gguf": hello}});
    assert_eq!(
        told(&sim, "/api/create", no_model).await,
        [
            json!({"status": "parsing GGUF"}),
            json!({"error": "supplied file was not in GGUF format"})
        ]
    );
    let absent = json!({"model": "a", "files": {"a.gguf": zeros}});
    let error = told(&sim, "/api/create", absent).await.remove(1);
    assert!(
        error["error"]
            .as_str()
            .unwrap()
            .ends_with("no such file or directory")
    );
}

#[tokio::test]
async fn a_push_reaches_nobody() {
    let sim = Sim::start(&[]).await;
    let pushed = told(&sim, "/api/push", json!({"model": "gemma2:2b"})).await;
    assert_eq!(pushed[0], json!({"status": "retrieving manifest"}));
    let error = pushed[1]["error"].as_str().unwrap();
    assert!(
        error.starts_with("Head \"https://registry.ollama.ai/v2/library/gemma2/blobs/sha256:"),
        "{error}"
    );
    let absent = told(&sim, "/api/push", json!({"model": "none"})).await;
    let error = "open manifests/registry.ollama.ai/library/none/latest: no such file or directory";
    assert_eq!(
        absent[1..],
        [
            json!({"status": "couldn't retrieve manifest"}),
            json!({"error": error})
        ]
    );
    assert_eq!(
        refused(&sim, "/api/push", json!({"model": ""})).await,
        (400, "model is required".to_owned())
    );
}

#[tokio::test]
async fn nobody_has_an_account() {
    let new = Sim::start(&[]).await;
    let old = Sim::start(&["--version-of", "0.17.4"]).await;
    let me = json!({"error": "account unavailable"}).to_string();
    assert_eq!(posted(&new, "/api/me", "").await, (503, me));
    assert_eq!(posted(&old, "/api/me", "").await, (200, "null".to_owned()));
    let out = json!({"error": "there was an error signing out"}).to_string();
    assert_eq!(posted(&new, "/api/signout", "").await, (500, out));
    for (path, what) in [("web_search", "web search"), ("web_fetch", "web fetch")] {
        let path = format!("/api/experimental/{path}");
        let error = format!("ollama cloud is disabled: {what} is unavailable");
        assert_eq!(refused(&new, &path, json!({})).await, (403, error));
        assert_eq!(
            posted(&old, &path, "{}").await,
            (404, "404 page not found".to_owned())
        );
    }
}
