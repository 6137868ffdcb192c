//! What is said of the measurements: a table with the bars, and a JSON file with everything.

use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::alone::Alone;
use crate::side::{More, Side};
use crate::turn::Turn;

/// One round: both sides, one after the other.
#[derive(Debug, Clone, Serialize)]
pub struct Round {
    /// The minimal pipeline.
    pub minimal: Side,
    /// Swarm.
    pub swarm: Side,
    /// What only Swarm does.
    pub more: More,
}

/// All rounds in one sync mode.
#[derive(Debug, Clone, Serialize)]
pub struct Mode {
    /// `sync_interval`.
    pub sync: &'static str,
    /// The rounds.
    pub rounds: Vec<Round>,
}

/// Everything that was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// When.
    pub at: String,
    /// On what.
    pub machine: String,
    /// With which nats-server.
    pub nats_server: String,
    /// Whether fewer tasks were run than the bars ask for.
    pub quick: bool,
    /// Both sync modes.
    pub modes: Vec<Mode>,
    /// What is no ratio; `sync_interval: always`.
    pub alone: Alone,
    /// Without a bus.
    pub turn: Turn,
}

/// A row of the table that has a bar.
#[derive(Debug, Clone)]
struct Row {
    what: String,
    sync: &'static str,
    swarm: String,
    minimal: String,
    value: f64,
    shown: String,
    bar: Bar,
    goal: f64,
}

#[derive(Debug, Clone, Copy)]
enum Bar {
    AtMost(f64),
    AtLeast(f64),
}

impl Row {
    fn holds(&self) -> bool {
        match self.bar {
            Bar::AtMost(bar) => self.value <= bar,
            Bar::AtLeast(bar) => self.value >= bar,
        }
    }

    fn reaches_goal(&self) -> bool {
        match self.bar {
            Bar::AtMost(_) => self.value <= self.goal,
            Bar::AtLeast(_) => self.value >= self.goal,
        }
    }

    fn verdict(&self) -> &'static str {
        match (self.holds(), self.reaches_goal()) {
            (_, true) => "goal",
            (true, false) => "holds",
            (false, false) => "MISSED",
        }
    }
}

impl Mode {
    /// The median over the rounds.
    fn median(&self, of: impl Fn(&Round) -> f64) -> f64 {
        let mut values: Vec<f64> = self.rounds.iter().map(of).collect();
        values.sort_unstable_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
    }

    fn ratio(&self, what: &str, unit: &str, of: impl Fn(&Side) -> f64, bar: Bar, goal: f64) -> Row {
        let value = self.median(|round| of(&round.swarm) / of(&round.minimal));
        let side = |side: f64| format!("{side:.*} {unit}", decimals(side));
        Row {
            what: what.to_owned(),
            sync: self.sync,
            swarm: side(self.median(|round| of(&round.swarm))),
            minimal: side(self.median(|round| of(&round.minimal))),
            value,
            shown: format!("{value:.2} x"),
            bar,
            goal,
        }
    }

    fn rows(&self) -> Vec<Row> {
        let fan_out = self.median(|round| round.more.fan_out_p50_ms);
        vec![
            self.ratio(
                "single-agent run, one at a time, p50",
                "ms",
                |side| side.p50_ms,
                Bar::AtMost(2.8),
                2.0,
            ),
            self.ratio(
                "CPU of the whole path a run, 64 at once",
                "µs",
                |side| side.cpu_us,
                Bar::AtMost(3.5),
                2.5,
            ),
            self.ratio(
                "runs a second, 64 at once, one worker",
                "/s",
                |side| side.per_second,
                Bar::AtLeast(0.30),
                0.45,
            ),
            self.ratio(
                "200 ms model, 64 at once, 64 slots",
                "/s",
                |side| side.slow_per_second,
                Bar::AtLeast(0.92),
                0.97,
            ),
            absolute(
                "fan-out of three + summary, 200 ms model, p50",
                self.sync,
                fan_out,
                "ms",
                Bar::AtMost(415.0),
                408.0,
            ),
        ]
    }
}

fn absolute(what: &str, sync: &'static str, value: f64, unit: &str, bar: Bar, goal: f64) -> Row {
    let shown = format!("{value:.*} {unit}", decimals(value));
    Row {
        what: what.to_owned(),
        sync,
        swarm: shown.clone(),
        minimal: String::new(),
        value,
        shown,
        bar,
        goal,
    }
}

fn decimals(value: f64) -> usize {
    match value.abs() {
        10_000.0.. => 0,
        10.0.. => 1,
        _ => 2,
    }
}

impl Report {
    fn rows(&self) -> Vec<Row> {
        let alone = &self.alone;
        let row = |what: &str, value, unit, bar, goal| {
            absolute(what, "always", value, unit, Bar::AtMost(bar), goal)
        };
        let worst = format!("worst of {} runs, one at a time", alone.worst_of);
        let open = format!("resident: coordinator with {} open runs", alone.open_runs);
        let mut rows: Vec<Row> = self.modes.iter().flat_map(Mode::rows).collect();
        rows.extend([
            row(
                "worker start to first answer",
                alone.worker_start_ms,
                "ms",
                150.0,
                60.0,
            ),
            row(
                "whole stack from nothing to first answer",
                alone.stack_start_ms,
                "ms",
                1000.0,
                400.0,
            ),
            row("resident: agent idle", alone.agent_mib, "MiB", 25.0, 15.0),
            row(&open, alone.coordinator_mib, "MiB", 60.0, 30.0),
            row(&worst, alone.worst_ms, "ms", 500.0, 250.0),
        ]);
        rows.push(self.turn_row());
        rows
    }

    fn turn_row(&self) -> Row {
        let turn = &self.turn;
        let cpu = |us: f64| format!("{us:.*} µs", decimals(us));
        Row {
            what: format!(
                "CPU of an agent's turn of {} tokens without a bus, beside a bare call",
                turn.tokens
            ),
            sync: "",
            swarm: cpu(turn.agent_us),
            minimal: cpu(turn.bare_us),
            value: turn.ratio,
            shown: format!("{:.2} x", turn.ratio),
            bar: Bar::AtMost(2.0),
            goal: 2.0,
        }
    }

    /// Whether all bars hold.
    pub fn holds(&self) -> bool {
        self.rows().iter().all(Row::holds)
    }

    /// Everything as Markdown, which terminals show as well.
    pub fn markdown(&self) -> String {
        let bars = self.rows().into_iter().map(|row| {
            let (sign, bar) = match row.bar {
                Bar::AtMost(bar) => ("≤", bar),
                Bar::AtLeast(bar) => ("≥", bar),
            };
            vec![
                row.what.clone(),
                row.sync.to_owned(),
                row.swarm.clone(),
                row.minimal.clone(),
                row.shown.clone(),
                format!("{sign} {bar}"),
                format!("{sign} {}", row.goal),
                row.verdict().to_owned(),
            ]
        });
        let head = [
            "",
            "sync",
            "Swarm",
            "minimal",
            "measured",
            "first bar",
            "goal",
            "",
        ];
        let bars = table(&head, bars);
        let costs = self.modes.iter().flat_map(costs);
        let costs = table(&["a run costs", "sync", "Swarm", "minimal"], costs);
        format!(
            "Measured {} on {}, nats-server {}; medians of {} rounds{}.\n\n{bars}\n\n{costs}\n",
            self.at,
            self.machine,
            self.nats_server,
            self.modes.first().map_or(0, |mode| mode.rounds.len()),
            if self.quick {
                ", quick: fewer tasks than the bars ask for"
            } else {
                ""
            },
        )
    }

    /// Writes everything as JSON.
    pub fn write(&self, path: &Path) -> Result<()> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(path, serde_json::to_string_pretty(self)? + "\n")
            .with_context(|| format!("{} cannot be written", path.display()))
    }
}

/// What a run costs in messages and, by process, in processor time.
fn costs(mode: &Mode) -> Vec<Vec<String>> {
    let row = |what: &str, of: &dyn Fn(&Side) -> Option<f64>| {
        let side = |pick: &dyn Fn(&Round) -> Option<f64>| {
            let value = mode.median(|round| pick(round).unwrap_or(f64::NAN));
            if value.is_nan() {
                String::new()
            } else {
                format!("{value:.*}", decimals(value))
            }
        };
        vec![
            what.to_owned(),
            mode.sync.to_owned(),
            side(&|round| of(&round.swarm)),
            side(&|round| of(&round.minimal)),
        ]
    };
    let cpu = |names: &'static [&'static str]| {
        move |side: &Side| {
            side.cpu_us_of
                .iter()
                .find(|(name, _)| names.contains(&name.as_str()))
                .map(|(_, used)| *used)
        }
    };
    let ask = mode.median(|round| round.more.ask_p50_ms);
    vec![
        row("stored messages", &|side| Some(side.stored)),
        row("messages to the server, one at a time", &|side| {
            Some(side.in_msgs)
        }),
        row("messages from the server, one at a time", &|side| {
            Some(side.out_msgs)
        }),
        row("CPU of the client, µs", &cpu(&["client"])),
        row("CPU of nats-server, µs", &cpu(&["nats-server"])),
        row("CPU of the worker, µs", &cpu(&["agent", "worker"])),
        row("CPU of the coordinator, µs", &cpu(&["coordinator"])),
        row("one at a time, p99, ms", &|side| Some(side.p99_ms)),
        vec![
            "by `swarm.ask`, one at a time, p50, ms".to_owned(),
            mode.sync.to_owned(),
            format!("{ask:.2}"),
            String::new(),
        ],
    ]
}

fn table<const N: usize>(head: &[&str; N], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = comfy_table::Table::new();
    table
        .load_style(comfy_table::presets::ASCII_MARKDOWN)
        .set_header(head);
    table.add_rows(rows);
    table.to_string()
}
