//! Deadlines: there are no messages for them. The next one of each run stands in its summary, and whoever sees it due acts.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;
use swarm_bus::work_loop::Shutdown;
use swarm_protocol::error::chain;
use swarm_protocol::event::Cause;
use swarm_protocol::{AgentName, ErrorBody, RunId, TaskId, Timestamp};
use swarm_workflow::{Due, EndedBy, Input, Queued, State};
use tracing::Instrument as _;

use crate::Shared;
use crate::index::Entry;
use crate::runs::TransitionError;

/// Between two looks.
const PERIOD: Duration = Duration::from_millis(250);

/// Runs of one look: the rest is due at the next one.
const MOST: usize = 256;

/// Runs that are acted on at once, and how long each may take.
const AT_ONCE: usize = 16;
const PATIENCE: Duration = Duration::from_secs(5);

/// A run that was looked at is looked at again after this, unless it has gone on.
const AGAIN: Duration = Duration::from_secs(5);

/// Looks until the stop.
pub(crate) async fn keep(shared: Arc<Shared>, shutdown: Shutdown) {
    let mut keeper = Keeper::default();
    while shutdown
        .stop
        .run_until_cancelled(tokio::time::sleep(PERIOD))
        .await
        .is_some()
    {
        if !shared.index.is_current() {
            continue;
        }
        let looking = keeper.look(&shared);
        if shutdown.stop.run_until_cancelled(looking).await.is_none() {
            return;
        }
    }
}

#[derive(Debug, Default)]
struct Keeper {
    /// The event after which a run was looked at, and when that is worth while again.
    seen: HashMap<RunId, (u64, Timestamp)>,
    /// Since when no instance of an agent is live.
    absent: BTreeMap<AgentName, Timestamp>,
}

impl Keeper {
    async fn look(&mut self, shared: &Shared) {
        let now = Timestamp::now();
        self.seen.retain(|_, (_, again)| now < *again);
        let due = shared.index.due(now, |entry| !self.is_seen(entry), MOST);
        let acted = stream::iter(due).map(|entry| async {
            act(&entry, shared.deadline(entry.run(), now)).await;
            entry
        });
        for entry in acted.buffer_unordered(AT_ONCE).collect::<Vec<_>>().await {
            self.see(&entry, now.after(AGAIN));
        }
        self.count_absent(shared, now);
        let longest = |entry: &Entry| entry.stored.queue.map_or(shared.options.queue, |own| own.0);
        let waits = |entry: &Entry| {
            let gone = entry
                .stored
                .live
                .iter()
                .filter_map(|agent| self.absent.get(agent));
            gone.min()
                .is_some_and(|gone| now.since(*gone) >= longest(entry))
        };
        let waiting = shared
            .index
            .open_where(|entry| waits(entry) && !self.is_seen(entry), MOST);
        let absent = &self.absent;
        let acted = stream::iter(waiting).map(|entry| async {
            let again = act(&entry, shared.queued(entry.run(), absent, now)).await;
            (entry, again.flatten())
        });
        for (entry, again) in acted.buffer_unordered(AT_ONCE).collect::<Vec<_>>().await {
            self.see(&entry, again.unwrap_or_else(|| now.after(AGAIN)));
        }
    }

    /// Whether a run was looked at and has not gone on since.
    fn is_seen(&self, entry: &Entry) -> bool {
        let known = self.seen.get(&entry.run());
        known.is_some_and(|(seq, _)| *seq == entry.seq)
    }

    fn see(&mut self, entry: &Entry, again: Timestamp) {
        self.seen.insert(entry.run(), (entry.seq, again));
    }

    fn count_absent(&mut self, shared: &Shared, now: Timestamp) {
        let cards = shared.cards.all();
        for agent in &shared.roster.team().known {
            if cards.iter().any(|card| card.agent == *agent) {
                self.absent.remove(agent);
            } else {
                self.absent.entry(agent.clone()).or_insert(now);
            }
        }
    }
}

async fn act<T>(
    entry: &Entry,
    acting: impl Future<Output = Result<T, TransitionError>>,
) -> Option<T> {
    let run = entry.run();
    let span = tracing::error_span!("deadline", %run);
    // A stream that is full for one agent holds up no other's deadline; what was not published is, later.
    match tokio::time::timeout(PATIENCE, acting.instrument(span)).await {
        Ok(Ok(done)) => Some(done),
        Err(_elapsed) => {
            tracing::warn!(%run, "a deadline was not acted on in {PATIENCE:?}; it will be");
            None
        }
        Ok(Err(error)) => {
            tracing::warn!(%run, error = chain(&error), "a deadline was not acted on; it will be");
            None
        }
    }
}

impl Shared {
    /// The next deadline of a run has passed.
    async fn deadline(&self, run: RunId, now: Timestamp) -> Result<(), TransitionError> {
        let Some(state) = self.load(run).await?.state else {
            return Ok(());
        };
        match Due::of(&state, now) {
            Due::Nothing => Ok(()),
            Due::EndLive(reason) => {
                for (task, attempt) in state.live() {
                    self.time_out(&state, task, attempt, &reason).await?;
                }
                self.signal_cancel(run, state.trace()).await;
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

    /// Ends the tasks that have waited for too long for an instance of their agent; when the next one has.
    async fn queued(
        &self,
        run: RunId,
        absent: &BTreeMap<AgentName, Timestamp>,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, TransitionError> {
        let Some(state) = self.load(run).await?.state else {
            return Ok(None);
        };
        let queued = Queued::of(&state, absent, now, self.options.queue);
        for (task, attempt, reason) in &queued.over {
            self.time_out(&state, task, *attempt, reason).await?;
        }
        Ok(queued.next)
    }

    async fn time_out(
        &self,
        state: &State,
        task: &TaskId,
        attempt: u32,
        reason: &ErrorBody,
    ) -> Result<(), TransitionError> {
        tracing::info!(%task, %reason, "a deadline has passed");
        let ended_by = EndedBy::TimedOut(reason.clone());
        self.end_task(state, task, attempt, &ended_by).await
    }
}
