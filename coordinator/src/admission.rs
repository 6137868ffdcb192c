//! Whether new submissions are taken, or stay in the inbox.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use swarm_bus::gate::{self, Gate, Keeper};
use swarm_bus::topology;
use swarm_bus::work_loop::Shutdown;
use swarm_protocol::metrics as names;

use crate::Shared;

/// From this fill of SWARM_RUNS on, in percent, the room that is left is for runs that are open.
const FULL: u64 = 80;

/// Why submissions stay in the inbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Held {
    /// So many runs are open.
    OpenRuns { open: u64, max: u64 },
    /// The runs take so much of their stream.
    Full { percent: u64 },
}

impl Held {
    const fn kind(self) -> &'static str {
        match self {
            Self::OpenRuns { .. } => "open_runs",
            Self::Full { .. } => "stream_full",
        }
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OpenRuns { open, max } => write!(
                f,
                "{open} runs are open and {max} may be (runs.max_open); new submissions wait in the inbox"
            ),
            Self::Full { percent } => write!(
                f,
                "{} is {percent} % full; new submissions wait in the inbox until it is below {FULL} % (runs.retention, `swarm runs delete`)",
                topology::RUNS
            ),
        }
    }
}

/// Opens and closes the gate of the submissions.
#[derive(Debug)]
pub(crate) struct Admission {
    max_open: u64,
    keeper: Keeper,
    gate: Gate,
    held: RwLock<Option<Held>>,
}

impl Admission {
    pub(crate) fn new(max_open: u64) -> Self {
        let (keeper, gate) = gate::gate();
        Self {
            max_open,
            keeper,
            gate,
            held: RwLock::default(),
        }
    }

    /// What the work loop of the submissions looks at.
    pub(crate) fn gate(&self) -> Gate {
        self.gate.clone()
    }

    /// Why submissions stay in the inbox now, if they do.
    pub(crate) fn held(&self) -> Option<Held> {
        *self.held.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn decide(&self, open: u64, percent: u64) {
        let held = judge(open, self.max_open, percent);
        let room = held.map_or_else(|| self.max_open - open, |_held| 0);
        self.keeper.set(usize::try_from(room).unwrap_or(usize::MAX));
        let before = {
            let mut known = self.held.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *known, held)
        };
        if before.map(Held::kind) == held.map(Held::kind) {
            return;
        }
        match held {
            Some(held) => tracing::warn!(reason = %held, "submissions are held"),
            None => tracing::info!("submissions are taken again"),
        }
        for (reason, on) in [
            before.map(|b| (b.kind(), 0.0)),
            held.map(|h| (h.kind(), 1.0)),
        ]
        .into_iter()
        .flatten()
        {
            metrics::gauge!(names::NOT_TAKEN, "reason" => reason).set(on);
        }
    }
}

/// Decides anew whenever a run has changed, until the stop.
pub(crate) async fn keep(shared: Arc<Shared>, shutdown: Shutdown) {
    while shutdown
        .stop
        .run_until_cancelled(shared.index.changed())
        .await
        .is_some()
    {
        shared.admit();
    }
}

fn judge(open: u64, max_open: u64, percent: u64) -> Option<Held> {
    if percent >= FULL {
        return Some(Held::Full { percent });
    }
    let max = max_open;
    (open >= max).then_some(Held::OpenRuns { open, max })
}

impl Shared {
    /// Decides from what is known now whether submissions are taken.
    pub(crate) fn admit(&self) {
        let percent = self.store.percent(topology::RUNS).unwrap_or(0);
        // What an index does not know that was cut off may be open, too.
        if self.index.is_current() {
            self.admission.decide(self.index.open(), percent);
        } else {
            self.admission.keeper.set(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_kept_for_what_is_open() {
        assert_eq!(judge(9, 10, 79), None);
        assert_eq!(judge(10, 10, 0), Some(Held::OpenRuns { open: 10, max: 10 }));
        assert_eq!(judge(0, 10, 80), Some(Held::Full { percent: 80 }));
    }
}
