//! One side of a round: the minimal pipeline, or Swarm, measured in the same way.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde::Serialize;
use tempfile::TempDir;

use crate::load::{self, Timing};
use crate::minimal::Pipeline;
use crate::process::{Process, free_port, listening, own_cpu};
use crate::server::{Server, Sync};
use crate::swarm::{Settings, Swarm};

/// Tasks at once under load, and slots of the worker.
pub const AT_ONCE: usize = 64;

/// What the model of the last rows takes.
pub const MODEL_LATENCY: Duration = Duration::from_millis(200);

/// Tasks of each measurement.
#[derive(Debug, Clone, Copy)]
pub struct Counts {
    /// Before anything is measured.
    pub warm_up: usize,
    /// One at a time.
    pub single: usize,
    /// [`AT_ONCE`].
    pub loaded: usize,
    /// [`AT_ONCE`] with the slow model.
    pub slow: usize,
    /// Fan-outs, one at a time.
    pub fan_out: usize,
}

impl Counts {
    /// So many that the bars may be held against the figures.
    pub const WHOLE: Self = Self {
        warm_up: 500,
        single: 1500,
        loaded: 6000,
        slow: 1280,
        fan_out: 20,
    };

    /// Enough to see what a change does.
    pub const QUICK: Self = Self {
        warm_up: 200,
        single: 300,
        loaded: 2000,
        slow: 320,
        fan_out: 5,
    };
}

/// What one side took in one round.
#[derive(Debug, Clone, Serialize)]
pub struct Side {
    /// One at a time: median, in ms.
    pub p50_ms: f64,
    /// One at a time: the slowest of a hundred, in ms.
    pub p99_ms: f64,
    /// Under load: tasks a second.
    pub per_second: f64,
    /// Under load: processor time of the whole path a task, in µs, without the model host.
    pub cpu_us: f64,
    /// The same, by process.
    pub cpu_us_of: Vec<(String, f64)>,
    /// Stored messages a task.
    pub stored: f64,
    /// Messages that the server got, a task, one at a time.
    pub in_msgs: f64,
    /// Messages that the server handed out, a task, one at a time.
    pub out_msgs: f64,
    /// With the slow model: tasks a second.
    pub slow_per_second: f64,
}

/// A model host in a process of its own.
pub async fn model(latency: Duration, folder: &Path) -> Result<(Process, u16)> {
    let port = free_port()?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["model", &port.to_string(), &latency.as_millis().to_string()]);
    let process = Process::start(&format!("model-{}", latency.as_millis()), command, folder)?;
    listening(port).await?;
    Ok((process, port))
}

/// Measures the minimal pipeline.
pub async fn minimal(sync: Sync, counts: Counts) -> Result<Side> {
    let folder = TempDir::new()?;
    let (_model, port) = model(Duration::ZERO, folder.path()).await?;
    let server = Server::start(folder.path(), sync).await?;
    let pipeline = Pipeline::start(&server, port, AT_ONCE, folder.path()).await?;
    let processes = [
        ("nats-server", &server.process),
        ("worker", &pipeline.worker),
    ];
    let side = measure(&server, &processes, counts, || pipeline.task()).await?;
    drop((pipeline, server));

    let folder = TempDir::new()?;
    let (_model, port) = model(MODEL_LATENCY, folder.path()).await?;
    let server = Server::start(folder.path(), sync).await?;
    let pipeline = Pipeline::start(&server, port, AT_ONCE, folder.path()).await?;
    let slow = slow(counts, || pipeline.task()).await?;
    Ok(Side {
        slow_per_second: slow.rate(),
        ..side
    })
}

/// What of Swarm has no counterpart on the other side.
#[derive(Debug, Clone, Serialize)]
pub struct More {
    /// One `swarm.ask` at a time: median, in ms.
    pub ask_p50_ms: f64,
    /// A fan-out of three and a summary with the slow model: median, in ms.
    pub fan_out_p50_ms: f64,
}

/// Measures Swarm.
pub async fn swarm(sync: Sync, counts: Counts) -> Result<(Side, More)> {
    let folder = TempDir::new()?;
    let (_model, port) = model(Duration::ZERO, folder.path()).await?;
    let server = Server::start(folder.path(), sync).await?;
    let settings = Settings::write(folder.path(), &server.url(), port, AT_ONCE)?;
    let swarm = Swarm::start(&server, &settings).await?;
    let [agent] = swarm.agents.as_slice() else {
        anyhow::bail!("one agent was started");
    };
    let processes = [
        ("nats-server", &server.process),
        ("agent", agent),
        ("coordinator", &swarm.coordinator),
    ];
    let side = measure(&server, &processes, counts, || swarm.task()).await?;
    let asked = load::run(counts.single, 1, || swarm.ask()).await?;
    drop((swarm, server));

    let folder = TempDir::new()?;
    let (_model, port) = model(MODEL_LATENCY, folder.path()).await?;
    let server = Server::start(folder.path(), sync).await?;
    let settings = Settings::write(folder.path(), &server.url(), port, AT_ONCE)?;
    let swarm = Swarm::with_team(&server, &settings).await?;
    let slow = slow(counts, || swarm.task()).await?;
    let fan_out = load::run(counts.fan_out, 1, || swarm.team_task()).await?;
    let side = Side {
        slow_per_second: slow.rate(),
        ..side
    };
    let more = More {
        ask_p50_ms: millis(asked.percentile(0.5)),
        fan_out_p50_ms: millis(fan_out.percentile(0.5)),
    };
    Ok((side, more))
}

/// Keeps Swarm under load, and says which processes that are.
pub async fn hold(sync: Sync, at_once: usize, span: Duration, latency: Duration) -> Result<()> {
    let folder = TempDir::new()?;
    let (_model, port) = model(latency, folder.path()).await?;
    let server = Server::start(folder.path(), sync).await?;
    let settings = Settings::write(folder.path(), &server.url(), port, AT_ONCE)?;
    let swarm = Swarm::start(&server, &settings).await?;
    let processes = [&server.process, &swarm.coordinator].into_iter();
    for process in processes.chain(&swarm.agents) {
        println!("{} {}", process.name(), process.pid());
    }
    let began = Instant::now();
    while began.elapsed() < span {
        let timing = load::run(at_once * 20, at_once, || swarm.task()).await?;
        let [p50, p99, worst] = [0.5, 0.99, 1.0].map(|share| millis(timing.percentile(share)));
        let rate = timing.rate();
        println!("{rate:.0} runs a second, p50 {p50:.1} ms, p99 {p99:.1} ms, worst {worst:.1} ms");
    }
    Ok(())
}

async fn measure<F>(
    server: &Server,
    processes: &[(&str, &Process)],
    counts: Counts,
    task: impl Fn() -> F,
) -> Result<Side>
where
    F: Future<Output = Result<()>>,
{
    load::run(counts.warm_up, AT_ONCE, &task).await?;
    let (traffic, stored) = (server.traffic().await?, server.stored().await?);
    let single = load::run(counts.single, 1, &task).await?;
    let (traffic_after, stored_after) = (server.traffic().await?, server.stored().await?);

    let before = cpu(processes)?;
    let loaded = load::run(counts.loaded, AT_ONCE, &task).await?;
    let after = cpu(processes)?;
    let per_task = |(before, after): (&(String, Duration), &(String, Duration))| {
        let used = after.1.saturating_sub(before.1);
        (
            after.0.clone(),
            used.as_secs_f64() * 1e6 / counts.loaded as f64,
        )
    };
    let cpu_us_of: Vec<(String, f64)> = before.iter().zip(&after).map(per_task).collect();
    let per_single = |before: u64, after: u64| (after - before) as f64 / counts.single as f64;
    Ok(Side {
        p50_ms: millis(single.percentile(0.5)),
        p99_ms: millis(single.percentile(0.99)),
        per_second: loaded.rate(),
        cpu_us: cpu_us_of.iter().map(|(_, used)| used).sum(),
        cpu_us_of,
        stored: per_single(stored, stored_after),
        in_msgs: per_single(traffic.in_msgs, traffic_after.in_msgs),
        out_msgs: per_single(traffic.out_msgs, traffic_after.out_msgs),
        slow_per_second: 0.0,
    })
}

async fn slow<F>(counts: Counts, task: impl Fn() -> F) -> Result<Timing>
where
    F: Future<Output = Result<()>>,
{
    // The first wave makes the connections to the model host.
    load::run(AT_ONCE, AT_ONCE, &task).await?;
    load::run(counts.slow, AT_ONCE, &task).await
}

fn cpu(processes: &[(&str, &Process)]) -> Result<Vec<(String, Duration)>> {
    let own = std::iter::once(Ok(("client".to_owned(), own_cpu()?)));
    let of = processes
        .iter()
        .map(|(name, process)| Ok(((*name).to_owned(), process.cpu()?)));
    own.chain(of).collect()
}

/// A duration in ms.
pub fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
