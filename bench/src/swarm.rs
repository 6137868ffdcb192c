//! Swarm as its users run it: a coordinator and workers as processes of their own, with the users of `nats.conf`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use async_nats::HeaderMap;
use async_nats::jetstream;
use futures_util::StreamExt as _;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use swarm_protocol::{AgentName, RunId, headers, subjects};

use crate::load::{self, Waiting};
use crate::process::Process;
use crate::server::{Server, passwords};

/// The agent of the rows with one agent.
pub const AGENT: &str = "research_agent";

/// The same as a name that subjects are built of.
pub fn agent() -> AgentName {
    AGENT.parse().expect("a name")
}

/// The team of the fan-out: three, and who sums up.
const TEAM: [&str; 4] = [
    AGENT,
    "creative_agent",
    "critical_agent",
    "summarizer_agent",
];

/// A swarm that runs, and the connection that submits and watches.
#[derive(Debug)]
pub struct Swarm {
    /// The coordinator.
    pub coordinator: Process,
    /// The workers.
    pub agents: Vec<Process>,
    submitter: Submitter,
}

/// What is read of a summary: whether its run has ended.
#[derive(Deserialize)]
struct Summary {
    run: RunId,
    ended_at: Option<IgnoredAny>,
}

#[derive(Debug, Clone)]
struct Submitter {
    context: jetstream::Context,
    waiting: Waiting,
}

/// Settings of the processes of a swarm.
#[derive(Debug, Clone)]
pub struct Settings {
    folder: PathBuf,
    url: String,
}

impl Settings {
    /// Writes the configuration: this model host, so many slots a worker.
    pub fn write(folder: &Path, url: &str, model: u16, slots: usize) -> Result<Self> {
        let agents: String = TEAM
            .iter()
            .map(|agent| format!("  {agent}: {{}}\n"))
            .collect();
        let text = format!(
            "ollama: {{hosts: [\"http://127.0.0.1:{model}\"], parallel: {slots}}}\nagents:\n{agents}runs: {{max_open: 20000}}\n"
        );
        std::fs::write(folder.join("swarm.yaml"), text)?;
        Ok(Self {
            folder: folder.to_path_buf(),
            url: url.to_owned(),
        })
    }

    /// A command of `swarm` with these settings.
    pub fn command(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = Command::new(binary()?);
        command.args(arguments).current_dir(&self.folder);
        command.env("NATS_URL", &self.url);
        command.env("SWARM_DATA_DIR", self.folder.join("data"));
        command.env("SWARM_CONFIG", self.folder.join("swarm.yaml"));
        for (variable, password) in passwords() {
            command.env(variable, password);
        }
        Ok(command)
    }

    /// Starts one role.
    pub fn role(&self, name: &str, arguments: &[&str]) -> Result<Process> {
        Process::start(name, self.command(arguments)?, &self.folder)
    }

    /// Starts an agent.
    pub fn agent(&self, name: &str) -> Result<Process> {
        self.role(name, &["agent", name])
    }
}

/// `swarm`, built beside this program with the same profile.
pub fn binary() -> Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name("swarm");
    anyhow::ensure!(
        path.is_file(),
        "{} is not built: `make bench` builds it",
        path.display()
    );
    Ok(path)
}

impl Swarm {
    /// Starts a coordinator and one worker of [`AGENT`].
    pub async fn start(server: &Server, settings: &Settings) -> Result<Self> {
        Self::with(server, settings, &[AGENT]).await
    }

    /// Starts a coordinator and the default team.
    pub async fn with_team(server: &Server, settings: &Settings) -> Result<Self> {
        Self::with(server, settings, &TEAM).await
    }

    /// Starts a coordinator and one worker of each of these agents, and waits until all are there.
    pub async fn with(server: &Server, settings: &Settings, agents: &[&str]) -> Result<Self> {
        let coordinator = settings.role("coordinator", &["coordinator"])?;
        let agents: Vec<Process> = agents
            .iter()
            .map(|agent| settings.agent(agent))
            .collect::<Result<_>>()?;
        let client = server.connect("client").await?;
        are_ready(&client, agents.len()).await?;
        let waiting = Waiting::default();
        let mut events = client.subscribe(subjects::EVENTS).await?;
        client.flush().await?;
        let ended = waiting.clone();
        tokio::spawn(async move {
            while let Some(event) = events.next().await {
                let header = event
                    .headers
                    .as_ref()
                    .and_then(|all| all.get(headers::SUMMARY));
                let summary =
                    header.and_then(|header| serde_json::from_str::<Summary>(header.as_str()).ok());
                if let Some(Summary {
                    run,
                    ended_at: Some(_),
                }) = summary
                {
                    ended.answered(run);
                }
            }
        });
        let context = jetstream::new(client);
        let submitter = Submitter { context, waiting };
        Ok(Self {
            coordinator,
            agents,
            submitter,
        })
    }

    /// Runs one task of one agent: submitted and acknowledged, until its result is stored and seen.
    pub fn task(&self) -> impl Future<Output = Result<()>> + use<> {
        self.submit(subjects::submit(Some(&agent())))
    }

    /// Runs one task of the default team.
    pub fn team_task(&self) -> impl Future<Output = Result<()>> + use<> {
        self.submit(subjects::submit(None))
    }

    fn submit(&self, subject: String) -> impl Future<Output = Result<()>> + use<> {
        let Submitter { context, waiting } = self.submitter.clone();
        async move {
            let run = RunId::random();
            let answered = waiting.expect(run);
            let mut headers = HeaderMap::new();
            headers.insert(headers::RUN_ID, run.to_string());
            context
                .publish_with_headers(subject, headers, crate::TASK.into())
                .await?
                .await?;
            load::answer(answered).await
        }
    }

    /// Runs one task by `swarm.ask`: one request, one answer.
    pub fn ask(&self) -> impl Future<Output = Result<()>> + use<> {
        let client = self.submitter.context.client();
        async move {
            let reply = client
                .request(subjects::ask(Some(&agent())), crate::TASK.into())
                .await?;
            anyhow::ensure!(
                reply
                    .headers
                    .is_some_and(|all| all.get(headers::ERROR).is_none()),
                "ask failed"
            );
            Ok(())
        }
    }

    /// Submits without waiting for anything but the stream's word.
    pub fn submit_only(&self) -> impl Future<Output = Result<()>> + use<> {
        let context = self.submitter.context.clone();
        async move {
            context
                .publish(subjects::submit(Some(&agent())), crate::TASK.into())
                .await?
                .await?;
            Ok(())
        }
    }
}

/// Waits until so many agents are live.
async fn are_ready(client: &async_nats::Client, count: usize) -> Result<()> {
    let cards = |reply: Value| reply["items"].as_array().map_or(0, Vec::len);
    until("the agents are ready", || async {
        let reply = client.request(subjects::AGENTS, "".into()).await.ok()?;
        let reply = serde_json::from_slice(&reply.payload).ok()?;
        (cards(reply) == count).then_some(())
    })
    .await
}

/// Runs that are open, as the coordinator's statistics say.
pub async fn open_runs(server: &Server) -> Result<u64> {
    let client = server.connect("client").await?;
    let reply = client.request(subjects::service_stats(), "".into()).await?;
    let stats: Value = serde_json::from_slice(&reply.payload)?;
    let endpoints = stats["endpoints"].as_array().context("no statistics")?;
    let runs = endpoints.iter().find(|endpoint| endpoint["name"] == "runs");
    runs.and_then(|runs| runs["data"]["open"].as_u64())
        .context("no count of open runs")
}

/// Waits for a condition.
pub async fn until<T, F>(what: &str, condition: impl Fn() -> F) -> Result<T>
where
    F: Future<Output = Option<T>>,
{
    let began = Instant::now();
    loop {
        if let Some(found) = condition().await {
            return Ok(found);
        }
        if began.elapsed() > Duration::from_secs(120) {
            bail!("{what}: not within 2 minutes");
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
