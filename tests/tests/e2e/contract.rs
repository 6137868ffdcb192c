//! What Swarm relies on in NATS: each behaviour is a test of its own on the server that is pinned, and on the oldest that
//! is supported. `docs/nats.md` lists them.
//!
//! They go through `swarm_bus` where that relies on the behaviour, and say raw words to the server where a detail of its
//! own is meant. The streams are those of the topology, with a setting changed where a test would take too long.

mod append;
mod blobs;
mod dedup;
mod events;
mod expiry;
mod foreign;
mod forget;
mod pull;
mod read;
mod replicas;
mod requests;
mod restart;
mod room;
mod streams;
mod watch;
mod work;

use std::future::Future;
use std::time::Duration;

use serde_json::{Value, json};
use swarm_bus::topology::{Settings, streams};
use swarm_bus::{Bus, Outgoing, Role};
use swarm_protocol::subjects::{self, Leaf};
use swarm_protocol::trace::TraceParent;
use swarm_protocol::{AgentName, RunId, TaskId, headers};
use swarm_tests::Server;
use swarm_tests::server::Release;
use tempfile::TempDir;

/// Whatever a server does, it does within this.
const PATIENCE: Duration = Duration::from_secs(5);

/// Makes a test of each behaviour on each server. One that is not listed is dead code, which the lints find.
macro_rules! on_each_server {
    ($($behaviour:ident),+ $(,)?) => {
        mod pinned {
            $(#[tokio::test]
            async fn $behaviour() {
                super::$behaviour(swarm_tests::server::Release::Pinned).await;
            })+
        }

        mod floor {
            $(#[tokio::test]
            async fn $behaviour() {
                super::$behaviour(swarm_tests::server::Release::Floor).await;
            })+
        }
    };
}
use on_each_server;

/// A server of one release with the users of `nats.conf`, and one more that may do everything.
struct Nats {
    server: Server,
    coordinator: Bus,
    /// Who may do everything.
    witness: async_nats::Client,
    _folder: TempDir,
}

impl Nats {
    /// An empty server.
    async fn start(release: Release) -> Self {
        Self::start_changed(release, |conf| conf).await
    }

    /// An empty server whose `nats.conf` differs.
    async fn start_changed(release: Release, change: impl FnOnce(String) -> String) -> Self {
        let folder = TempDir::new().unwrap();
        let witness = "users: [\n{ user: witness, password: p-witness }\n";
        let change = |conf: &str| change(conf.replacen("users: [", witness, 1));
        let server = Server::start_release(release, folder.path(), change).await;
        let coordinator = server.bus(Role::Coordinator).await;
        assert_eq!(coordinator.server_version(), release.version());
        let witness = server.connect_as("witness").await;
        Self {
            server,
            coordinator,
            witness,
            _folder: folder,
        }
    }

    /// A server as a coordinator leaves it.
    async fn with_topology(release: Release) -> Self {
        Self::with_settings(release, &Settings::default()).await
    }

    async fn with_settings(release: Release, settings: &Settings) -> Self {
        let nats = Self::start(release).await;
        nats.coordinator.apply_topology(settings).await.unwrap();
        nats
    }

    /// Makes the consumer of [`agent`].
    async fn make_work_consumer(&self) {
        let (agent, settings) = (agent(), Settings::default());
        let made = self.coordinator.apply_work_consumer(&agent, &settings);
        made.await.unwrap();
    }

    /// Makes one stream of the topology, with these settings changed. Its configuration as the server reads it back.
    async fn make(&self, name: &str, changes: Value) -> Value {
        let streams = streams(&Settings::default());
        let stream = streams.into_iter().find(|stream| stream.name == name);
        let mut config = stream.expect("the topology has it").config;
        let changes = changes.as_object().unwrap().clone();
        config.as_object_mut().unwrap().extend(changes);
        let made = self.api(&format!("STREAM.CREATE.{name}"), &config).await;
        assert!(made.get("error").is_none(), "{made}");
        made["config"].clone()
    }

    /// What the server answers on `$JS.API.<what>`.
    async fn api(&self, what: &str, request: &Value) -> Value {
        let api = format!("$JS.API.{what}");
        let reply = self.witness.request(api, request.to_string().into()).await;
        serde_json::from_slice(&reply.unwrap().payload).unwrap()
    }

    /// Messages that stand in a stream.
    async fn messages(&self, stream: &str) -> u64 {
        let info = self.api(&format!("STREAM.INFO.{stream}"), &json!({})).await;
        info["state"]["messages"].as_u64().unwrap()
    }

    /// Waits until so many messages stand in a stream.
    async fn comes_to_hold(&self, stream: &str, count: u64) {
        let what = format!("{stream} holds {count}");
        swarm_tests::eventually(&what, PATIENCE, || async {
            swarm_tests::holds(self.messages(stream).await == count)
        })
        .await;
    }
}

/// What comes within the patience.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    let outcome = tokio::time::timeout(PATIENCE, what).await;
    outcome.unwrap_or_else(|_| panic!("nothing within {PATIENCE:?}"))
}

/// An event of a run, as a coordinator writes it.
fn event(run: RunId, text: &str) -> Outgoing {
    Outgoing::new(subjects::run_log(run), text.to_owned(), TraceParent::root())
        .header(headers::SUMMARY, "{}")
}

/// An entry of a task's journal, as a worker writes it.
fn entry(run: RunId, task: &str, leaf: Leaf, text: &str) -> Outgoing {
    let subject = subjects::journal(run, &task_id(task), leaf);
    Outgoing::new(subject, text.to_owned(), TraceParent::root())
}

fn task_id(task: &str) -> TaskId {
    task.parse().unwrap()
}

fn agent() -> AgentName {
    "research_agent".parse().unwrap()
}

/// A submission.
fn submission(text: &str) -> Outgoing {
    Outgoing::untraced(subjects::SUBMIT, text.to_owned())
}

/// Work for [`agent`].
fn work(text: &str) -> Outgoing {
    Outgoing::new(
        subjects::work(&agent()),
        text.to_owned(),
        TraceParent::root(),
    )
}

/// A server with one piece of work for [`agent`], which may be silent for so long, and a worker.
async fn with_work(release: Release, ack_wait: Duration) -> (Nats, Bus) {
    let settings = Settings {
        work_ack_wait: ack_wait,
        ..Settings::default()
    };
    let nats = Nats::with_settings(release, &settings).await;
    let bus = &nats.coordinator;
    bus.apply_work_consumer(&agent(), &settings).await.unwrap();
    bus.store(work("one")).await.unwrap();
    let worker = nats.server.bus(Role::Agent).await;
    (nats, worker)
}

/// The code of an error that the server answered.
fn error_code(answer: &Value) -> u64 {
    answer["error"]["err_code"]
        .as_u64()
        .unwrap_or_else(|| panic!("no error: {answer}"))
}
