//! Faults that are done to real processes, and what the streams and the ledger say afterwards.
//!
//! Each fault is a function in the file of its subject, and a line in [`ALL`]. One quick round of each is a test; `make faults`
//! does rounds as long as they should be, and writes `docs/faults.md`.
//!
//! Reading order: [`Round`], [`Outcome`], [`ALL`]; [`scene`], [`ledger`], [`tool`], [`worker`], [`history`]; the subjects.

use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

pub mod history;
pub mod ledger;
pub mod scene;
pub mod tool;
pub mod worker;

mod clients;
mod cluster;
mod coordinators;
mod flood;
mod model;
mod network;
mod server;
mod store;
mod upgrade;
mod workers;

pub use history::Tally;

/// One round of a fault.
#[derive(Debug, Clone)]
pub struct Round {
    /// What all chance of the round comes from.
    pub seed: u64,
    /// Whether it is a test among others: fewer tasks, shorter waits.
    pub quick: bool,
    chance: fastrand::Rng,
}

impl Round {
    /// A round.
    #[must_use]
    pub fn new(seed: u64, quick: bool) -> Self {
        Self {
            seed,
            quick,
            chance: fastrand::Rng::with_seed(seed),
        }
    }

    /// One of two values, by the size of the round.
    pub fn size<T>(&self, quick: T, full: T) -> T {
        if self.quick { quick } else { full }
    }

    /// A random time below this one.
    pub fn moment(&mut self, below: Duration) -> Duration {
        below.mul_f64(self.chance.f64())
    }

    /// Waits for a random time below this one: when a fault strikes is chance, and no condition says it.
    pub async fn strikes_within(&mut self, below: Duration) {
        tokio::time::sleep(self.moment(below)).await;
    }

    /// A random number below this one.
    pub fn pick(&mut self, below: usize) -> usize {
        self.chance.usize(..below)
    }
}

/// Waits until a fault has lasted so long since it began: its length is what is tried, whatever others do meanwhile.
async fn lasts(began: Instant, long: Duration) {
    tokio::time::sleep(long.saturating_sub(began.elapsed())).await;
}

/// What a round came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// What is stored.
    pub tally: Tally,
    /// From the fault to the moment when what it struck was done.
    pub recovery: Duration,
}

impl Outcome {
    /// Two parts of a round together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let (one, two) = (self.tally, other.tally);
        Self {
            tally: Tally {
                tasks: one.tasks + two.tasks,
                lost: one.lost + two.lost,
                executed_twice: one.executed_twice + two.executed_twice,
                recorded_twice: one.recorded_twice + two.recorded_twice,
            },
            recovery: self.recovery.max(other.recovery),
        }
    }
}

/// A fault.
pub struct Fault {
    /// Its number in the fault matrix, or a word.
    pub id: &'static str,
    /// What is done.
    pub what: &'static str,
    /// Whether it keeps the whole machine busy.
    pub heavy: bool,
    run: fn(Round) -> BoxFuture<'static, Outcome>,
}

/// Heavy faults are done one at a time.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

impl Fault {
    /// Does it.
    pub async fn round(&self, round: Round) -> Outcome {
        let _alone = match self.heavy {
            true => Some(ALONE.lock().await),
            false => None,
        };
        let seed = round.seed;
        eprintln!("{} with seed {seed}", self.id);
        let outcome = (self.run)(round).await;
        eprintln!("{} with seed {seed}: {outcome:?}", self.id);
        outcome
    }

    /// The command that does a round again.
    #[must_use]
    pub fn again(&self, seed: u64) -> String {
        format!("make faults ONLY={} SEED={seed}", self.id)
    }
}

/// The fault of an id.
#[must_use]
pub fn fault(id: &str) -> Option<&'static Fault> {
    ALL.iter().find(|fault| fault.id == id)
}

macro_rules! faults {
    ($($weight:ident $id:literal $function:path, $what:literal;)*) => {
        /// All faults.
        pub const ALL: &[Fault] = &[$(Fault {
            id: $id,
            what: $what,
            heavy: faults!(@ $weight),
            run: |round| $function(round).boxed(),
        }),*];
    };
    (@ heavy) => { true };
    (@ light) => { false };
}

faults! {
    light "F1" workers::killed_while_the_model_thinks, "a worker is killed while its model thinks";
    light "F2" workers::killed_after_the_effect, "a worker is killed after a call has taken effect, before the result is recorded";
    light "F2-once" workers::killed_after_the_only_effect, "the same with a call that may be made once only: a person is asked";
    light "F3" workers::killed_between_result_and_ack, "a worker is killed after its answer is stored, before it acknowledges its work";
    light "F3-call" workers::killed_after_a_finished_call, "a worker is killed after the result of a call is recorded";
    light "F4" coordinators::killed_at_each_step, "a coordinator is killed at each step between a submission and its acknowledgement";
    light "F5" coordinators::all_away, "all coordinators are away";
    light "F7" clients::killed, "clients are killed while they submit and while they watch";
    light "F8" server::killed_under_load, "nats-server is killed under load";
    heavy "F9" cluster::leader_killed, "of three servers, the leader is killed, and comes back";
    light "F12" model::refuses, "the model host answers 503, 429, 500, 404";
    light "F13" model::is_silent, "the model host is silent before the first token, and between tokens";
    light "F14" model::breaks_off, "the model host breaks off, writes garbage, a line of 10 MB";
    light "F15" clients::too_slow, "a client that watches everything and reads nothing";
    light "F16" store::full_disk, "the disk of nats-server is full";
    light "F17" server::full_queues, "inbox and work queue are full";
    light "F17-runs" store::full_runs, "the stream of the runs is nearly full";
    light "F19" server::doubled_submissions, "submissions are sent twice, inside the window of the server and behind it";
    light "F20" workers::stopped_and_continued, "a worker is stopped for longer than it may be silent, and continued";
    light "F21" network::partition, "the network between a worker and the server is cut, silent, one-way, slow";
    light "F22" workers::poison, "work ends every worker that takes it";
    heavy "F25" flood::flood, "a flood of submissions";
    light "F26" workers::slow_tool, "a tool does not end";
    light "F30" coordinators::stopped_and_continued, "a coordinator is stopped in the middle of a decision, and continued";
    light "F33" upgrade::older_log, "a store that an older version wrote, with open runs";
    heavy "cancel" flood::cancel_in_a_flood, "a cancel while 2,000 submissions wait";
    heavy "storm" flood::storm, "2,000 tasks while one of five processes is killed every second, and nats-server every ten";
}
