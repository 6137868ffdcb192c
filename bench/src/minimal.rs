//! The smallest durable pipeline that does the same work, written by hand: publish and ack, pull, model call, result
//! publish and ack, ack. What Swarm costs is measured against it.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use async_nats::jetstream::consumer::pull;
use async_nats::jetstream::{self, stream};
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use swarm_protocol::RunId;
use tokio::sync::Semaphore;

use crate::load::{self, Waiting};
use crate::process::Process;
use crate::server::{PASSWORD, Server};

const TASKS: &str = "MINIMAL_TASKS";
const RESULTS: &str = "MINIMAL_RESULTS";
const USER: &str = "minimal";

/// A pipeline that runs: one worker, and the connection that submits and reads results.
#[derive(Debug)]
pub struct Pipeline {
    /// The worker.
    pub worker: Process,
    submitter: Submitter,
}

#[derive(Debug, Clone)]
struct Submitter {
    context: jetstream::Context,
    waiting: Waiting,
}

impl Pipeline {
    /// Makes the streams and starts a worker with so many slots.
    pub async fn start(server: &Server, model: u16, slots: usize, folder: &Path) -> Result<Self> {
        let client = server.connect(USER).await?;
        let context = jetstream::new(client.clone());
        let config = |name: &str, subject: &str, retention| stream::Config {
            name: name.to_owned(),
            subjects: vec![subject.to_owned()],
            retention,
            ..stream::Config::default()
        };
        let tasks = context
            .get_or_create_stream(config(
                TASKS,
                "minimal.task",
                stream::RetentionPolicy::WorkQueue,
            ))
            .await?;
        let results = context
            .get_or_create_stream(config(
                RESULTS,
                "minimal.result.*",
                stream::RetentionPolicy::Limits,
            ))
            .await?;
        tasks
            .get_or_create_consumer(
                "worker",
                pull::Config {
                    durable_name: Some("worker".to_owned()),
                    max_ack_pending: 10_000,
                    ..pull::Config::default()
                },
            )
            .await?;
        let ordered = pull::OrderedConfig {
            deliver_policy: jetstream::consumer::DeliverPolicy::New,
            ..pull::OrderedConfig::default()
        };
        let mut read = results.create_consumer(ordered).await?.messages().await?;
        let waiting = Waiting::default();
        let answered = waiting.clone();
        tokio::spawn(async move {
            while let Some(Ok(message)) = read.next().await {
                let id = message.subject.rsplit('.').next().and_then(RunId::parse);
                id.map(|id| answered.answered(id)).unwrap_or_default();
            }
        });
        let worker = start_worker(server, model, slots, folder)?;
        let submitter = Submitter { context, waiting };
        Ok(Self { worker, submitter })
    }

    /// Runs one task, from its publication to its stored result.
    pub fn task(&self) -> impl Future<Output = Result<()>> + use<> {
        let Submitter { context, waiting } = self.submitter.clone();
        async move {
            let id = RunId::random();
            let answered = waiting.expect(id);
            let task = json!({ "id": id, "task": crate::TASK }).to_string();
            context.publish("minimal.task", task.into()).await?.await?;
            load::answer(answered).await
        }
    }
}

/// Starts a worker, another one or the first.
pub fn start_worker(server: &Server, model: u16, slots: usize, folder: &Path) -> Result<Process> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("minimal-worker").arg(server.url());
    command.args([model.to_string(), slots.to_string()]);
    Process::start("minimal-worker", command, folder)
}

/// The worker: pulls tasks, asks the model, stores results.
pub async fn work(url: &str, model: u16, slots: usize) -> Result<()> {
    let client =
        async_nats::ConnectOptions::with_user_and_password(USER.to_owned(), PASSWORD.to_owned())
            .connect(url)
            .await?;
    let context = jetstream::new(client);
    let consumer: jetstream::consumer::PullConsumer =
        context.get_consumer_from_stream("worker", TASKS).await?;
    let mut tasks = consumer
        .stream()
        .max_messages_per_batch(slots)
        .expires(Duration::from_secs(30))
        .messages()
        .await?;
    let http = reqwest::Client::builder().no_proxy().build()?;
    let chat = format!("http://127.0.0.1:{model}/api/chat");
    let free = Arc::new(Semaphore::new(slots));
    while let Some(task) = tasks.next().await {
        let (context, http, chat) = (context.clone(), http.clone(), chat.clone());
        let permit = Arc::clone(&free).acquire_owned().await?;
        let task = task?;
        tokio::spawn(async move {
            if let Err(error) = answer(&context, &http, &chat, &task).await {
                eprintln!("{error:#}");
            }
            drop(permit);
        });
    }
    Ok(())
}

async fn answer(
    context: &jetstream::Context,
    http: &reqwest::Client,
    chat: &str,
    task: &jetstream::Message,
) -> Result<()> {
    let asked: Value = serde_json::from_slice(&task.payload)?;
    let id = asked["id"].as_str().context("a task without an id")?;
    let request = json!({
        "model": "llama3.2:3b", "stream": false,
        "messages": [{ "role": "user", "content": asked["task"] }],
    });
    let reply: Value = http.post(chat).json(&request).send().await?.json().await?;
    let result = json!({ "id": id, "text": reply["message"]["content"] }).to_string();
    context
        .publish(format!("minimal.result.{id}"), result.into())
        .await?
        .await?;
    task.ack().await.map_err(|error| anyhow::anyhow!(error))
}
