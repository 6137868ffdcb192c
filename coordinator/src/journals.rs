//! Following journals: the end of an attempt moves its run on.

use std::sync::Arc;

use swarm_bus::delivery::DeadContext;
use swarm_bus::{Delivery, topology};
use swarm_protocol::error::chain;
use swarm_protocol::journal::Entry;
use swarm_protocol::subjects::{self, Leaf};
use swarm_protocol::version::{self, Unread};
use swarm_protocol::{Code, ErrorBody};
use swarm_workflow::Input;
use tracing::Instrument as _;

use crate::Shared;
use crate::runs::{NEWER_PAUSE, Outcome, TransitionError, cause_of};
use crate::spans;

/// Why an entry leads to no decision.
enum Undecided {
    /// A newer version wrote it.
    Newer(Unread),
    /// No version would write it.
    Wrong(ErrorBody),
}

/// Moves the run of a delivered entry on, and settles the delivery.
pub(crate) async fn follow(shared: Arc<Shared>, mut delivery: Delivery) {
    delivery.keep_alive(topology::SIGN_OF_LIFE);
    let entry = match decode(&delivery) {
        Ok(Some(entry)) => entry,
        Ok(None) => return delivery.ack().await,
        Err(Undecided::Newer(unread)) => {
            tracing::warn!(
                subject = delivery.subject(),
                error = chain(&unread),
                "an entry is put off"
            );
            return delivery.retry(NEWER_PAUSE).await;
        }
        Err(Undecided::Wrong(error)) => return bury(delivery, &error).await,
    };
    let agent = entry.body.answer().map(|answer| answer.agent.as_str());
    // Of the highest level, so that whatever is logged says which run it is about.
    let span = tracing::error_span!("journal", run = %entry.run, task = %entry.task, agent);
    move_on(&shared, &entry, delivery).instrument(span).await;
}

async fn move_on(shared: &Shared, entry: &Entry, delivery: Delivery) {
    match shared.task_ended(entry, &delivery).await {
        Ok(()) => delivery.ack().await,
        // Such a run is set aside: its entries stay where they are, and nobody else waits for them.
        Err(error @ TransitionError::Log { .. }) => {
            tracing::error!(error = chain(&error), "a run is set aside");
            delivery.ack().await;
        }
        Err(error) => {
            tracing::warn!(error = chain(&error), "an entry is put off");
            delivery.retry(error.pause()).await;
        }
    }
}

/// The entry, when it ends an attempt.
fn decode(delivery: &Delivery) -> Result<Option<Entry>, Undecided> {
    let undecodable =
        |message: String| Undecided::Wrong(ErrorBody::new(Code::Undecodable, message));
    let subject = delivery.subject();
    let (run, task, leaf) = subjects::parse_journal(subject)
        .ok_or_else(|| undecodable(format!("{subject} is no journal of a run")))?;
    if leaf != Leaf::End {
        return Ok(None);
    }
    let entry: Entry = version::read(delivery.payload()).map_err(|unread| match unread {
        Unread::Garbled(error) => undecodable(format!("this is no journal entry: {error}")),
        unread => Undecided::Newer(unread),
    })?;
    if entry.run == run && entry.task == task {
        Ok(Some(entry))
    } else {
        Err(undecodable(format!(
            "this entry is of run {}, task {}",
            entry.run, entry.task
        )))
    }
}

async fn bury(delivery: Delivery, error: &ErrorBody) {
    let (run, task) = subjects::parse_journal(delivery.subject())
        .map(|(run, task, _)| (run, task))
        .unzip();
    let span = tracing::error_span!(
        "journal",
        run = run.as_ref().map(tracing::field::display),
        task = task.as_ref().map(tracing::field::display),
    );
    set_aside(
        delivery,
        error,
        DeadContext {
            run,
            task,
            attempt: None,
        },
    )
    .instrument(span)
    .await;
}

async fn set_aside(delivery: Delivery, error: &ErrorBody, context: DeadContext) {
    tracing::warn!(%error, subject = delivery.subject(), "set aside as a dead letter");
    if let Err(error) = delivery
        .dead_letter(subjects::dead_inbox(), error, context)
        .await
    {
        tracing::warn!(%error, "the dead letter was not stored; the entry comes back");
    }
}

impl Shared {
    async fn task_ended(&self, entry: &Entry, delivery: &Delivery) -> Result<(), TransitionError> {
        let Some(input) = Input::of_entry(entry) else {
            return Ok(());
        };
        let position = delivery.position();
        let cause = cause_of(&position.stream, position.seq);
        let outcome = self.transition(entry.run, input, &cause).await?;
        if let Outcome::Applied(state) | Outcome::Ignored(Some(state)) = &outcome {
            spans::of_attempt(state, entry);
        }
        match outcome {
            Outcome::Applied(_) => {}
            // Its worker went on while the run was deleted: what it wrote goes too.
            Outcome::Ignored(Some(state)) if state.is_deleted() => {
                let journals = subjects::journals_of(entry.run);
                if let Err(error) = self.bus.purge_runs(&journals).await {
                    tracing::warn!(
                        error = chain(&error),
                        "the journals of a deleted run were left"
                    );
                }
            }
            Outcome::Ignored(_) => {
                let repeated = self.repeat_effects(entry.run, &cause).await?;
                tracing::debug!(repeated, "an end that was known");
            }
        }
        Ok(())
    }
}
