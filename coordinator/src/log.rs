//! Reading the logs of runs.

use std::sync::Arc;

use swarm_bus::{Kind, StoredMessage};
use swarm_protocol::event::{Cause, Event};
use swarm_protocol::version::{self, Unread};
use swarm_protocol::{RunId, subjects};
use swarm_workflow::{FoldError, State, fold, replay};

use crate::Shared;
use crate::runs::TransitionError;
use crate::spans;

/// A run as far as it is known.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    /// As its log tells it; none when there is no log.
    pub(crate) state: Option<Arc<State>>,
    /// Sequence of the last message on the log's subject, whoever wrote it: what the next append expects.
    pub(crate) seq: u64,
}

/// A log as it is stored.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    /// Its events, oldest first.
    pub(crate) events: Vec<Event>,
    /// Sequence of the last message on its subject.
    pub(crate) seq: u64,
}

impl Shared {
    /// A run as its log tells it.
    pub(crate) async fn load(&self, run: RunId) -> Result<Known, TransitionError> {
        let Log { events, seq } = self.read_log(run).await?;
        if events.is_empty() {
            return Ok(Known { state: None, seq });
        }
        let state = replay(&events).map_err(|error| unfoldable(run, &error))?;
        Ok(Known {
            state: Some(Arc::new(state)),
            seq,
        })
    }

    /// The log of a run.
    pub(crate) async fn read_log(&self, run: RunId) -> Result<Log, TransitionError> {
        let stored = self.bus.read_runs(&subjects::run_log(run), 1).await?;
        let seq = stored.last().map_or(0, |message| message.seq);
        let events = stored
            .iter()
            .filter(|message| message.kind == Kind::Event)
            .map(|message| read_event(run, message))
            .collect::<Result<_, _>>()?;
        Ok(Log { events, seq })
    }

    /// The last event of a run, as the leader of the stream has it.
    pub(crate) async fn last_event(&self, run: RunId) -> Result<Option<Event>, TransitionError> {
        match self.bus.last_of_runs(&subjects::run_log(run)).await? {
            None => Ok(None),
            Some(message) if message.kind == Kind::Event => read_event(run, &message).map(Some),
            Some(_foreign) => Ok(self.read_log(run).await?.events.pop()),
        }
    }

    /// Where this very event stands in its run's log: a refused append may have been stored by a try whose word was lost.
    pub(crate) async fn own_append(&self, event: &Event) -> Result<Option<u64>, TransitionError> {
        let stored = self.bus.read_runs(&subjects::run_log(event.run), 1).await?;
        let is_own = |message: &&StoredMessage| {
            message.kind == Kind::Event
                && read_event(event.run, message).is_ok_and(|known| known == *event)
        };
        Ok(stored.iter().rev().find(is_own).map(|message| message.seq))
    }

    /// Publishes the effects again of the event that a cause led to: whoever appended it may have died before it could.
    /// Whether there is such an event.
    pub(crate) async fn repeat_effects(
        &self,
        run: RunId,
        cause: &Cause,
    ) -> Result<bool, TransitionError> {
        let mut state: Option<State> = None;
        for event in self.read_log(run).await?.events {
            let folded = fold(state.take(), &event).map_err(|error| unfoldable(run, &error))?;
            if event.cause == *cause {
                // Whoever appended it may have died before the span was exported, too.
                spans::of_run(&folded);
                self.publish_effects(&folded, &event).await?;
                return Ok(true);
            }
            state = Some(folded);
        }
        Ok(false)
    }
}

fn read_event(run: RunId, message: &StoredMessage) -> Result<Event, TransitionError> {
    version::read(&message.payload).map_err(|unread| match unread {
        Unread::Garbled(error) => TransitionError::Log {
            run,
            detail: format!("at sequence {}: {error}", message.seq),
        },
        unread => TransitionError::Newer { run, unread },
    })
}

fn unfoldable(run: RunId, error: &FoldError) -> TransitionError {
    TransitionError::Log {
        run,
        detail: error.to_string(),
    }
}
