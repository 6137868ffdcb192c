//! Transitions: decide, append by CAS, publish the effects. The log is the truth; what is kept in memory is a copy of it.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use lru::LruCache;
use swarm_bus::{Outgoing, PublishError, ReadError, topology};
use swarm_protocol::error::chain;
use swarm_protocol::event::{Body, Cause, Event};
use swarm_protocol::metrics as names;
use swarm_protocol::trace::TraceParent;
use swarm_protocol::{Code, ErrorBody, RunId, Timestamp, headers, subjects};
use swarm_workflow::{Context, Decision, FoldError, Input, State, decide, fold};

use crate::Shared;

/// Runs whose state is kept in memory; others are read when they are needed.
const CACHED: NonZeroUsize = NonZeroUsize::new(4096).unwrap();

/// Why a transition did not take place.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TransitionError {
    /// The log cannot be read.
    #[error("the run's log cannot be read")]
    Read(#[from] ReadError),
    /// The event, or one of its effects, was not stored.
    #[error("not stored")]
    Publish(#[from] PublishError),
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
    /// The error as a requester gets it.
    pub(crate) fn to_body(&self) -> ErrorBody {
        let code = match self {
            Self::Log { .. } => Code::Log,
            Self::Read(_) | Self::Publish(_) => Code::Unavailable,
        };
        ErrorBody::new(code, chain(self))
    }
}

/// A run as its log tells it, and where the log ends.
#[derive(Debug, Clone)]
pub(crate) struct Loaded {
    /// Its state.
    pub(crate) state: State,
    /// Sequence of its last event.
    pub(crate) seq: u64,
}

/// An event of a log, and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Logged {
    pub(crate) event: Event,
    pub(crate) seq: u64,
}

fn measure(state: &State) {
    if state.n == 1 {
        metrics::counter!(names::RUNS_SUBMITTED).increment(1);
    }
    if state.phase.is_terminal() && !state.is_deleted() {
        metrics::counter!(names::RUNS_ENDED, "state" => state.phase.as_str()).increment(1);
    }
}

type Slot = Arc<tokio::sync::Mutex<Option<Loaded>>>;

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

/// What an input led to.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// An event was appended and its effects are published.
    Applied(Box<State>),
    /// There was nothing to decide. The state, when there is such a run.
    Ignored(Option<Box<State>>),
}

impl Shared {
    /// Decides about an input and does what follows.
    ///
    /// # Errors
    /// See [`TransitionError`]; the cause is to be delivered again.
    pub(crate) async fn transition(
        &self,
        run: RunId,
        input: Input<'_>,
        cause: &Cause,
        trace: TraceParent,
    ) -> Result<Outcome, TransitionError> {
        let slot = self.runs.slot(run);
        let mut loaded = slot.lock().await;
        // A submission is nearly always the first: its append finds out, without reading.
        let mut read = loaded.is_none() && !matches!(input, Input::Submit(..));
        let mut fresh = false;
        loop {
            if read {
                *loaded = self.load(run).await?;
                fresh = true;
            }
            read = true;
            let context = Context {
                run,
                at: Timestamp::now(),
                by: self.options.instance.clone(),
                cause: cause.clone(),
            };
            let state = loaded.as_ref().map(|loaded| &loaded.state);
            let event = match decide(state, input.clone(), context) {
                Decision::Append(event) => event,
                Decision::Ignore if fresh => {
                    return Ok(Outcome::Ignored(state.cloned().map(Box::new)));
                }
                // What is kept may be older than the log: another coordinator dispatched what has ended now.
                Decision::Ignore => continue,
            };
            match self.append(loaded.take(), &event, trace).await {
                Ok(appended) => {
                    let state = appended.state.clone();
                    *loaded = Some(appended);
                    if state.phase.is_terminal() {
                        self.runs.forget(run);
                    }
                    self.publish_effects(&state, &event, trace).await?;
                    return Ok(Outcome::Applied(Box::new(state)));
                }
                Err(TransitionError::Publish(PublishError::Refused(_))) => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn append(
        &self,
        last: Option<Loaded>,
        event: &Event,
        trace: TraceParent,
    ) -> Result<Loaded, TransitionError> {
        let (expected, before) = last.map_or((0, None), |loaded| (loaded.seq, Some(loaded.state)));
        let aside = |detail: String| TransitionError::Log {
            run: event.run,
            detail,
        };
        let state = fold(before, event).map_err(|error| aside(error.to_string()))?;
        let summary = state.summary();
        let subject = subjects::run_log(event.run);
        let header = summary
            .to_header()
            .map_err(|error| aside(error.to_string()))?;
        let message = Outgoing::json(&subject, event, trace)
            .map_err(|error| aside(error.to_string()))?
            .header(headers::SUMMARY, header)
            .expect_last(&subject, expected);
        let message = match event.body {
            // The log becomes this event alone.
            Body::Deleted(_) => message.header(headers::ROLLUP, "sub"),
            _ => message,
        };
        let stored = self.bus.store_patiently(message).await?;
        tracing::debug!(run = %event.run, n = event.n, event = event.body.name(), "decided");
        measure(&state);
        self.index.put(stored.seq, summary);
        Ok(Loaded {
            state,
            seq: stored.seq,
        })
    }

    /// A run as its log tells it, none when there is no log.
    pub(crate) async fn load(&self, run: RunId) -> Result<Option<Loaded>, TransitionError> {
        let mut loaded: Option<Loaded> = None;
        for Logged { event, seq } in self.read_log(run).await? {
            let state = loaded.take().map(|loaded| loaded.state);
            let folded = fold(state, &event).map_err(|error: FoldError| TransitionError::Log {
                run,
                detail: error.to_string(),
            })?;
            loaded = Some(Loaded { state: folded, seq });
        }
        Ok(loaded)
    }

    /// The events of a run, oldest first.
    pub(crate) async fn read_log(&self, run: RunId) -> Result<Vec<Logged>, TransitionError> {
        let stored = self.bus.read_runs(&subjects::run_log(run), 1).await?;
        let events = stored
            .into_iter()
            .filter(|message| message.is_event)
            .map(|message| {
                let event = serde_json::from_slice(&message.payload).map_err(|error| {
                    TransitionError::Log {
                        run,
                        detail: format!("at sequence {}: {error}", message.seq),
                    }
                })?;
                Ok(Logged {
                    event,
                    seq: message.seq,
                })
            });
        events.collect()
    }

    /// The last event of a run, as the leader of the stream has it.
    pub(crate) async fn last_event(&self, run: RunId) -> Result<Option<Event>, TransitionError> {
        let Some(message) = self.bus.last_of_runs(&subjects::run_log(run)).await? else {
            return Ok(None);
        };
        if !message.is_event {
            return Ok(self.read_log(run).await?.pop().map(|logged| logged.event));
        }
        let event =
            serde_json::from_slice(&message.payload).map_err(|error| TransitionError::Log {
                run,
                detail: format!("at sequence {}: {error}", message.seq),
            })?;
        Ok(Some(event))
    }

    /// Publishes the effects again of the event that a cause led to: whoever appended it may have died before it could.
    /// Whether there is such an event.
    pub(crate) async fn repeat_effects(
        &self,
        run: RunId,
        cause: &Cause,
        trace: TraceParent,
    ) -> Result<bool, TransitionError> {
        let mut state: Option<State> = None;
        for Logged { event, .. } in self.read_log(run).await? {
            let folded =
                fold(state.take(), &event).map_err(|error: FoldError| TransitionError::Log {
                    run,
                    detail: error.to_string(),
                })?;
            if event.cause == *cause {
                self.publish_effects(&folded, &event, trace).await?;
                return Ok(true);
            }
            state = Some(folded);
        }
        Ok(false)
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
