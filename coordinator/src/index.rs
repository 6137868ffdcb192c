//! The index of runs, in memory: the summary of each, kept by one headers-only watch over all run logs.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use swarm_bus::watch::{Content, Watch, WatchError, Watched};
use swarm_bus::{Bus, topology};
use swarm_protocol::metrics as names;
use swarm_protocol::summary::{Stored, Summary};
use swarm_protocol::{Code, ErrorBody, RunId, RunRef, RunState, Timestamp, headers, subjects};
use tokio::sync::{Notify, watch};

/// Pause before a broken watch is set up again.
const WATCH_PAUSE: Duration = Duration::from_millis(500);

/// A question waits so long for an index that is catching up.
const CATCH_UP_PATIENCE: Duration = Duration::from_secs(5);

/// All runs of the store; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Index {
    inner: Arc<Mutex<Inner>>,
    changed: Arc<Notify>,
    /// Whether it has all that is stored, as far as its watch knows.
    current: Arc<watch::Sender<bool>>,
}

impl Default for Index {
    fn default() -> Self {
        Self {
            inner: Arc::default(),
            changed: Arc::default(),
            current: Arc::new(watch::Sender::new(false)),
        }
    }
}

#[derive(Debug, Default)]
struct Inner {
    runs: HashMap<RunId, Entry>,
    /// By submission, for lists.
    by_time: BTreeMap<(i64, RunId), ()>,
    by_submission: HashMap<u64, RunId>,
    by_state: HashMap<RunState, u64>,
    /// Runs whose last event has effects that nobody confirms.
    unconfirmed: HashSet<RunId>,
    /// Open runs by their next deadline.
    by_deadline: BTreeSet<(i64, RunId)>,
    /// Open runs whose log cannot be followed.
    aside: HashSet<RunId>,
    waiting: HashMap<RunId, Arc<Notify>>,
}

impl Inner {
    fn remove(&mut self, run: RunId) {
        let Some(known) = self.runs.remove(&run) else {
            return;
        };
        self.unconfirmed.remove(&run);
        self.aside.remove(&run);
        if let Some(waiting) = self.waiting.remove(&run) {
            waiting.notify_waiters();
        }
        let summary = &known.stored.summary;
        self.by_deadline.remove(&deadline_key(summary));
        self.by_time
            .remove(&(summary.submitted_at.as_millis(), run));
        if let Some(submission) = summary.seq {
            self.by_submission.remove(&submission);
        }
        self.count(Some(summary.state), None);
    }

    /// Has lists and tickets find a run: by what never changes of it.
    fn list(&mut self, summary: &Summary) {
        let run = summary.run;
        self.by_time
            .insert((summary.submitted_at.as_millis(), run), ());
        if let Some(submission) = summary.seq {
            self.by_submission.insert(submission, run);
        }
    }

    fn count(&mut self, before: Option<RunState>, now: Option<RunState>) {
        if let Some(count) = before.and_then(|state| self.by_state.get_mut(&state)) {
            *count = count.saturating_sub(1);
        }
        if let Some(state) = now {
            *self.by_state.entry(state).or_default() += 1;
        }
        for state in before.into_iter().chain(now) {
            let count = self.by_state.get(&state).copied().unwrap_or_default();
            metrics::gauge!(names::RUNS, "state" => state.as_str()).set(count as f64);
        }
    }
}

fn deadline_key(summary: &Summary) -> (i64, RunId) {
    let at = summary.deadline.map_or(i64::MAX, Timestamp::as_millis);
    (at, summary.run)
}

/// A run in the index.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// Its state in one line.
    pub(crate) stored: Arc<Stored>,
    /// Sequence of its last event.
    pub(crate) seq: u64,
}

impl Entry {
    /// The run.
    pub(crate) fn run(&self) -> RunId {
        self.stored.summary.run
    }
}

impl Index {
    /// Takes a summary unless a later one is known.
    pub(crate) fn put(&self, seq: u64, stored: Stored) {
        let mut inner = self.lock();
        let run = stored.summary.run;
        let known = inner.runs.get(&run);
        if known.is_some_and(|known| known.seq >= seq) {
            return;
        }
        if stored.deleted {
            return inner.remove(run);
        }
        let state = stored.summary.state;
        let due = known.map(|known| deadline_key(&known.stored.summary));
        let before = known.map(|known| known.stored.summary.state);
        if let Some(due) = due {
            inner.by_deadline.remove(&due);
        }
        if stored.summary.deadline.is_some() {
            inner.by_deadline.insert(deadline_key(&stored.summary));
        }
        inner.count(before, Some(state));
        inner.aside.remove(&run);
        if stored.summary.unconfirmed {
            inner.unconfirmed.insert(run);
        } else {
            inner.unconfirmed.remove(&run);
        }
        if before.is_none() {
            inner.list(&stored.summary);
        }
        let stored = Arc::new(stored);
        inner.runs.insert(run, Entry { stored, seq });
        if state.is_terminal()
            && let Some(waiting) = inner.waiting.remove(&run)
        {
            waiting.notify_waiters();
        }
    }

    /// Whether this event of a run, or a later one, is known.
    fn knows(&self, run: RunId, seq: u64) -> bool {
        let known = self.lock().runs.get(&run).map(|known| known.seq);
        known.is_some_and(|known| known >= seq)
    }

    /// Whether it has all that is stored: one that was cut off is not believed before it has caught up.
    pub(crate) fn is_current(&self) -> bool {
        *self.current.borrow()
    }

    /// Waits a moment until it has all that is stored.
    ///
    /// # Errors
    /// When it has not.
    pub(crate) async fn caught_up(&self) -> Result<(), ErrorBody> {
        let mut current = self.current.subscribe();
        let caught_up = current.wait_for(|current| *current);
        match tokio::time::timeout(CATCH_UP_PATIENCE, caught_up).await {
            Ok(Ok(_)) => Ok(()),
            _ => {
                let message =
                    "this coordinator was cut off and is still reading what it missed: ask again";
                Err(ErrorBody::new(Code::Unavailable, message))
            }
        }
    }

    fn set_current(&self, current: bool) {
        self.current.send_replace(current);
        self.changed.notify_one();
    }

    /// Waits until the watch has brought something new since the last call.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Runs by state.
    pub(crate) fn by_state(&self) -> HashMap<RunState, u64> {
        self.lock().by_state.clone()
    }

    /// Runs that have not ended, without those that are set aside.
    pub(crate) fn open(&self) -> u64 {
        let inner = self.lock();
        let open = inner
            .by_state
            .iter()
            .filter(|(state, _)| !state.is_terminal());
        let open: u64 = open.map(|(_, count)| count).sum();
        open.saturating_sub(inner.aside.len() as u64)
    }

    /// A run whose log cannot be followed keeps no place from others.
    pub(crate) fn set_aside(&self, run: RunId) {
        let mut inner = self.lock();
        let is_open = |entry: &Entry| !entry.stored.summary.state.is_terminal();
        if inner.runs.get(&run).is_some_and(is_open) {
            inner.aside.insert(run);
        }
    }

    /// Forgets runs whose last event is older than the stream keeps it.
    pub(crate) fn forget_before(&self, now: Timestamp, retention: Duration) {
        let mut inner = self.lock();
        let oldest = now.as_millis() - i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
        let gone: Vec<RunId> = inner
            .by_time
            .keys()
            .take_while(|(submitted_at, _)| *submitted_at < oldest)
            .map(|(_, run)| *run)
            .filter(|run| {
                let entry = inner.runs.get(run);
                entry.is_some_and(|entry| entry.stored.at.as_millis() < oldest)
            })
            .collect();
        gone.into_iter().for_each(|run| inner.remove(run));
    }

    /// The run that somebody means.
    ///
    /// # Errors
    /// `SW-RUN-UNKNOWN` or `SW-RUN-AMBIGUOUS`.
    pub(crate) fn resolve(&self, reference: &RunRef) -> Result<RunId, ErrorBody> {
        let inner = self.lock();
        match reference {
            RunRef::Id(run) => Ok(*run),
            RunRef::Sequence(seq) => inner
                .by_submission
                .get(seq)
                .copied()
                .ok_or_else(|| unknown(reference)),
            RunRef::Prefix(prefix) => {
                let mut found = inner
                    .runs
                    .keys()
                    .filter(|run| run.to_string().starts_with(prefix));
                match (found.next(), found.next()) {
                    (Some(run), None) => Ok(*run),
                    (None, _) => Err(unknown(reference)),
                    (Some(_), Some(_)) => {
                        let message =
                            format!("several runs begin with {prefix}: give more of the id");
                        Err(ErrorBody::new(Code::RunAmbiguous, message).field("run"))
                    }
                }
            }
        }
    }

    /// Runs, newest first, from the one after the cursor on.
    pub(crate) fn newest(&self, after: Option<(i64, RunId)>) -> Vec<Entry> {
        let inner = self.lock();
        let before = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        let range = inner.by_time.range((std::ops::Bound::Unbounded, before));
        range
            .rev()
            .filter_map(|((_, run), ())| inner.runs.get(run).cloned())
            .collect()
    }

    /// Open runs whose next deadline has passed and that are wanted, the oldest first, so many at most.
    pub(crate) fn due(
        &self,
        now: Timestamp,
        wanted: impl Fn(&Entry) -> bool,
        most: usize,
    ) -> Vec<Entry> {
        let inner = self.lock();
        let passed = inner.by_deadline.range(..=(now.as_millis(), RunId::LAST));
        let runs = passed.map(|(_, run)| run);
        runs.filter(|run| !inner.aside.contains(run))
            .filter_map(|run| inner.runs.get(run))
            .filter(|entry| wanted(entry))
            .take(most)
            .cloned()
            .collect()
    }

    /// Open runs of which this holds, so many at most.
    pub(crate) fn open_where(&self, holds: impl Fn(&Entry) -> bool, most: usize) -> Vec<Entry> {
        let inner = self.lock();
        // What is open has a deadline.
        let open = inner.by_deadline.iter().map(|(_, run)| run);
        let open = open.filter(|run| !inner.aside.contains(run));
        open.filter_map(|run| inner.runs.get(run))
            .filter(|entry| holds(entry))
            .take(most)
            .cloned()
            .collect()
    }

    /// Runs whose last event has effects that nobody confirms.
    pub(crate) fn unconfirmed(&self) -> Vec<Entry> {
        let inner = self.lock();
        let runs = inner.unconfirmed.iter();
        runs.filter_map(|run| inner.runs.get(run).cloned())
            .collect()
    }

    /// Waits until a run has ended, or the time is over.
    pub(crate) async fn ended(&self, run: RunId, patience: Duration) {
        let notify = {
            let mut inner = self.lock();
            if inner
                .runs
                .get(&run)
                .is_some_and(|entry| entry.stored.summary.state.is_terminal())
            {
                return;
            }
            Arc::clone(inner.waiting.entry(run).or_default())
        };
        let notified = notify.notified();
        tokio::pin!(notified);
        notified.as_mut().enable();
        if self.state(run).is_some_and(RunState::is_terminal) {
            return;
        }
        // A time-out is no error here: the caller looks at the state.
        tokio::time::timeout(patience, notified)
            .await
            .unwrap_or_default();
        self.stop_waiting(run, &notify);
    }

    /// The last one that waits takes the entry away.
    fn stop_waiting(&self, run: RunId, notify: &Arc<Notify>) {
        let mut inner = self.lock();
        // The map's, and the caller's.
        if Arc::strong_count(notify) == 2 {
            inner.waiting.remove(&run);
        }
    }

    /// The state of a run.
    pub(crate) fn state(&self, run: RunId) -> Option<RunState> {
        self.lock()
            .runs
            .get(&run)
            .map(|entry| entry.stored.summary.state)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// No such run.
pub(crate) fn unknown(reference: &RunRef) -> ErrorBody {
    let message = format!("no run {reference} is known: `swarm runs list` shows those there are");
    ErrorBody::new(Code::RunUnknown, message).field("run")
}

/// Fills the index with what is stored, and keeps it from then on.
///
/// # Errors
/// When the watch cannot be set up.
pub(crate) async fn follow(bus: &Bus, index: Index) -> Result<(), WatchError> {
    let mut watch = fill(bus, &index).await?;
    let bus = bus.clone();
    tokio::spawn(async move {
        loop {
            while let Ok(message) = watch.next().await {
                take(&index, &message);
            }
            index.set_current(false);
            watch = fill_again(&bus, &index).await;
        }
    });
    Ok(())
}

/// Brings the index to what is stored now; from there on the watch has what is new.
async fn fill(bus: &Bus, index: &Index) -> Result<Watch, WatchError> {
    let mut watch = bus
        .watch(topology::RUNS, subjects::RUN_LOGS, Content::Headers)
        .await?;
    let mut missing = watch.initial;
    while missing > 0 {
        let message = watch.next().await?;
        missing = message.pending;
        take(index, &message);
    }
    index.set_current(true);
    Ok(watch)
}

async fn fill_again(bus: &Bus, index: &Index) -> Watch {
    loop {
        match fill(bus, index).await {
            Ok(watch) => return watch,
            Err(error) => {
                tracing::debug!(%error, "the index is not being kept; trying again");
                tokio::time::sleep(WATCH_PAUSE).await;
            }
        }
    }
}

fn take(index: &Index, watched: &Watched) {
    let message = &watched.message;
    let subject = message.subject();
    // A coordinator's own events are known before the watch brings them.
    let run = subjects::run_of_log(subject);
    if run.is_some_and(|run| index.knows(run, watched.seq)) {
        return;
    }
    // The headers of a copy say that no coordinator wrote it: see `swarm_bus::Kind`.
    let header = message.header(headers::SUMMARY);
    let Some(header) = header.filter(|_| message.header(headers::STREAM).is_none()) else {
        return;
    };
    match Stored::from_header(header) {
        Ok(stored) if run == Some(stored.summary.run) => {
            index.put(watched.seq, stored);
            index.changed.notify_one();
        }
        Ok(_) => tracing::warn!(subject, "a summary of another run was ignored"),
        Err(error) => tracing::warn!(subject, %error, "a summary is not understood"),
    }
}
