//! Where a fault happens: a stack whose lost workers are noticed soon, with a ledger and workers that write to it.

use std::time::Duration;

use async_nats::HeaderMap;
use futures_util::{StreamExt as _, stream};
use serde_json::Value;
use swarm_protocol::{RunId, Span, headers};

use super::Outcome;
use super::history::{History, Tally};
use super::ledger::Ledger;
use super::worker::{SETUP, Setup};
use crate::server::connect_as;
use crate::small_disk::SmallDisk;
use crate::{Process, Stack, eventually, holds, tools};

/// How long a worker may be silent here.
pub const ACK_WAIT: Duration = Duration::from_secs(2);

/// Arguments of a simulator that answers at once.
pub const FAST: [&str; 4] = ["--latency", "0ms", "--tokens-per-second", "0"];

/// The agent that most faults happen to.
pub const AGENT: &str = "research_agent";

/// Everything that is started here is ready by then.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The models do what a task says: `ledger <text> ms=<time to the effect> hold=<time from then to the result>`.
const RULES: &str = "
rules:
- when: {last: user, user: '(?<tool>ledger\\w*) (?<text>\\w+) ms=(?<ms>\\d+) hold=(?<hold>\\d+)'}
  then: [{tool_call: {name: '{tool}', arguments: {text: '{text}', ms: '{ms}', hold: '{hold}'}}}]
- when: {last: tool}
  then: [{template: 'It is {tool}'}]
";

/// A stack, and what is done in it.
#[derive(Debug)]
pub struct Scene {
    /// Server, simulator, and how `swarm` is started.
    pub stack: Stack,
    /// What tools did.
    pub ledger: Ledger,
    /// Tasks at once of the workers that are started from now on.
    pub slots: u32,
    /// How long those may be silent; see [`Scene::lost_after`].
    ack_wait: Duration,
    /// Longest attempt of those.
    pub attempt: Duration,
    /// Longest pause before a token of those.
    pub tokens: Duration,
}

impl Scene {
    /// A scene without roles.
    pub async fn start(sim: &[&str]) -> Self {
        Self::on(Stack::start(sim).await).await
    }

    /// One in this stack.
    pub async fn on(stack: Stack) -> Self {
        stack.sim.follow(RULES).await;
        let mut scene = Self {
            ledger: Ledger::in_folder(stack.folder()),
            stack,
            slots: 1,
            ack_wait: ACK_WAIT,
            attempt: Duration::from_secs(120),
            tokens: Duration::from_secs(60),
        };
        scene.lost_after(ACK_WAIT);
        scene
    }

    /// Has a silent worker lose its work after this time. Before a coordinator is started.
    pub fn lost_after(&mut self, silence: Duration) {
        self.ack_wait = silence;
        let silence = Span(silence).to_string();
        self.stack.set("SWARM_NATS_WORK_ACK_WAIT", &silence);
    }

    /// A worker with the tools of the ledger.
    #[must_use]
    pub fn worker(&self, agent: &str) -> Process {
        self.worker_by(agent, &self.stack.url())
    }

    /// One that comes to the server by this way.
    #[must_use]
    pub fn worker_by(&self, agent: &str, nats: &str) -> Process {
        let setup = Setup {
            nats: nats.to_owned(),
            host: self.stack.sim.url(),
            ledger: self.ledger.clone(),
            agent: agent.parse().unwrap(),
            slots: self.slots,
            work_ack_wait: Span(self.ack_wait),
            attempt: Span(self.attempt),
            tokens: Span(self.tokens),
        };
        let mut command = std::process::Command::new(tools::built("ledger-worker"));
        command.env(SETUP, serde_json::to_string(&setup).unwrap());
        Process::start(agent, command, self.stack.folder())
    }

    /// A connection as one of the users.
    pub async fn connect_as(&self, user: &str) -> async_nats::Client {
        connect_as(&self.stack.url(), user).await
    }

    /// Submits tasks to an agent, with ids of their own, and waits until all of them are stored.
    pub async fn submit(&self, agent: &str, tasks: impl IntoIterator<Item = String>) -> Vec<RunId> {
        let client = self.connect_as("client").await;
        let tasks: Vec<(RunId, String)> = tasks
            .into_iter()
            .map(|task| (RunId::random(), task))
            .collect();
        let runs = tasks.iter().map(|(run, _)| *run).collect();
        let storing = tasks.into_iter().map(|(run, task)| {
            let client = client.clone();
            async move {
                let stored = store(&client, &format!("swarm.submit.{agent}"), run, &task).await;
                stored.unwrap_or_else(|error| panic!("{task}: {error}"));
            }
        });
        stream::iter(storing)
            .buffer_unordered(64)
            .collect::<Vec<()>>()
            .await;
        runs
    }

    /// Submits one task.
    pub async fn submit_one(&self, agent: &str, task: &str) -> RunId {
        self.submit(agent, [task.to_owned()]).await.remove(0)
    }

    /// Submits one to this subject.
    pub async fn submit_to(&self, subject: &str, task: &str) -> RunId {
        let client = self.connect_as("client").await;
        let run = RunId::random();
        let stored = store(&client, subject, run, task).await;
        stored.unwrap_or_else(|error| panic!("{task}: {error}"));
        run
    }

    /// Waits until so many runs have ended, as a coordinator counts them.
    pub async fn ended(&self, count: usize, patience: Duration) {
        let client = self.connect_as("client").await;
        eventually("all runs end", patience, || async {
            holds(count_ended(&client).await? >= count as u64)
        })
        .await;
    }

    /// Waits until this many models are at work.
    pub async fn models_at_work(&self, count: usize) {
        eventually("the models are at work", PATIENCE, || async {
            holds(self.stack.sim.chats("running").await.len() == count)
        })
        .await;
    }

    /// Reads and checks all that is stored.
    pub async fn check(&self, submitted: &[RunId]) -> (History, Tally) {
        self.queues_empty().await;
        let history = History::read(&self.stack.server).await;
        let tally = history.check(submitted, &self.ledger);
        (history, tally)
    }

    /// The same, when only the figures matter.
    pub async fn outcome(&self, submitted: &[RunId], recovery: Duration) -> Outcome {
        let (_, tally) = self.check(submitted).await;
        Outcome { tally, recovery }
    }

    /// The small disk of its server.
    ///
    /// # Panics
    /// When it has none.
    #[must_use]
    pub fn disk(&self) -> &SmallDisk {
        self.stack
            .server
            .disk()
            .expect("the server has a disk of its own")
    }

    /// Changes a stream, as an operator may who logs in as the coordinator.
    pub async fn change_stream(&self, stream: &str, change: &Value) {
        let coordinator = self.connect_as("coordinator").await;
        let ask = async |api: String, body: String| -> Value {
            let reply = coordinator.request(api, body.into()).await.unwrap();
            serde_json::from_slice(&reply.payload).unwrap()
        };
        let info = ask(format!("$JS.API.STREAM.INFO.{stream}"), String::new()).await;
        let mut config = info["config"].clone();
        for (name, value) in change.as_object().unwrap() {
            config[name] = value.clone();
        }
        let changed = ask(
            format!("$JS.API.STREAM.UPDATE.{stream}"),
            config.to_string(),
        )
        .await;
        assert!(changed.get("error").is_none(), "{changed}");
    }

    /// Acknowledgements follow the ends of runs: waits for them.
    pub async fn queues_empty(&self) {
        let observer = self.connect_as("observer").await;
        eventually("inbox and work queue are empty", PATIENCE, || async {
            for stream in ["SWARM_INBOX", "SWARM_WORK"] {
                let api = format!("$JS.API.STREAM.INFO.{stream}");
                let reply = observer.request(api, "".into()).await.ok()?;
                let info: Value = serde_json::from_slice(&reply.payload).ok()?;
                if info["state"]["messages"] != 0 {
                    return None;
                }
            }
            Some(())
        })
        .await;
    }
}

/// Stores a submission; the server's error when it does not.
pub async fn store(
    client: &async_nats::Client,
    subject: &str,
    run: RunId,
    task: &str,
) -> Result<Value, String> {
    let mut named = HeaderMap::new();
    named.insert(headers::RUN_ID, run.to_string());
    let reply = client
        .request_with_headers(subject.to_owned(), named, task.to_owned().into())
        .await
        .map_err(|error| error.to_string())?;
    let ticket: Value =
        serde_json::from_slice(&reply.payload).map_err(|error| error.to_string())?;
    match ticket.get("error") {
        Some(error) => Err(error.to_string()),
        None => Ok(ticket),
    }
}

/// Submits tasks to an agent, each again and again until it is stored, whatever happens to the server meanwhile.
pub async fn submit_somehow(
    client: &async_nats::Client,
    agent: &str,
    tasks: impl IntoIterator<Item = String>,
) -> Vec<RunId> {
    let subject = &format!("swarm.submit.{agent}");
    let storing = tasks.into_iter().map(|task| async move {
        let run = RunId::random();
        let task = &task;
        eventually("it is stored", PATIENCE, || async move {
            store(client, subject, run, task).await.ok()
        })
        .await;
        run
    });
    stream::iter(storing).buffer_unordered(64).collect().await
}

/// The same, once a coordinator answers.
pub async fn ended_after_all(client: &async_nats::Client) -> u64 {
    eventually("a coordinator answers", PATIENCE, || count_ended(client)).await
}

/// Runs that have ended, as a coordinator counts them.
pub async fn count_ended(client: &async_nats::Client) -> Option<u64> {
    let stats = client.request("$SRV.STATS.swarm", "".into()).await.ok()?;
    let stats: Value = serde_json::from_slice(&stats.payload).ok()?;
    let mut endpoints = stats["endpoints"].as_array()?.iter();
    let runs = endpoints.find(|endpoint| endpoint["name"] == "runs")?;
    let states = runs["data"]["by_state"].as_object()?;
    let ended = ["completed", "failed", "canceled", "rejected"];
    Some(
        ended
            .iter()
            .filter_map(|state| states.get(*state)?.as_u64())
            .sum(),
    )
}
