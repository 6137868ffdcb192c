//! Measures Swarm beside the smallest pipeline that does the same work by hand, in the same rounds on the same machine.
//!
//! Wall times of one machine say little on another one, ratios of one round do. The bars are printed beside what was
//! measured, and the exit code says whether they hold.
//!
//! Reading order: `side` (what is measured of both), `alone` (what only Swarm has), `turn` (without a bus), `report`; `minimal` and `swarm` are the
//! two sides, `load` drives them, `server`, `process` and `model` are what they run on.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};

mod alone;
mod load;
mod minimal;
mod model;
mod process;
mod report;
mod server;
mod side;
mod swarm;
mod turn;

use report::{Mode, Report, Round};
use server::Sync;

/// The task: 256 bytes.
const TASK: &str = "The measured task is a text of two hundred and fifty-six bytes: long enough to be a question that a person \
    would type, short enough that its size does not matter beside what is done with it. What does it cost to have it answered durably, by an agent? That ";
const _: () = assert!(TASK.len() == 256);

/// Measures Swarm beside the minimal pipeline.
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    part: Option<Part>,

    /// Fewer tasks and one round: to look at a change, not to quote
    #[arg(long)]
    quick: bool,

    /// Rounds; the figures are medians
    #[arg(long)]
    rounds: Option<usize>,

    /// Only the ratios in this sync mode, and nothing is written
    #[arg(long, value_parser = ["always", "default"])]
    only: Option<String>,

    /// Where everything is written as JSON
    #[arg(long, default_value = "bench/results/latest.json")]
    json: PathBuf,

    /// A document whose part between `<!-- bench -->` and `<!-- /bench -->` becomes the table
    #[arg(long)]
    document: Option<PathBuf>,
}

/// What is run in place of the measurements.
#[derive(Debug, Subcommand)]
enum Part {
    /// Keep Swarm under load, and print its processes: to look at with a profiler
    Load {
        /// For so many seconds
        #[arg(long, default_value_t = 30)]
        seconds: u64,
        /// Tasks at once
        #[arg(long, default_value_t = side::AT_ONCE)]
        at_once: usize,
        /// Write to the disk every two minutes, not before each acknowledgement
        #[arg(long)]
        no_sync: bool,
        /// What the model takes, in ms
        #[arg(long, default_value_t = 0)]
        model_ms: u64,
    },
    /// The model host
    #[command(hide = true)]
    Model { port: u16, latency_ms: u64 },
    /// Turns of an agent, or bare calls: prints what one costs
    #[command(hide = true)]
    Turns {
        caller: turn::Caller,
        port: u16,
        turns: usize,
    },
    /// A worker of the minimal pipeline
    #[command(hide = true)]
    MinimalWorker {
        url: String,
        model: u16,
        slots: usize,
    },
}

fn main() -> Result<ExitCode> {
    let cli = Cli::parse();
    // One thread is enough for a model host that computes nothing, and leaves the cores to what is measured; and roles of
    // Swarm run on one.
    let runtime = match cli.part {
        Some(Part::Model { .. } | Part::Turns { .. }) => {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?
        }
        _ => tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()?,
    };
    runtime.block_on(async {
        match cli.part {
            Some(Part::Model { port, latency_ms }) => {
                model::serve(port, Duration::from_millis(latency_ms)).await?;
                Ok(ExitCode::SUCCESS)
            }
            Some(Part::Turns {
                caller,
                port,
                turns,
            }) => {
                turn::run(caller, port, turns).await?;
                Ok(ExitCode::SUCCESS)
            }
            Some(Part::MinimalWorker { url, model, slots }) => {
                minimal::work(&url, model, slots).await?;
                Ok(ExitCode::SUCCESS)
            }
            Some(Part::Load {
                seconds,
                at_once,
                no_sync,
                model_ms,
            }) => {
                let sync = if no_sync { Sync::Default } else { Sync::Always };
                let (span, latency) = (
                    Duration::from_secs(seconds),
                    Duration::from_millis(model_ms),
                );
                side::hold(sync, at_once, span, latency).await?;
                Ok(ExitCode::SUCCESS)
            }
            None => measure(cli).await,
        }
    })
}

async fn measure(cli: Cli) -> Result<ExitCode> {
    let (counts, counts_alone, rounds) = if cli.quick {
        (side::Counts::QUICK, alone::Counts::QUICK, 1)
    } else {
        (side::Counts::WHOLE, alone::Counts::WHOLE, 3)
    };
    let rounds = cli.rounds.unwrap_or(rounds);
    let wanted = |sync: &Sync| cli.only.as_deref().is_none_or(|only| only == sync.name());
    let mut modes = Vec::new();
    for sync in [Sync::Always, Sync::Default].into_iter().filter(wanted) {
        modes.push(compare(sync, rounds, counts).await?);
    }
    say("starts, memory, worst case");
    let report = Report {
        at: jiff::Timestamp::now().strftime("%F").to_string(),
        machine: machine(),
        nats_server: nats_server().await?,
        quick: cli.quick,
        modes,
        alone: alone::measure(counts_alone).await?,
        turn: turn::measure(counts_alone.turn_rounds, counts_alone.turns).await?,
    };
    publish(&report, &cli)?;
    Ok(if report.holds() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Both sides in turns, in one sync mode.
async fn compare(sync: Sync, rounds: usize, counts: side::Counts) -> Result<Mode> {
    let mut mode = Mode {
        sync: sync.name(),
        rounds: Vec::new(),
    };
    for n in 1..=rounds {
        say(&format!(
            "sync_interval {}: round {n} of {rounds}",
            mode.sync
        ));
        let minimal = side::minimal(sync, counts)
            .await
            .context("the minimal pipeline")?;
        let (swarm, more) = side::swarm(sync, counts).await.context("Swarm")?;
        mode.rounds.push(Round {
            minimal,
            swarm,
            more,
        });
    }
    Ok(mode)
}

/// Prints the table; the files are for measurements of both modes.
fn publish(report: &Report, cli: &Cli) -> Result<()> {
    let markdown = report.markdown();
    println!("{markdown}");
    if cli.only.is_some() {
        return Ok(());
    }
    report.write(&cli.json)?;
    match &cli.document {
        Some(document) => put_between_marks(document, &markdown),
        None => Ok(()),
    }
}

fn put_between_marks(document: &PathBuf, markdown: &str) -> Result<()> {
    const BEGIN: &str = "<!-- bench -->\n";
    const END: &str = "<!-- /bench -->";
    let text = std::fs::read_to_string(document)?;
    let marks = || {
        format!(
            "{} has no part between {BEGIN}and {END}",
            document.display()
        )
    };
    let (before, rest) = text.split_once(BEGIN).with_context(marks)?;
    let (_, after) = rest.split_once(END).with_context(marks)?;
    Ok(std::fs::write(
        document,
        format!("{before}{BEGIN}\n{markdown}\n{END}{after}"),
    )?)
}

/// Processor, cores and system, as far as Linux tells.
fn machine() -> String {
    let processors = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = processors
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let model = model.map_or("an unknown processor", |(_, name)| name.trim());
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!("{cores} cores of {model}, {}", std::env::consts::OS)
}

async fn nats_server() -> Result<String> {
    let folder = tempfile::TempDir::new()?;
    let server = server::Server::start(folder.path(), Sync::Default).await?;
    let client = server.connect("client").await?;
    Ok(client.server_info().version)
}

fn say(what: &str) {
    eprintln!("bench: {what}");
}
