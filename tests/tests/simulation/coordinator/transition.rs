//! Transitions: decide, append by compare-and-set, publish the effects. See `coordinator/src/runs.rs` and `log.rs`.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::rc::Rc;

use futures_util::lock::Mutex;
use swarm_protocol::event::{Cause, Event};
use swarm_protocol::{RunId, subjects, version};
use swarm_workflow::{Contents, Context, Decision, Input, State, decide, fold, replay};

use super::Coordinator;
use crate::bus::{Message, StreamName};
use crate::mutation::Mutation;
use crate::net::{NoWord, Refused, json};

/// After so many refused appends in a row the cause comes back later.
const MOST_REFUSALS: u32 = 10;

/// A run as far as it is known.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// As its log tells it; none when there is no log.
    pub state: Option<Rc<State>>,
    /// Sequence of its last event.
    pub seq: u64,
}

type RunSlot = Rc<Mutex<Option<Known>>>;

/// The runs that are kept in memory, each worked on by one task at a time.
#[derive(Default)]
pub struct Slots(RefCell<BTreeMap<RunId, RunSlot>>);

impl Slots {
    fn of(&self, run: RunId) -> RunSlot {
        Rc::clone(self.0.borrow_mut().entry(run).or_default())
    }

    fn forget(&self, run: RunId) {
        self.0.borrow_mut().remove(&run);
    }

    /// What is kept now.
    pub fn all(&self) -> Vec<(RunId, Known)> {
        let runs = self.0.borrow();
        let kept = runs.iter().filter_map(|(run, slot)| {
            let known = slot.try_lock()?.clone()?;
            Some((*run, known))
        });
        kept.collect()
    }
}

/// Why a transition did not take place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// The server does not answer.
    NoWord,
    /// Others append to the log all the time.
    Contended,
    /// The log tells no story.
    Log(String),
}

impl From<NoWord> for Trouble {
    fn from(_: NoWord) -> Self {
        Self::NoWord
    }
}

/// What an input led to.
#[derive(Debug)]
pub enum Outcome {
    /// An event was appended and its effects are published.
    Applied,
    /// There was nothing to decide. The state, when there is such a run.
    Ignored(Option<Rc<State>>),
}

impl Coordinator {
    /// What is kept of each run, for a look from outside.
    pub fn kept(&self) -> Vec<(RunId, Known)> {
        self.runs.all()
    }

    /// Decides about an input and does what follows.
    pub async fn transition(
        &self,
        run: RunId,
        input: Input<'_>,
        cause: &Cause,
    ) -> Result<Outcome, Trouble> {
        let outcome = self.try_transition(run, input, cause).await;
        if let Err(Trouble::Log(detail)) = &outcome {
            self.sim
                .violate("I4 a log can be followed", format!("run {run}: {detail}"));
        }
        outcome
    }

    async fn try_transition(
        &self,
        run: RunId,
        input: Input<'_>,
        cause: &Cause,
    ) -> Result<Outcome, Trouble> {
        let slot = self.runs.of(run);
        let mut known = slot.lock().await;
        if matches!(input, Input::Submit(..)) {
            known.get_or_insert_default();
        }
        let mut fresh = false;
        let mut refusals = 0;
        loop {
            let Known { state, seq } = match known.take() {
                Some(known) => known,
                None => {
                    fresh = true;
                    self.load(run).await?
                }
            };
            let context = Context {
                run,
                at: self.clock(),
                by: self.instance.clone(),
                cause: cause.clone(),
            };
            let event = match decide(state.as_deref(), input.clone(), context, &Contents::new()) {
                Decision::Append { event, blobs } => {
                    assert!(blobs.is_empty(), "the simulation has no large texts");
                    event
                }
                Decision::Fetch(wanted) => panic!("there are no blobs: {wanted:?}"),
                Decision::Ignore if fresh || self.sim.is_mutated(Mutation::TrustsCache) => {
                    return Ok(Outcome::Ignored(state));
                }
                Decision::Ignore => continue,
            };
            let confirms = !self.sim.is_mutated(Mutation::LeavesUnconfirmed);
            if let Some(state) = state
                .as_deref()
                .filter(|state| state.leaves_behind(&event) && confirms)
            {
                self.confirm_last(state).await?;
            }
            let last = Known { state, seq };
            match self.append(last, &event).await? {
                Ok((state, seq)) => {
                    if state.phase.is_terminal() {
                        self.runs.forget(run);
                    } else {
                        let state = Some(Rc::clone(&state));
                        *known = Some(Known { state, seq });
                    }
                    drop(known);
                    self.publish_effects(&state, &event).await?;
                    return Ok(Outcome::Applied);
                }
                Err(Refused) => {
                    self.sim.note("an append was refused");
                    refusals += u32::from(fresh);
                    if refusals > MOST_REFUSALS {
                        return Err(Trouble::Contended);
                    }
                    self.sim.sleep(10 * u64::from(refusals)).await;
                }
            }
        }
    }

    /// Publishes the effects of a run's last event, unless there is a later one: then the append finds out.
    async fn confirm_last(&self, state: &State) -> Result<(), Trouble> {
        match self.last_event(state.run).await? {
            Some(last) if last.n == state.n => self.publish_effects(state, &last).await,
            _ => Ok(()),
        }
    }

    async fn append(
        &self,
        last: Known,
        event: &Event,
    ) -> Result<Result<(Rc<State>, u64), Refused>, Trouble> {
        let aside = |detail: String| Trouble::Log(detail);
        let before = last.state.map(Rc::unwrap_or_clone);
        let older = before.as_ref().map(State::summary);
        let state = fold(before, event).map_err(|error| aside(error.to_string()))?;
        let summary = match older {
            Some(older) if self.sim.is_mutated(Mutation::OldSummary) => older,
            _ => state.summary(),
        };
        let subject = subjects::run_log(event.run);
        let is_blind = self.sim.is_mutated(Mutation::BlindAppend);
        let message = Message {
            stream: StreamName::Runs,
            payload: json(event),
            summary: Some(summary.to_header().unwrap()),
            id: None,
            expect: (!is_blind).then(|| (subject.clone(), last.seq)),
            subject,
        };
        self.sim.say(self.net.process, || {
            format!(
                "decides {} {} of {}",
                event.n,
                event.body.name(),
                event.run.short()
            )
        });
        let stored = match self.net.store_patiently("append event", message).await {
            Err(Refused) if !self.sim.is_mutated(Mutation::ForgetsOwnAppend) => {
                self.own_append(event).await?.ok_or(Refused)
            }
            stored => stored,
        };
        Ok(stored.map(|seq| (Rc::new(state), seq)))
    }

    /// Where this very event stands in the log: stored by a try whose word was lost.
    async fn own_append(&self, event: &Event) -> Result<Option<u64>, Trouble> {
        let log = subjects::run_log(event.run);
        let stored = self.net.read_runs("read log", log).await?;
        let mut stored = stored.iter().rev();
        let own = stored.find(|message| {
            version::read::<Event>(&message.payload).is_ok_and(|known| known == *event)
        });
        if own.is_some() {
            self.sim.note("an event had been stored");
        }
        Ok(own.map(|message| message.seq))
    }

    /// A run as its log tells it.
    pub async fn load(&self, run: RunId) -> Result<Known, Trouble> {
        let (events, seq) = self.read_log(run).await?;
        if events.is_empty() {
            return Ok(Known { state: None, seq });
        }
        let state = replay(&events).map_err(|error| Trouble::Log(error.to_string()))?;
        Ok(Known {
            state: Some(Rc::new(state)),
            seq,
        })
    }

    async fn read_log(&self, run: RunId) -> Result<(Vec<Event>, u64), Trouble> {
        let stored = self
            .net
            .read_runs("read log", subjects::run_log(run))
            .await?;
        let seq = stored.last().map_or(0, |message| message.seq);
        let events = stored.iter().map(|message| version::read(&message.payload));
        let events: Result<Vec<Event>, _> = events.collect();
        let events = events.map_err(|error| Trouble::Log(error.to_string()))?;
        Ok((events, seq))
    }

    /// The last event of a run.
    async fn last_event(&self, run: RunId) -> Result<Option<Event>, Trouble> {
        let last = self
            .net
            .last_of_runs("read last event", subjects::run_log(run))
            .await?;
        let event = last.map(|message| version::read(&message.payload));
        event
            .transpose()
            .map_err(|error| Trouble::Log(error.to_string()))
    }

    /// Publishes the effects again of the event that a cause led to. Whether there is such an event.
    pub async fn repeat_effects(&self, run: RunId, cause: &Cause) -> Result<bool, Trouble> {
        if self.sim.is_mutated(Mutation::NoRepeatedEffects) {
            return Ok(true);
        }
        let mut state: Option<State> = None;
        for event in self.read_log(run).await?.0 {
            let folded =
                fold(state.take(), &event).map_err(|error| Trouble::Log(error.to_string()))?;
            if event.cause == *cause {
                self.sim.note("effects were published again");
                self.publish_effects(&folded, &event).await?;
                return Ok(true);
            }
            state = Some(folded);
        }
        Ok(false)
    }

    /// Publishes the effects of a run's last event again.
    pub async fn confirm(&self, run: RunId) -> Result<(), Trouble> {
        let Some(state) = self.load(run).await?.state else {
            return Ok(());
        };
        let Some(event) = self.last_event(run).await? else {
            return Ok(());
        };
        match event.n.cmp(&state.n) {
            Ordering::Equal => self.publish_effects(&state, &event).await,
            Ordering::Greater => Err(Trouble::Contended),
            Ordering::Less => Ok(()),
        }
    }
}
