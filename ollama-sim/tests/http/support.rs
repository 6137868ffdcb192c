//! A running simulator, and what the tests ask of it.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reqwest::{Client, RequestBuilder, Response};
use serde_json::{Value, json};
use tempfile::TempDir;

/// How long anything may take that ought to be immediate.
pub const SOON: Duration = Duration::from_secs(10);

/// A process of the program, with both ports free ones; killed when dropped.
pub struct Sim {
    pub process: Child,
    pub client: Client,
    pub api: String,
    control: String,
    _directory: TempDir,
}

/// The program without anything from the environment.
pub fn program(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ollama-sim"));
    command
        .env_clear()
        .args(args)
        .stdin(Stdio::null())
        .stderr(Stdio::piped());
    command
}

/// A client that keeps no idle connections and asks no proxy.
pub fn client() -> Client {
    Client::builder().no_proxy().build().unwrap()
}

/// Polls until the condition gives a value, for as long as allowed.
pub async fn eventually<T>(
    within: Duration,
    what: &str,
    mut condition: impl AsyncFnMut() -> Option<T>,
) -> T {
    let deadline = Instant::now() + within;
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(Instant::now() < deadline, "not within {within:?}: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// The addresses in a ports file, once it is there.
pub async fn ports(path: &Path) -> Value {
    eventually(SOON, "a ports file", async || {
        serde_json::from_slice(&std::fs::read(path).ok()?).ok()
    })
    .await
}

impl Sim {
    /// Starts the program with no latency (a later `--latency` holds) and waits for its ports.
    pub async fn start(args: &[&str]) -> Self {
        let directory = TempDir::new().unwrap();
        let file = directory.path().join("ports.json");
        let mut command = program(&["--listen", "127.0.0.1:0"]);
        if !args.contains(&"--latency") {
            command.args(["--latency", "0"]);
        }
        let process = command
            .arg("--ports-file")
            .arg(&file)
            .args(args)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut sim = Self {
            process,
            client: client(),
            api: String::new(),
            control: String::new(),
            _directory: directory,
        };
        let ports = ports(&file).await;
        sim.api = format!("http://{}", ports["listen"].as_str().unwrap());
        sim.control = format!("http://{}", ports["control"].as_str().unwrap());
        sim
    }

    /// A request for `/api/chat` with this body.
    pub fn chat(&self, body: &Value) -> RequestBuilder {
        self.client
            .post(format!("{}/api/chat", self.api))
            .json(body)
    }

    /// The lines of a chat as a stream, which must be answered.
    pub async fn stream(&self, body: &Value) -> Vec<Value> {
        let response = self.chat(body).send().await.unwrap();
        assert_eq!(response.status(), 200);
        lines(&response.text().await.unwrap())
    }

    /// The status and the document of a chat that is not streamed.
    pub async fn whole(&self, body: &Value) -> (u16, Value) {
        let mut body = body.clone();
        body["stream"] = json!(false);
        let response = self.chat(&body).send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    /// The status and the text of the error that a chat gets.
    pub async fn error(&self, body: &Value) -> (u16, String) {
        let (status, document) = self.whole(body).await;
        (
            status,
            document["error"]
                .as_str()
                .unwrap_or_else(|| panic!("{document}"))
                .to_owned(),
        )
    }

    /// The text of a whole answer of a model to a system prompt and a user message.
    pub async fn text(&self, model: &str, system: &str, user: &str) -> String {
        let messages =
            json!([{"role": "system", "content": system}, {"role": "user", "content": user}]);
        let body = json!({"model": model, "messages": messages, "stream": false});
        let answer: Value = self.chat(&body).send().await.unwrap().json().await.unwrap();
        answer["message"]["content"]
            .as_str()
            .unwrap_or_else(|| panic!("{answer}"))
            .to_owned()
    }

    /// `GET /sim/log`.
    pub async fn log(&self) -> Value {
        self.control(reqwest::Method::GET, "/sim/log")
            .await
            .json()
            .await
            .unwrap()
    }

    /// `GET /sim/stats`.
    pub async fn stats(&self) -> Value {
        self.control(reqwest::Method::GET, "/sim/stats")
            .await
            .json()
            .await
            .unwrap()
    }

    /// The status and the document of a `POST` to the API.
    pub async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let request = self.client.post(format!("{}{path}", self.api)).json(body);
        let response = request.send().await.unwrap();
        assert_eq!(response.headers()["x-ollama-sim"], "1");
        (response.status().as_u16(), response.json().await.unwrap())
    }

    /// `PUT` of a document to the control port, which must be taken.
    pub async fn put(&self, path: &str, document: impl Into<reqwest::Body>) {
        let request = self.client.put(format!("{}{path}", self.control));
        let response = request.body(document).send().await.unwrap();
        assert_eq!(response.status(), 204, "{}", response.text().await.unwrap());
    }

    pub async fn control(&self, method: reqwest::Method, path: &str) -> Response {
        self.client
            .request(method, format!("{}{path}", self.control))
            .send()
            .await
            .unwrap()
    }

    /// The document at a path of the API.
    pub async fn get(&self, path: &str) -> Value {
        let request = self.client.get(format!("{}{path}", self.api));
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        let headers = response.headers();
        assert_eq!(headers["content-type"], "application/json; charset=utf-8");
        assert_eq!(headers["x-ollama-sim"], "1");
        response.json().await.unwrap()
    }

    /// The document at a path of the control port.
    pub async fn told(&self, path: &str) -> Value {
        let answer = self.control(reqwest::Method::GET, path).await;
        answer.json().await.unwrap()
    }

    /// Waits until a field of the stats has this value.
    pub async fn until(&self, within: Duration, field: &str, value: u64) {
        let what = format!("{field} = {value}");
        eventually(within, &what, async || {
            (self.stats().await[field] == value).then_some(())
        })
        .await;
    }

    /// Waits until the log holds a request whose prompt contains the text and which is in this state.
    pub async fn logged(&self, prompt: &str, state: &str) -> Value {
        let what = format!("{prompt:?} {state}");
        eventually(SOON, &what, async || {
            let log = self.log().await;
            let mut requests = log["requests"].as_array().unwrap().iter();
            requests
                .find(|r| r["prompt"].as_str().unwrap().contains(prompt) && r["state"] == state)
                .cloned()
        })
        .await
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// One user message to llama3.2:1b, in a stream.
pub fn ask(user: &str) -> Value {
    json!({"model": "llama3.2:1b", "messages": [{"role": "user", "content": user}]})
}

/// The same, whole.
pub fn ask_whole(user: &str) -> Value {
    let mut body = ask(user);
    body["stream"] = json!(false);
    body
}

/// The lines of a stream.
pub fn lines(body: &str) -> Vec<Value> {
    assert!(body.ends_with('\n'), "{body:?}");
    body.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Checks the form of the time fields of a chat document and puts fixed values in their place.
pub fn normalised(mut document: Value) -> Value {
    let created_at = document["created_at"].as_str().unwrap();
    let form: String = created_at
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    assert_eq!(form, "0000-00-00T00:00:00.000000000Z");
    document["created_at"] = json!("T");
    for (name, value) in document.as_object_mut().unwrap() {
        if name.ends_with("_duration") {
            assert!(value.as_u64().unwrap() > 0, "{name}");
            *value = json!(1);
        }
    }
    document
}

/// A chunk of a stream of llama3.2:1b as [`normalised`] makes it.
pub fn chunk(content: &str) -> Value {
    json!({"model": "llama3.2:1b", "created_at": "T", "message": {"role": "assistant", "content": content}, "done": false})
}

/// The last document of an answer of llama3.2:1b as [`normalised`] makes it.
pub fn last(content: &str, reason: &str, prompt_tokens: u64, tokens: u64) -> Value {
    json!({
        "model": "llama3.2:1b",
        "created_at": "T",
        "message": {"role": "assistant", "content": content},
        "done": true,
        "done_reason": reason,
        "total_duration": 1,
        "load_duration": 1,
        "prompt_eval_count": prompt_tokens,
        "prompt_eval_duration": 1,
        "eval_count": tokens,
        "eval_duration": 1,
    })
}
