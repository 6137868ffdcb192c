//! The server that a case asks: a real one or the simulator.

use std::fmt;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use swarm_model::{ChatError, ChatEvent, ChatModel as _, ChatRequest, ChatStream, Completion};
use swarm_tests::ollama::{Limits, Ollama, Version, client};
use swarm_tests::{Sim, eventually, holds};
use tempfile::TempDir;

use futures_util::StreamExt as _;

use crate::outcome::{Outcome, Reply};

/// A condition of a case holds after so long at the latest.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A slot that is not free after so long never is.
const LOST: Duration = Duration::from_secs(15);

/// A kind of server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Ollama 0.33.0.
    New,
    /// Ollama 0.17.4.
    Old,
    /// ollama-sim.
    Simulator,
}

impl Kind {
    /// Every kind, in the order of the document's columns.
    pub const ALL: [Self; 3] = [Self::New, Self::Old, Self::Simulator];
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::New => Version::V0_33_0.number(),
            Self::Old => Version::V0_17_4.number(),
            Self::Simulator => "simulator",
        })
    }
}

/// A running server.
pub struct Host {
    server: Server,
    limits: Limits,
    /// Its files, which go when it has ended.
    _folder: TempDir,
}

enum Server {
    Real(Ollama),
    Simulated(Sim),
}

/// Panics with the command to run when a real server is missing.
pub fn check_installed() {
    for version in [Version::V0_33_0, Version::V0_17_4] {
        version.check_installed();
    }
}

impl Host {
    /// A fresh one.
    pub async fn start(kind: Kind, limits: Limits) -> Self {
        let folder = TempDir::new().expect("a folder for the server");
        let path = folder.path();
        let server = match kind {
            Kind::New => Server::Real(Ollama::start(Version::V0_33_0, path, limits).await),
            Kind::Old => Server::Real(Ollama::start(Version::V0_17_4, path, limits).await),
            Kind::Simulator => {
                let parallel = limits.parallel.to_string();
                let arguments = ["--latency", "0", "--parallel", &parallel];
                // About as fast as the models of the real servers.
                let pace = ["--tokens-per-second", "1000"];
                Server::Simulated(Sim::start(path, &[&arguments[..], &pace].concat()).await)
            }
        };
        Self {
            server,
            limits,
            _folder: folder,
        }
    }

    /// Another one of the same kind.
    pub async fn another(&self) -> Self {
        let kind = match &self.server {
            Server::Real(server) if server.version() == Version::V0_33_0 => Kind::New,
            Server::Real(_) => Kind::Old,
            Server::Simulated(_) => Kind::Simulator,
        };
        Self::start(kind, self.limits).await
    }

    /// Its URL.
    pub fn url(&self) -> String {
        match &self.server {
            Server::Real(server) => server.url(),
            Server::Simulated(sim) => sim.url(),
        }
    }

    /// The real server that it is.
    pub fn real(&mut self) -> &mut Ollama {
        match &mut self.server {
            Server::Real(server) => server,
            Server::Simulated(_) => panic!("a case for real servers runs on the simulator"),
        }
    }

    /// Sends a body.
    pub async fn post(&self, path: &str, body: impl Into<String>) -> reqwest::Response {
        let url = self.url() + path;
        let sent = client().post(url).body(body.into()).send().await;
        sent.expect("the server answers")
    }

    /// Asks for a document and gives it.
    pub async fn document(&self, path: &str) -> Value {
        let answer = client().get(self.url() + path).send().await;
        answer
            .expect("the server answers")
            .json()
            .await
            .expect("a JSON document")
    }

    /// What the server says of a model.
    pub async fn show(&self, model: &str) -> Value {
        let answer = self
            .post("/api/show", json!({ "model": model }).to_string())
            .await;
        answer.json().await.expect("a JSON document")
    }

    /// Chats, and reads the whole answer.
    pub async fn chat(&self, body: Value) -> Reply {
        Reply::read(self.post("/api/chat", body.to_string()).await).await
    }

    /// Chats with one message of the user.
    pub async fn say(&self, model: &str, text: &str, more: Value) -> Reply {
        self.chat(body(model, text, more)).await
    }

    /// The client of the product, with this host alone.
    pub fn client(&self) -> swarm_model::Ollama {
        client_of(&[self.url()])
    }

    /// What has become of the only slot of a model whose client has left: how long the next request waits for it, beside
    /// the time the whole answer takes.
    ///
    /// A server writes each chunk from one task to another. When the other has gone while it does, it waits for ever, and
    /// its slot is lost until the server is started anew. The faster a model is, the more often: these ones are lost once in
    /// 10 to 30 times when a client leaves at the first chunk.
    pub async fn slot_after_leaving(&self, next: Value, whole: Duration) -> Outcome {
        let begun = Instant::now();
        let waiting = tokio::time::timeout(LOST, self.chat(next)).await;
        let real = matches!(self.server, Server::Real(_));
        Outcome::fact(match waiting {
            Ok(_) if begun.elapsed() > whole / 3 => "its answer is written to the end",
            Err(_elapsed) if !real => "its slot is lost",
            _ if real => "its slot is free at once, or else lost",
            _ => "its slot is free at once",
        })
    }

    /// Waits until so many models are loaded.
    pub async fn loaded(&self, count: usize) {
        eventually("the models are loaded", PATIENCE, || async {
            let models = self.document("/api/ps").await;
            holds(models["models"].as_array().map_or(0, Vec::len) == count)
        })
        .await;
    }
}

/// The body of a chat with one message of the user, and whatever else.
pub fn body(model: &str, text: &str, more: Value) -> Value {
    let mut body = json!({"model": model, "messages": [{"role": "user", "content": text}]});
    if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
        body.extend(more);
    }
    body
}

/// The client of the product, with these hosts and a window of 1024 tokens.
pub fn client_of(hosts: &[String]) -> swarm_model::Ollama {
    let hosts = hosts.iter().map(|host| host.parse().expect("a URL"));
    let mut options = swarm_model::Options::new(hosts.collect());
    options.num_ctx = 1024;
    swarm_model::Ollama::new(options).expect("good options")
}

/// Asks by the client of the product.
pub fn ask(client: &swarm_model::Ollama, model: &str, text: &str) -> ChatStream {
    let messages = vec![swarm_model::Message::user(text)];
    client.chat(ChatRequest::new(model, messages, 512))
}

/// Reads a whole answer of the client.
pub async fn complete(mut answer: ChatStream) -> Result<Completion, ChatError> {
    while let Some(event) = answer.next().await {
        if let ChatEvent::Done(completion) = event? {
            return Ok(completion);
        }
    }
    panic!("an answer of the client ends with its completion or with an error")
}

/// What the client makes of a message.
pub async fn client_outcome(client: &swarm_model::Ollama, model: &str, text: &str) -> Outcome {
    Outcome::of_client(complete(ask(client, model, text)).await)
}
