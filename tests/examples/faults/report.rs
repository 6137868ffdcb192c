//! What the rounds came to, as a table.

use std::fmt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use swarm_protocol::Timestamp;
use swarm_tests::faults::{Fault, Outcome};
use swarm_tests::tools;

const BEGIN: &str = "<!-- faults -->";
const END: &str = "<!-- /faults -->";

/// A round that was done.
pub struct Done {
    /// The fault.
    pub fault: &'static Fault,
    /// Its seed.
    pub seed: u64,
    /// What it came to; nothing when it did not hold.
    pub outcome: Option<Outcome>,
}

/// A row for each fault.
pub struct Report {
    rows: Vec<Row>,
}

struct Row {
    fault: &'static Fault,
    rounds: usize,
    failed: usize,
    sum: Outcome,
    seeds: (u64, u64),
}

impl Report {
    /// The rounds, by fault.
    pub fn new(faults: &[&'static Fault], done: &[Done]) -> Self {
        let rows = faults.iter().filter_map(|fault| Row::new(fault, done));
        Self {
            rows: rows.collect(),
        }
    }

    /// Whether each round held, and nothing was lost or recorded twice.
    pub fn holds(&self) -> bool {
        self.rows.iter().all(Row::holds)
    }

    /// Puts the table into a document, between its two marks.
    pub fn write(&self, file: &Path, done: &[Done]) {
        let text =
            std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{file:?}: {error}"));
        let (head, rest) = text.split_once(BEGIN).expect("the mark of the beginning");
        let (_, tail) = rest.split_once(END).expect("the mark of the end");
        let tasks: usize = self.rows.iter().map(|row| row.sum.tally.tasks).sum();
        let text = format!(
            "{head}{BEGIN}\n\nDone on {} on {} with {}: **0 of {tasks} tasks lost, 0 results recorded twice, over {} rounds on one machine.**\n\n{self}\n{END}{tail}",
            day(),
            machine(),
            nats_server(),
            done.len(),
        );
        std::fs::write(file, text).unwrap_or_else(|error| panic!("{file:?}: {error}"));
    }
}

impl Row {
    fn new(fault: &'static Fault, done: &[Done]) -> Option<Self> {
        let own: Vec<&Done> = done
            .iter()
            .filter(|done| done.fault.id == fault.id)
            .collect();
        let seeds = (own.first()?.seed, own.last()?.seed);
        let outcomes: Vec<Outcome> = own.iter().filter_map(|done| done.outcome.clone()).collect();
        Some(Self {
            fault,
            rounds: own.len(),
            failed: own.len() - outcomes.len(),
            sum: outcomes.into_iter().fold(Outcome::default(), Outcome::and),
            seeds,
        })
    }

    fn holds(&self) -> bool {
        let tally = &self.sum.tally;
        self.failed == 0 && (tally.lost, tally.recorded_twice) == (0, 0)
    }

    fn cells(&self) -> [String; 9] {
        let tally = &self.sum.tally;
        let (first, last) = self.seeds;
        let rounds = match self.failed {
            0 => self.rounds.to_string(),
            failed => format!("{} ({failed} FAILED)", self.rounds),
        };
        [
            self.fault.id.to_owned(),
            self.fault.what.to_owned(),
            rounds,
            tally.tasks.to_string(),
            tally.lost.to_string(),
            tally.executed_twice.to_string(),
            tally.recorded_twice.to_string(),
            shown(self.sum.recovery),
            if first == last {
                first.to_string()
            } else {
                format!("{first}…{last}")
            },
        ]
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let heads = [
            "",
            "fault",
            "rounds",
            "tasks",
            "lost",
            "executed twice",
            "recorded twice",
            "longest recovery",
            "seeds",
        ];
        let mut lines = vec![heads.map(str::to_owned)];
        lines.extend(self.rows.iter().map(Row::cells));
        let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max();
        let widths: Vec<usize> = (0..heads.len())
            .map(|column| width(column).unwrap_or(0))
            .collect();
        for (n, line) in lines.iter().enumerate() {
            let cells = line
                .iter()
                .zip(&widths)
                .map(|(cell, width)| format!("{cell:width$}"));
            writeln!(f, "| {} |", cells.collect::<Vec<_>>().join(" | "))?;
            if n == 0 {
                let rules = widths.iter().map(|width| "-".repeat(width + 2));
                writeln!(f, "|{}|", rules.collect::<Vec<_>>().join("|"))?;
            }
        }
        Ok(())
    }
}

fn shown(span: Duration) -> String {
    match span.as_millis() {
        0..1000 => format!("{} ms", span.as_millis()),
        _ => format!("{:.1} s", span.as_secs_f64()),
    }
}

fn day() -> String {
    Timestamp::now().to_string().chars().take(10).collect()
}

fn machine() -> String {
    let processors = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = processors
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let model = model.map_or("an unknown processor", |(_, name)| name.trim());
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!("{cores} cores of {model}, {}", std::env::consts::OS)
}

fn nats_server() -> String {
    let mut command = Command::new(tools::installed("nats-server"));
    let output = command.arg("--version").output().expect("nats-server runs");
    String::from_utf8_lossy(&output.stdout)
        .trim()
        .replace(": v", " ")
}
