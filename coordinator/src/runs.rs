//! Transitions: decide, append by CAS, publish the effects. The log is the truth; what is kept in memory is a copy of it.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lru::LruCache;
use swarm_bus::{BlobError, Outgoing, PublishError, ReadError, topology};
use swarm_protocol::error::chain;
use swarm_protocol::event::{Body, Cause, Event};
use swarm_protocol::metrics as names;
use swarm_protocol::version::Unread;
use swarm_protocol::{Code, ErrorBody, RunId, Timestamp, headers, subjects};
use swarm_workflow::{Contents, Context, Decision, Input, State, decide, fold};

use crate::Shared;
use crate::log::Known;
use crate::spans;

/// Runs whose state is kept in memory; others are read when they are needed.
const CACHED: NonZeroUsize = NonZeroUsize::new(4096).unwrap();

/// A state with more text is read again when it is needed.
const HEAVIEST: usize = 16 * 1024;

/// After so many refused appends in a row the cause comes back later.
const MOST_REFUSALS: u32 = 10;
const REFUSAL_PAUSE: Duration = Duration::from_millis(10);

/// Pause before a cause is delivered again that could not be worked on.
pub(crate) const TROUBLE_PAUSE: Duration = Duration::from_secs(1);

/// Pause before a message of a newer version is handed out again, maybe to a coordinator that reads it.
pub(crate) const NEWER_PAUSE: Duration = Duration::from_secs(5);

/// Why a transition did not take place.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TransitionError {
    /// The log cannot be read.
    #[error("the run's log cannot be read")]
    Read(#[from] ReadError),
    /// The event, or one of its effects, was not stored.
    #[error("not stored")]
    Publish(#[from] PublishError),
    /// A blob that the run refers to, or is to refer to, cannot be had or stored.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// Others append to the log all the time.
    #[error("the run's log does not stand still")]
    Contended,
    /// A newer version wrote what stands in the log or a journal: it is left for a coordinator that reads it.
    #[error("run {run} belongs to a newer Swarm")]
    Newer {
        /// The run.
        run: RunId,
        /// What was not read.
        #[source]
        unread: Unread,
    },
    /// The log tells no story: the run is set aside.
    #[error("the log of run {run} cannot be followed: {detail}")]
    Log {
        /// The run.
        run: RunId,
        /// Why.
        detail: String,
    },
}

impl TransitionError {
    /// After which pause the cause is to be delivered again.
    pub(crate) const fn pause(&self) -> Duration {
        match self {
            Self::Newer { .. } => NEWER_PAUSE,
            _ => TROUBLE_PAUSE,
        }
    }

    /// The error as a requester gets it.
    pub(crate) fn to_body(&self) -> ErrorBody {
        let code = match self {
            Self::Blob(error) => return error.to_body(),
            Self::Log { .. } => Code::Log,
            Self::Read(_) | Self::Publish(_) | Self::Contended | Self::Newer { .. } => {
                Code::Unavailable
            }
        };
        ErrorBody::new(code, chain(self))
    }
}

fn measure(state: &State) {
    if state.n == 1 {
        metrics::counter!(names::RUNS_SUBMITTED).increment(1);
    }
    if state.phase.is_terminal() && !state.is_deleted() {
        metrics::counter!(names::RUNS_ENDED, "state" => state.phase.as_str()).increment(1);
    }
}

type Slot = Arc<tokio::sync::Mutex<Option<Known>>>;

/// The runs that are kept in memory, each worked on by one task at a time.
#[derive(Debug)]
pub(crate) struct Runs {
    slots: Mutex<LruCache<RunId, Slot>>,
}

impl Default for Runs {
    fn default() -> Self {
        Self {
            slots: Mutex::new(LruCache::new(CACHED)),
        }
    }
}

impl Runs {
    fn slot(&self, run: RunId) -> Slot {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(slots.get_or_insert(run, Slot::default))
    }

    fn forget(&self, run: RunId) {
        self.slots
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop(&run);
    }
}

/// What one transition has learned so far.
#[derive(Debug, Default)]
struct Deciding {
    /// Whether the log was read, and not what is kept of it.
    fresh: bool,
    /// Refused appends in a row.
    refusals: u32,
    contents: Contents,
}

impl Deciding {
    /// A refusal on what was kept is nothing special. One on what was just read is: another coordinator is at this run,
    /// or a replica is behind.
    async fn pause_after_refusal(&mut self) -> Result<(), TransitionError> {
        self.refusals += u32::from(self.fresh);
        if self.refusals > MOST_REFUSALS {
            return Err(TransitionError::Contended);
        }
        tokio::time::sleep(REFUSAL_PAUSE * self.refusals).await;
        Ok(())
    }
}

/// What is to be done about an input.
enum Decided {
    /// Append this, behind what was known.
    Append(Known, Box<Event>),
    /// Nothing. The state, when there is such a run.
    Nothing(Option<Arc<State>>),
}

/// Bytes of text in a state, about.
fn weight(state: &State) -> usize {
    let submission = state.accepted().map(|accepted| &accepted.submission);
    let texts = submission.map(|submission| [&submission.task, &submission.context]);
    let asked = texts.into_iter().flatten().flatten().map(String::len);
    let answered = state
        .steps()
        .iter()
        .filter_map(|step| state.answer(&step.id));
    let answered = answered
        .filter_map(|answer| answer.text.as_ref())
        .map(String::len);
    asked.chain(answered).sum()
}

/// What an input led to.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// An event was appended and its effects are published.
    Applied(Arc<State>),
    /// There was nothing to decide. The state, when there is such a run.
    Ignored(Option<Arc<State>>),
}

impl Shared {
    /// Decides about an input and does what follows.
    ///
    /// # Errors
    /// See [`TransitionError`]; the cause is to be delivered again, unless the log cannot be followed.
    pub(crate) async fn transition(
        &self,
        run: RunId,
        input: Input<'_>,
        cause: &Cause,
    ) -> Result<Outcome, TransitionError> {
        let outcome = self.try_transition(run, input, cause).await;
        if let Err(TransitionError::Log { run, .. }) = &outcome {
            self.index.set_aside(*run);
        }
        outcome
    }

    async fn try_transition(
        &self,
        run: RunId,
        input: Input<'_>,
        cause: &Cause,
    ) -> Result<Outcome, TransitionError> {
        let slot = self.runs.slot(run);
        let mut known = slot.lock().await;
        // A submission is nearly always the first: its append finds out, without reading.
        if matches!(input, Input::Submit(..)) {
            known.get_or_insert_default();
        }
        let mut deciding = Deciding::default();
        loop {
            let decided = self.decide(run, &input, cause, &mut known, &mut deciding);
            let (before, event) = match decided.await? {
                Decided::Append(before, event) => (before, event),
                Decided::Nothing(state) => return Ok(Outcome::Ignored(state)),
            };
            match self.append(before, &event).await {
                Ok((state, seq)) => {
                    self.keep(&mut known, &state, seq);
                    // Others may decide about this run while the effects wait for a stream that is full.
                    drop(known);
                    self.publish_effects(&state, &event).await?;
                    return Ok(Outcome::Applied(state));
                }
                Err(TransitionError::Publish(PublishError::Refused(_))) => {
                    deciding.pause_after_refusal().await?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Decides on what is kept, or on the log when nothing is or when that decides nothing. Blobs that the event needs are
    /// stored before it is.
    async fn decide(
        &self,
        run: RunId,
        input: &Input<'_>,
        cause: &Cause,
        known: &mut Option<Known>,
        deciding: &mut Deciding,
    ) -> Result<Decided, TransitionError> {
        loop {
            let Known { state, seq } = match known.take() {
                Some(known) => known,
                None => {
                    deciding.fresh = true;
                    self.load(run).await?
                }
            };
            let context = Context {
                run,
                at: Timestamp::now(),
                by: self.options.instance.clone(),
                cause: cause.clone(),
            };
            match decide(state.as_deref(), input.clone(), context, &deciding.contents) {
                // Of a run that is gone nothing is to be left in the store.
                Decision::Append { blobs, .. } if !blobs.is_empty() && !deciding.fresh => {}
                Decision::Append { event, blobs } => {
                    self.store_blobs(run, blobs).await?;
                    return Ok(Decided::Append(Known { state, seq }, event));
                }
                Decision::Fetch(wanted) => {
                    self.fetch_blobs(run, wanted, &mut deciding.contents)
                        .await?;
                    *known = Some(Known { state, seq });
                }
                Decision::Ignore if deciding.fresh && self.is_whole(run, seq).await? => {
                    return Ok(Decided::Nothing(state));
                }
                // What is kept may be older than the log: another coordinator dispatched what has ended now.
                Decision::Ignore => deciding.pause_after_refusal().await?,
            }
        }
    }

    /// Keeps a run in memory as it is now, unless it has ended or is large.
    fn keep(&self, known: &mut Option<Known>, state: &Arc<State>, seq: u64) {
        if state.phase.is_terminal() {
            self.runs.forget(state.run);
        } else if weight(state) <= HEAVIEST {
            *known = Some(Known {
                state: Some(Arc::clone(state)),
                seq,
            });
        }
    }

    /// Whether a log that was read ends where the leader of the stream says it does: a replica may be behind.
    async fn is_whole(&self, run: RunId, seq: u64) -> Result<bool, TransitionError> {
        if self.options.topology.replicas == 1 {
            return Ok(true);
        }
        let last = self.bus.last_of_runs(&subjects::run_log(run)).await?;
        Ok(last.map_or(0, |message| message.seq) <= seq)
    }

    async fn append(
        &self,
        last: Known,
        event: &Event,
    ) -> Result<(Arc<State>, u64), TransitionError> {
        let aside = |detail: String| TransitionError::Log {
            run: event.run,
            detail,
        };
        let behind = last.state.as_deref();
        if let Some(state) = behind.filter(|state| state.leaves_behind(event)) {
            // Seldom, and as large as the effects are.
            Box::pin(self.confirm_last(state)).await?;
        }
        let before = last.state.map(Arc::unwrap_or_clone);
        let state = fold(before, event).map_err(|error| aside(error.to_string()))?;
        let summary = state.summary();
        let subject = subjects::run_log(event.run);
        let header = summary
            .to_header()
            .map_err(|error| aside(error.to_string()))?;
        let message = Outgoing::json(&subject, event, state.trace())
            .map_err(|error| aside(error.to_string()))?
            .header(headers::SUMMARY, header)
            .expect_last(&subject, last.seq);
        let message = match event.body {
            // The log becomes this event alone.
            Body::Deleted(_) => message.header(headers::ROLLUP, "sub"),
            _ => message,
        };
        let seq = match self.bus.store_patiently(message).await {
            Ok(stored) => stored.seq,
            Err(error @ PublishError::Refused(_)) => self.own_append(event).await?.ok_or(error)?,
            Err(error) => return Err(error.into()),
        };
        tracing::debug!(run = %event.run, n = event.n, event = event.body.name(), "decided");
        measure(&state);
        spans::of_run(&state);
        self.index.put(seq, summary);
        self.admit();
        Ok((Arc::new(state), seq))
    }

    /// Publishes the effects of a run's last event, unless there is a later one: then the append finds out.
    async fn confirm_last(&self, state: &State) -> Result<(), TransitionError> {
        match self.last_event(state.run).await? {
            Some(last) if last.n == state.n => self.publish_effects(state, &last).await,
            _ => Ok(()),
        }
    }
}

/// The cause that a delivery of a stream is.
pub(crate) fn cause_of(stream: &str, seq: u64) -> Cause {
    Cause::Message {
        stream: stream.to_owned(),
        seq,
    }
}

/// The cause that a submission is.
pub(crate) fn submission_cause(seq: u64) -> Cause {
    cause_of(topology::INBOX, seq)
}
