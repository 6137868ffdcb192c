//! The server that a case asks: a real one or the simulator.

use std::fmt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use swarm_model::{ChatError, ChatEvent, ChatModel as _, ChatRequest, ChatStream, Completion};
use swarm_tests::ollama::{Limits, Ollama, Version, client};
use swarm_tests::{Sim, eventually, holds, tools};
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
    /// Ollama itself.
    Real(Version),
    /// ollama-sim, which simulates it.
    Simulated(Version),
}

impl Kind {
    /// Every kind, in the order of the document's columns.
    pub const ALL: [Self; 4] = [
        Self::Real(Version::V0_33_0),
        Self::Real(Version::V0_17_4),
        Self::Simulated(Version::V0_33_0),
        Self::Simulated(Version::V0_17_4),
    ];

    /// Its version, or the one that it simulates.
    pub const fn version(self) -> Version {
        let (Self::Real(version) | Self::Simulated(version)) = self;
        version
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Real(version) => formatter.write_str(version.number()),
            Self::Simulated(version) => write!(formatter, "simulated-{}", version.number()),
        }
    }
}

/// A running server.
pub struct Host {
    server: Server,
    kind: Kind,
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
            Kind::Real(version) => Server::Real(Ollama::start(version, path, limits).await),
            Kind::Simulated(version) => Server::Simulated(simulator(version, path, limits).await),
        };
        Self {
            server,
            kind,
            limits,
            _folder: folder,
        }
    }

    /// Another one of the same kind.
    pub async fn another(&self) -> Self {
        Self::start(self.kind, self.limits).await
    }

    /// Its URL.
    pub fn url(&self) -> String {
        match &self.server {
            Server::Real(server) => server.url(),
            Server::Simulated(sim) => sim.url(),
        }
    }

    /// Kills what runs its models.
    pub async fn kill_runners(&self) {
        match &self.server {
            Server::Real(server) => server.kill_runners(),
            Server::Simulated(sim) => sim.kill_runners().await,
        }
    }

    /// Kills it, as a machine that goes away does.
    pub fn kill_9(&mut self) {
        match &mut self.server {
            Server::Real(server) => server.kill_9(),
            Server::Simulated(sim) => sim.kill_9(),
        }
    }

    /// Something that is another when a model was loaded since.
    pub async fn loads(&self) -> String {
        match &self.server {
            Server::Real(server) => format!("{:?}", server.runners()),
            Server::Simulated(sim) => sim.metrics().await["loads"].to_string(),
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
        let real = matches!(self.kind, Kind::Real(_));
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

/// A simulator of this version with the same models as the real server.
async fn simulator(version: Version, folder: &Path, limits: Limits) -> Sim {
    let made = models(version);
    let write = |name: &str| {
        let file = folder.join(format!("{name}.json"));
        std::fs::write(&file, made[name].to_string()).expect("the folder is there");
        file.to_str().expect("a path of letters").to_owned()
    };
    let (table, rules) = (write("models"), write("rules"));
    let names = made["models"].as_array().expect("models").iter();
    let names: Vec<&str> = names.filter_map(|model| model["name"].as_str()).collect();
    let bounds = [limits.parallel, limits.queue, limits.loaded].map(|bound| bound.to_string());
    let arguments = [
        ["--version-of", version.number()],
        ["--model-table", &table],
        ["--models", &names.join(",")],
        ["--rules", &rules],
        ["--parallel", &bounds[0]],
        ["--max-queue", &bounds[1]],
        ["--max-loaded", &bounds[2]],
        ["--latency", "0"],
        // About as fast as the models of the real servers.
        ["--tokens-per-second", "2000"],
    ];
    Sim::start(folder, arguments.as_flattened()).await
}

/// What `scripts/ollama_models.py` makes of its models for a simulator.
fn models(version: Version) -> Value {
    let script = tools::repository().join("scripts/ollama_models.py");
    let mut command = Command::new("python3");
    command.arg(script).args(["--simulator", version.number()]);
    let output = command.output().expect("python3 runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).expect("a JSON document")
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
    client_with(hosts, |_| {})
}

/// The same, with so many requests at a time for each host.
pub fn eager_client_of(hosts: &[String], parallel: u32) -> swarm_model::Ollama {
    client_with(hosts, |options| options.parallel = parallel)
}

/// The same, which waits so long for the first token.
pub fn impatient_client_of(hosts: &[String], patience: Duration) -> swarm_model::Ollama {
    client_with(hosts, |options| {
        options.deadlines.first_token = patience;
        options.deadlines.first_token_unloaded = patience;
    })
}

fn client_with(
    hosts: &[String],
    change: impl FnOnce(&mut swarm_model::Options),
) -> swarm_model::Ollama {
    let hosts = hosts.iter().map(|host| host.parse().expect("a URL"));
    let mut options = swarm_model::Options::new(hosts.collect());
    options.num_ctx = 1024;
    change(&mut options);
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
