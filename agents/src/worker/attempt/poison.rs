//! Work that ends its workers without a word, time and again: it is set aside, so that others get their turn.

use swarm_bus::delivery::DeadContext;
use swarm_bus::fence::{Journal, Verdict};
use swarm_protocol::error::chain;
use swarm_protocol::journal::Entry;
use swarm_protocol::{Code, ErrorBody, Timestamp, subjects};

use super::{Attempt, Interruption, Settlement, TROUBLE_PAUSE};
use crate::poison;

impl Attempt<'_> {
    /// Whether the work ends its workers without a word.
    pub(super) fn is_poison(&self, entries: &[Entry]) -> bool {
        poison::is_poison(
            &self.claim,
            entries,
            self.delivery.position().stored_at,
            Timestamp::now(),
            self.shared.options.work_ack_wait,
        )
    }

    /// A dead letter first: whoever finds the attempt ended finds it, too.
    pub(super) async fn settle_poison(&self, journal: Journal, entries: &[Entry]) -> Settlement {
        let agent = &self.work.agent;
        let deliveries = self.claim.delivery - 1;
        let message = format!(
            "{deliveries} deliveries to {agent} ended without a word: the last instances of it may have crashed"
        );
        let error = ErrorBody::new(Code::Poison, message);
        tracing::error!(%error, "set aside as a dead letter");
        let context = DeadContext {
            run: Some(self.work.run),
            task: Some(self.work.task.clone()),
            attempt: Some(self.work.attempt),
        };
        let subject = subjects::dead_agent(agent);
        if let Err(error) = self.delivery.store_letter(subject, &error, context).await {
            tracing::warn!(error = chain(&error), "the dead letter was not stored");
            return Settlement::Retry(TROUBLE_PAUSE);
        }
        // What was finished before counts.
        let mut agent = self.begin(None);
        self.replay(&mut agent, entries);
        let end = match self.failed(&agent, error).await {
            Ok(end) => self.end(journal, end).await,
            Err(interruption) => Err(interruption),
        };
        match end {
            Ok(()) => Settlement::Ack,
            Err(Interruption::Superseded(Verdict::Ended | Verdict::Duplicate)) => Settlement::Ack,
            Err(Interruption::Superseded(_)) => Settlement::Abandon,
            Err(_) => Settlement::Retry(TROUBLE_PAUSE),
        }
    }
}
