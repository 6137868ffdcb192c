//! Measurements of Swarm that are no ratio: how fast it starts, how much memory it takes, its worst case.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde::Serialize;
use swarm_protocol::{headers, subjects};
use tempfile::TempDir;

use crate::load;
use crate::process::{Process, free_port};
use crate::server::{Server, Sync};
use crate::side::{self, AT_ONCE, millis};
use crate::swarm::{AGENT, Settings, Swarm, agent, open_runs, until};

/// What was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Alone {
    /// A task waits; from the start of a worker to the answer, median, in ms.
    pub worker_start_ms: f64,
    /// From `swarm up` in an empty folder to the first answer, median, in ms.
    pub stack_start_ms: f64,
    /// An idle agent, in MiB.
    pub agent_mib: f64,
    /// A coordinator with many open runs, in MiB.
    pub coordinator_mib: f64,
    /// The open runs of that.
    pub open_runs: u64,
    /// The slowest of all tasks, one at a time, in ms.
    pub worst_ms: f64,
    /// So many tasks.
    pub worst_of: usize,
}

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub struct Counts {
    /// Starts of each kind.
    pub starts: usize,
    /// Open runs.
    pub open_runs: usize,
    /// Tasks of which the slowest is sought.
    pub worst_of: usize,
    /// Turns of an agent without a bus, in each round.
    pub turns: usize,
    /// Rounds of those.
    pub turn_rounds: usize,
}

impl Counts {
    /// So many that the bars may be held against the figures.
    pub const WHOLE: Self = Self {
        starts: 5,
        open_runs: 10_000,
        worst_of: 10_000,
        turns: 5000,
        turn_rounds: 5,
    };

    /// Enough to see what a change does.
    pub const QUICK: Self = Self {
        starts: 3,
        open_runs: 2000,
        worst_of: 1000,
        turns: 2000,
        turn_rounds: 3,
    };
}

/// Measures all of it.
pub async fn measure(counts: Counts) -> Result<Alone> {
    let folder = TempDir::new()?;
    let (_model, port) = side::model(Duration::ZERO, folder.path()).await?;

    let worker_start_ms = worker_start(port, counts.starts).await?;
    let stack_start_ms = stack_start(port, counts.starts).await?;

    let folder = TempDir::new()?;
    let server = Server::start(folder.path(), Sync::Always).await?;
    let settings = Settings::write(folder.path(), &server.url(), port, AT_ONCE)?;
    let mut swarm = Swarm::start(&server, &settings).await?;
    let agent_mib = mib(swarm.agents.first().context("one agent was started")?)?;
    let worst = load::run(counts.worst_of, 1, || swarm.task()).await?;

    swarm.agents.clear();
    load::run(counts.open_runs, AT_ONCE, || swarm.submit_only()).await?;
    let wanted = counts.open_runs as u64;
    let open_runs = until("all runs are open", || async {
        open_runs(&server).await.ok().filter(|open| *open >= wanted)
    })
    .await?;
    Ok(Alone {
        worker_start_ms,
        stack_start_ms,
        agent_mib,
        coordinator_mib: mib(&swarm.coordinator)?,
        open_runs,
        worst_ms: millis(worst.percentile(1.0)),
        worst_of: counts.worst_of,
    })
}

/// A coordinator runs and a task waits: how long until a worker that is started now has answered it.
async fn worker_start(model: u16, starts: usize) -> Result<f64> {
    let folder = TempDir::new()?;
    let server = Server::start(folder.path(), Sync::Always).await?;
    let settings = Settings::write(folder.path(), &server.url(), model, 1)?;
    let swarm = Swarm::with(&server, &settings, &[]).await?;
    let mut took = Vec::new();
    for _ in 0..starts {
        let wanted = open_runs(&server).await? + 1;
        let answered = tokio::spawn(swarm.task());
        until("the task waits", || async {
            open_runs(&server).await.ok().filter(|open| *open >= wanted)
        })
        .await?;
        let began = Instant::now();
        let worker = settings.agent(AGENT)?;
        answered.await??;
        took.push(began.elapsed());
        worker.interrupt()?;
    }
    Ok(median(took))
}

/// Nothing runs: how long from `swarm up` to the first answer.
async fn stack_start(model: u16, starts: usize) -> Result<f64> {
    let mut took = Vec::new();
    for _ in 0..starts {
        let folder = TempDir::new()?;
        let url = format!("nats://127.0.0.1:{}", free_port()?);
        let settings = Settings::write(folder.path(), &url, model, 1)?;
        let mut command: Command = settings.command(&["up"])?;
        let path = std::env::var("PATH").unwrap_or_default();
        let tools = crate::server::repository().join(".tools/bin");
        command.env("PATH", format!("{}:{path}", tools.display()));
        let began = Instant::now();
        let up = Process::start("up", command, folder.path())?;
        until("the stack answers", || ask(&url)).await?;
        took.push(began.elapsed());
        up.interrupt()?;
    }
    Ok(median(took))
}

async fn ask(url: &str) -> Option<()> {
    let client = async_nats::connect(url).await.ok()?;
    let reply = client
        .request(subjects::ask(Some(&agent())), crate::TASK.into())
        .await
        .ok()?;
    reply.headers?.get(headers::RUN_ID).map(drop)
}

fn median(mut took: Vec<Duration>) -> f64 {
    took.sort_unstable();
    took.get(took.len() / 2).copied().map_or(0.0, millis)
}

fn mib(process: &Process) -> Result<f64> {
    Ok(process.resident()? as f64 / (1024.0 * 1024.0))
}
