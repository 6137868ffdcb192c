//! What is loaded, and what may happen next. No waiting here.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::{Semaphore, watch};

use super::runner::{Loaded, Runner};
use super::{Limits, Load};
use crate::keep_alive::KeepAlive;
use crate::models::Model;

/// What happened since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Models that were loaded, also those that were loaded again.
    pub loads: u64,
    /// Those that were loaded again because a request wanted other options of the runner.
    pub reloads: u64,
    /// Models that had to make room.
    pub evictions: u64,
    /// Models whose time was over.
    pub expirations: u64,
    /// Requests in line for a load at this moment.
    pub queue_depth: usize,
    /// The most of them at one time.
    pub max_queue_depth: usize,
    /// Requests that were refused because the line was full.
    pub refused: u64,
    /// Runners that were killed.
    pub killed: u64,
    /// Slots that were lost when their client left.
    pub lost_slots: u64,
}

/// All runners.
#[derive(Debug)]
pub(super) struct State {
    limits: Limits,
    runners: Vec<Runner>,
    next_id: u64,
    counts: Counts,
}

/// A place at a runner.
#[derive(Debug)]
pub(super) struct Placed {
    pub id: u64,
    pub slots: Option<Arc<Semaphore>>,
    pub ready: watch::Receiver<bool>,
    pub dead: watch::Receiver<bool>,
    /// How long its load takes, if it has to be loaded for this.
    pub load: Option<Duration>,
}

impl State {
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            runners: Vec::new(),
            next_id: 0,
            counts: Counts::default(),
        }
    }

    /// A place at the model's runner, if it is loaded as wanted.
    pub fn join(&mut self, model: &Model, load: &Load) -> Option<Placed> {
        self.sweep();
        let runner = self
            .runners
            .iter_mut()
            .find(|runner| runner.model.name == model.name)?;
        if !runner.load.serves(load) {
            return None;
        }
        runner.load.keep_alive = load.keep_alive;
        Some(take(runner, None))
    }

    /// The same, and a load if there is room or can be made.
    pub fn place(&mut self, model: &Arc<Model>, load: &Load) -> Option<Placed> {
        if let Some(placed) = self.join(model, load) {
            return Some(placed);
        }
        let mine = self
            .runners
            .iter()
            .position(|runner| runner.model.name == model.name);
        if let Some(place) = mine {
            self.take_away(place)?;
            self.counts.reloads += 1;
        } else if self.limits.loaded > 0 && self.runners.len() >= self.limits.loaded {
            self.take_away(self.victim()?)?;
            self.counts.evictions += 1;
        }
        self.counts.loads += 1;
        self.next_id += 1;
        let time = model
            .load_ms
            .map_or(self.limits.load, Duration::from_millis);
        let mut runner = Runner::new(
            self.next_id,
            Arc::clone(model),
            load.clone(),
            self.limits.parallel,
        );
        let placed = take(&mut runner, Some(time));
        self.runners.push(runner);
        Some(placed)
    }

    /// A load is done.
    pub fn finish_load(&mut self, id: u64) {
        if let Some(runner) = self.runners.iter_mut().find(|runner| runner.id == id) {
            runner.ready.send_replace(true);
            runner.touch();
        }
    }

    /// A lease is over.
    pub fn give_back(&mut self, id: u64) {
        if let Some(runner) = self.runners.iter_mut().find(|runner| runner.id == id) {
            runner.leases -= 1;
            runner.touch();
        }
        self.sweep();
    }

    /// The model goes as soon as it is idle.
    pub fn expire(&mut self, name: &str) {
        for runner in self
            .runners
            .iter_mut()
            .filter(|runner| runner.model.name == name)
        {
            runner.load.keep_alive = KeepAlive::For(Duration::ZERO);
            runner.touch();
        }
        self.sweep();
    }

    /// All runners die at once.
    pub fn kill(&mut self) {
        for runner in self.runners.drain(..) {
            runner.dead.send_replace(true);
            self.counts.killed += 1;
        }
    }

    pub fn count_lost_slot(&mut self) {
        self.counts.lost_slots += 1;
    }

    pub fn loaded(&mut self) -> Vec<Loaded> {
        self.sweep();
        let mut loaded: Vec<_> = self
            .runners
            .iter()
            .map(|runner| Loaded {
                model: Arc::clone(&runner.model),
                window: runner.load.window,
                until: runner.until,
            })
            .collect();
        loaded.sort_by_key(|loaded| std::cmp::Reverse(loaded.until));
        loaded
    }

    pub fn counts(&mut self) -> Counts {
        self.sweep();
        self.counts
    }

    pub fn reset_counts(&mut self) {
        let depth = self.counts.queue_depth;
        self.counts = Counts {
            queue_depth: depth,
            max_queue_depth: depth,
            ..Counts::default()
        };
    }

    pub fn has_line(&self) -> bool {
        self.counts.queue_depth > 0
    }

    /// A place in the line, unless it is full. One more than the bound: the one that is next is not in the queue.
    pub fn enter_line(&mut self) -> bool {
        if self.counts.queue_depth > self.limits.queue {
            self.counts.refused += 1;
            return false;
        }
        self.counts.queue_depth += 1;
        self.counts.max_queue_depth = self.counts.max_queue_depth.max(self.counts.queue_depth);
        true
    }

    pub fn leave_line(&mut self) {
        self.counts.queue_depth -= 1;
    }

    /// The runner that makes room: an idle one, of these the one that would go first.
    fn victim(&self) -> Option<usize> {
        let runners = self.runners.iter().enumerate();
        let idle = runners.filter(|(_, runner)| runner.is_idle());
        idle.min_by_key(|(_, runner)| runner.until)
            .map(|(place, _)| place)
    }

    /// Unloads a runner if it is idle.
    fn take_away(&mut self, place: usize) -> Option<()> {
        self.runners.get(place).filter(|runner| runner.is_idle())?;
        self.runners.remove(place);
        Some(())
    }

    /// Unloads what is idle and over its time.
    fn sweep(&mut self) {
        let now = Timestamp::now();
        let before = self.runners.len();
        self.runners
            .retain(|runner| !(runner.is_idle() && runner.until <= now));
        let gone = before - self.runners.len();
        self.counts.expirations += u64::try_from(gone).unwrap_or(0);
    }
}

fn take(runner: &mut Runner, load: Option<Duration>) -> Placed {
    runner.leases += 1;
    runner.touch();
    Placed {
        id: runner.id,
        slots: runner.slots.clone(),
        ready: runner.ready.subscribe(),
        dead: runner.dead.subscribe(),
        load,
    }
}
