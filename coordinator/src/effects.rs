//! Effects of events: each may be published any number of times, and changes something once.

use std::time::Duration;

use swarm_bus::service::with_error;
use swarm_bus::{Kind, Outgoing, PublishError, StoredMessage};
use swarm_protocol::endpoint::AskError;
use swarm_protocol::event::{Effect, Event};
use swarm_protocol::journal::Entry;
use swarm_protocol::trace::TraceParent;
use swarm_protocol::{
    AgentName, Code, ErrorBody, RunId, RunResult, RunState, TaskId, Timestamp, headers, subjects,
    version,
};
use swarm_workflow::{Contents, EndedBy, State, texts_for, work_for};

use crate::Shared;
use crate::runs::TransitionError;

/// When a cancel signal is sent again, counted from the first: core messages may miss a worker that is reconnecting.
const SIGNAL_AGAIN: [Duration; 3] = [
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(10),
];

impl Shared {
    /// Publishes the effects of an event; `state` is the run's after it, or later.
    ///
    /// # Errors
    /// When an effect was not stored.
    pub(crate) async fn publish_effects(
        &self,
        state: &State,
        event: &Event,
    ) -> Result<(), TransitionError> {
        let trace = state.trace();
        for (k, effect) in event.effects.iter().enumerate() {
            match effect {
                Effect::Dispatch { task, attempt } => {
                    let id = format!("{}:{}:{}", event.run, event.n, k + 1);
                    self.dispatch(state, task, *attempt, id, trace).await?;
                }
                Effect::EndTask { task, attempt } => {
                    self.end_task(state, task, *attempt, &EndedBy::event(state))
                        .await?
                }
                Effect::Wake { agent } => self.wake(event, agent, trace).await,
                Effect::SignalCancel => self.signal_cancel(event.run, trace).await,
                Effect::Reply { subject } => {
                    if let Some(result) = event.body.result() {
                        self.reply(subject, result, trace).await;
                    }
                }
            }
        }
        Ok(())
    }

    async fn dispatch(
        &self,
        state: &State,
        task: &TaskId,
        attempt: u32,
        id: String,
        trace: TraceParent,
    ) -> Result<(), TransitionError> {
        let unwritable = |detail: String| TransitionError::Log {
            run: state.run,
            detail,
        };
        let mut contents = Contents::new();
        self.fetch_blobs(state.run, texts_for(state, task), &mut contents)
            .await?;
        let work = work_for(state, task, attempt, &contents)
            .ok_or_else(|| unwritable(format!("task {task} has no agent")))?;
        let message = Outgoing::json(subjects::work(&work.agent), &work, trace)
            .map_err(|error| unwritable(error.to_string()))?;
        self.bus.store_patiently(message.message_id(id)).await?;
        Ok(())
    }

    /// Ends an attempt in its journal, unless something else has ended it.
    pub(crate) async fn end_task(
        &self,
        state: &State,
        task: &TaskId,
        attempt: u32,
        ended_by: &EndedBy,
    ) -> Result<(), TransitionError> {
        let (run, trace) = (state.run, state.trace());
        let fence = subjects::journal_fence(run, task);
        loop {
            let last = self.bus.last_of_runs(&fence).await?;
            let expected = last.as_ref().map_or(0, |message| message.seq);
            if let Some(last) = last
                && has_ended(run, attempt, &last)?
            {
                return Ok(());
            }
            let journal = self.entries(&fence).await?;
            let (by, now) = (&self.options.instance, Timestamp::now());
            let Some(entry) = ended_by.entry(state, task, attempt, &journal, by, now) else {
                return Ok(());
            };
            let subject = subjects::journal(run, task, entry.body.leaf());
            let message = Outgoing::json(&subject, &entry, trace)
                .map_err(|error| TransitionError::Log {
                    run,
                    detail: error.to_string(),
                })?
                .expect_last(&fence, expected);
            match self.bus.store_patiently(message).await {
                Ok(_) => return Ok(()),
                // The worker was faster: look again at what it wrote.
                Err(PublishError::Refused(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The entries of a journal that this version can read.
    async fn entries(&self, fence: &str) -> Result<Vec<Entry>, TransitionError> {
        let stored = self.bus.read_runs(fence, 1).await?;
        let entries = stored.iter().filter(|message| message.kind == Kind::Entry);
        Ok(entries
            .filter_map(|message| version::read(&message.payload).ok())
            .collect())
    }

    /// Brings a message to whoever works on it now. Who misses it gets it with the next attempt.
    async fn wake(&self, event: &Event, agent: &AgentName, trace: TraceParent) {
        let Some((_, message)) = event.message() else {
            return;
        };
        let sent = match Outgoing::json(subjects::peer(event.run, agent), &message, trace) {
            Ok(message) => self
                .bus
                .send(message)
                .await
                .map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = sent {
            tracing::warn!(error, run = %event.run, "a message was not sent");
        }
    }

    pub(crate) async fn signal_cancel(&self, run: RunId, trace: TraceParent) {
        send_signal(&self.bus, run, trace).await;
        let bus = self.bus.clone();
        self.background.spawn(async move {
            let first = tokio::time::Instant::now();
            for after in SIGNAL_AGAIN {
                tokio::time::sleep_until(first + after).await;
                send_signal(&bus, run, trace).await;
            }
        });
    }

    /// Answers an `ask` with the result of its run: the text alone, or an error that has run and result in its body. A text
    /// that is larger than a message is its beginning, and a header says which blob has all of it.
    pub(crate) async fn reply(&self, inbox: &str, result: &RunResult, trace: TraceParent) {
        if !subjects::is_inbox(inbox) {
            return;
        }
        let Some(mut message) = self.ask_reply(inbox, result, trace).await else {
            return;
        };
        message = message
            .header(headers::RUN_ID, result.run)
            .header(headers::STATUS, result.status);
        if result.simulated {
            message = message.header(headers::SIMULATED, "true");
        }
        if let Some(held) = self.admission.held() {
            message = message.header(headers::HELD, held);
        }
        if let Err(error) = self.bus.send(message).await {
            tracing::warn!(%error, run = %result.run, "an answer was not sent");
        }
    }

    async fn ask_reply(
        &self,
        inbox: &str,
        result: &RunResult,
        trace: TraceParent,
    ) -> Option<Outgoing> {
        if result.status != RunState::Completed {
            return ask_error(inbox, result, trace);
        }
        match self.whole_text(result).await {
            Ok(Some(text)) => Some(Outgoing::new(inbox, text, trace)),
            Err(error) if error.lasting().is_some() => {
                let reason = error.lasting();
                let lost = RunResult {
                    reason,
                    ..result.clone()
                };
                ask_error(inbox, &lost, trace)
            }
            Ok(None) | Err(_) => {
                let beginning = Outgoing::new(inbox, result.text.clone(), trace);
                Some(match &result.blob {
                    Some(blob) => beginning.header(headers::BLOB, blob.name(result.run)),
                    None => beginning,
                })
            }
        }
    }
}

/// The answer about a run that gave none.
fn ask_error(inbox: &str, result: &RunResult, trace: TraceParent) -> Option<Outgoing> {
    let unnamed = || ErrorBody::new(Code::Internal, format!("the run is {}", result.status));
    let error = result.reason.clone().unwrap_or_else(unnamed);
    let body = AskError {
        error: error.clone(),
        run: result.run,
        result: result.clone(),
    };
    match Outgoing::json(inbox, &body, trace) {
        Ok(message) => Some(with_error(message, &error)),
        Err(error) => {
            tracing::error!(%error, run = %result.run, "an answer could not be written as JSON");
            None
        }
    }
}

/// Whether an attempt has ended, by the last message of its journal.
fn has_ended(run: RunId, attempt: u32, last: &StoredMessage) -> Result<bool, TransitionError> {
    if last.kind != Kind::Entry {
        return Ok(false);
    }
    match version::read::<Entry>(&last.payload) {
        Ok(entry) => Ok(entry.has_ended(attempt)),
        // It may be the end of this attempt, which has one.
        Err(unread) if unread.is_newer() => Err(TransitionError::Newer { run, unread }),
        Err(_garbled) => Ok(false),
    }
}

async fn send_signal(bus: &swarm_bus::Bus, run: RunId, trace: TraceParent) {
    if let Err(error) = bus
        .send(Outgoing::new(subjects::cancel(run), "", trace))
        .await
    {
        tracing::warn!(%error, %run, "a cancel signal was not sent");
    }
}
