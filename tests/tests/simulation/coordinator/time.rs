//! What a coordinator does because time has passed. See `coordinator/src/deadlines.rs` and `sweep.rs`.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use swarm_protocol::event::Cause;
use swarm_protocol::{AgentName, RunId, Timestamp};
use swarm_workflow::{Due, EndedBy, Input, Queued};

use super::transition::Trouble;
use super::{Coordinator, Summary};
use crate::mutation::Mutation;

/// Between two looks at the deadlines, and between two sweeps, in milliseconds at least and at most. Longer than in the
/// real one, as each look costs a step.
const PAUSE: (u64, u64) = (1_000, 3_000);

/// An unconfirmed event that has been a run's last for this long has its effects published again.
const UNCONFIRMED: Duration = Duration::from_secs(5);

/// A run that was looked at is looked at again after this, unless it has gone on.
const AGAIN: Duration = Duration::from_secs(5);

/// Longest wait of a task for a live instance of its agent.
const QUEUE: Duration = Duration::from_secs(180);

/// What is remembered between two looks.
#[derive(Default)]
struct Keeper {
    /// The event after which a run was looked at, and when that is worth while again.
    seen: BTreeMap<RunId, (u64, Timestamp)>,
    /// Since when no instance of an agent is live.
    absent: BTreeMap<AgentName, Timestamp>,
}

impl Keeper {
    fn is_seen(&self, entry: &Summary) -> bool {
        let known = self.seen.get(&entry.stored.summary.run);
        known.is_some_and(|(seq, _)| *seq == entry.seq)
    }

    fn count_absent(&mut self, coordinator: &Coordinator, now: Timestamp) {
        let presence = coordinator.presence.borrow();
        for agent in &coordinator.team.known {
            let mut processes = presence.iter().filter(|(of, _)| of == agent);
            if processes.any(|(_, process)| coordinator.sim.is_alive(*process)) {
                self.absent.remove(agent);
            } else {
                self.absent.entry(agent.clone()).or_insert(now);
            }
        }
    }

    /// Since when a run waits for an agent that is away.
    fn waits_since(&self, entry: &Summary) -> Option<Timestamp> {
        let gone = entry
            .stored
            .live
            .iter()
            .filter_map(|agent| self.absent.get(agent));
        gone.min().copied()
    }
}

impl Coordinator {
    /// Looks at deadlines for ever.
    pub async fn keep_deadlines(self: Rc<Self>) {
        let mut keeper = Keeper::default();
        loop {
            self.pause().await;
            if self.sim.is_mutated(Mutation::NoDeadlines) {
                continue;
            }
            let now = self.clock();
            keeper.seen.retain(|_, (_, again)| now < *again);
            keeper.count_absent(&self, now);
            for entry in self.open_runs() {
                let summary = &entry.stored.summary;
                let (run, due) = (summary.run, summary.deadline.is_some_and(|due| due <= now));
                let queue = entry.stored.queue.map_or(QUEUE, |own| own.0);
                let gone = keeper
                    .waits_since(&entry)
                    .is_some_and(|gone| now.since(gone) >= queue);
                if keeper.is_seen(&entry) || !(due || gone) {
                    continue;
                }
                let acted = if due {
                    self.deadline(run, now).await
                } else {
                    self.queued(run, &keeper.absent, now).await
                };
                if acted.is_ok() {
                    keeper.seen.insert(run, (entry.seq, now.after(AGAIN)));
                }
            }
        }
    }

    async fn pause(&self) {
        let (shortest, longest) = PAUSE;
        self.sim.sleep(self.sim.between(shortest, longest)).await;
    }

    fn open_runs(&self) -> Vec<Summary> {
        let index = self.index.borrow();
        let open = index
            .values()
            .filter(|entry| !entry.stored.summary.state.is_terminal());
        open.cloned().collect()
    }

    async fn deadline(&self, run: RunId, now: Timestamp) -> Result<(), Trouble> {
        let Some(state) = self.load(run).await?.state else {
            return Ok(());
        };
        match Due::of(&state, now) {
            Due::Nothing => Ok(()),
            Due::EndLive(reason) => {
                let ended_by = EndedBy::TimedOut(reason);
                for (task, attempt) in state.live() {
                    self.end_task(&state, task, attempt, &ended_by).await?;
                }
                self.signal_cancel(run);
                Ok(())
            }
            Due::Decide(deadline) => {
                let cause = Cause::Deadline {
                    deadline: deadline.to_owned(),
                };
                self.transition(run, Input::Due, &cause).await.map(drop)
            }
        }
    }

    /// Ends the tasks that have waited for too long for an instance of their agent.
    async fn queued(
        &self,
        run: RunId,
        absent: &BTreeMap<AgentName, Timestamp>,
        now: Timestamp,
    ) -> Result<(), Trouble> {
        let Some(state) = self.load(run).await?.state else {
            return Ok(());
        };
        for (task, attempt, reason) in Queued::of(&state, absent, now, QUEUE).over {
            let ended_by = EndedBy::TimedOut(reason);
            self.end_task(&state, &task, attempt, &ended_by).await?;
        }
        Ok(())
    }

    /// Sweeps for ever: publishes the effects again that no delivery brings back.
    pub async fn sweep(self: Rc<Self>) {
        let mut swept: BTreeMap<RunId, u64> = BTreeMap::new();
        loop {
            self.pause().await;
            if self.sim.is_mutated(Mutation::NoSweep) {
                continue;
            }
            let unconfirmed: Vec<Summary> = {
                let index = self.index.borrow();
                let all = index
                    .values()
                    .filter(|entry| entry.stored.summary.unconfirmed);
                all.cloned().collect()
            };
            swept.retain(|run, seq| {
                let mut still = unconfirmed.iter();
                still.any(|entry| entry.stored.summary.run == *run && entry.seq == *seq)
            });
            for entry in unconfirmed {
                let run = entry.stored.summary.run;
                if swept.contains_key(&run) || self.clock().since(entry.stored.at) < UNCONFIRMED {
                    continue;
                }
                if self.confirm(run).await.is_ok() {
                    self.sim.note("an unconfirmed event was swept");
                    swept.insert(run, entry.seq);
                }
            }
        }
    }
}
