//! Work that ends its workers without a word, time and again: it is set aside, so that others get their turn.

use swarm_bus::delivery::DeadContext;
use swarm_bus::fence::{Journal, Verdict};
use swarm_protocol::error::chain;
use swarm_protocol::journal::Entry;
use swarm_protocol::{Code, ErrorBody, Timestamp, subjects};

use super::{Attempt, Interruption, Settlement, TROUBLE_PAUSE};
use crate::agent_loop::AgentLoop;
use crate::poison;

impl Attempt<'_> {
    /// Whether more deliveries than may be have ended without a word since something was last recorded.
    pub(super) fn is_poison(&self, entries: &[Entry]) -> bool {
        let own = |entry: &&Entry| {
            entry.attempt == self.work.attempt && entry.work_seq == Some(self.claim.work_seq)
        };
        let last = entries.last().filter(own);
        let recorded = last.and_then(|entry| entry.delivery).unwrap_or_default();
        let since = last.map_or(self.delivery.position().stored_at, |entry| entry.at);
        poison::is_poison(
            self.claim.delivery.saturating_sub(recorded),
            Timestamp::now().since(since),
            self.shared.options.work_ack_wait,
        )
    }

    /// A dead letter first: whoever finds the attempt ended finds it, too.
    pub(super) async fn settle_poison(&self, journal: Journal) -> Settlement {
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
        let nothing: AgentLoop = self.begin(None);
        let end = match self.failed(&nothing, error).await {
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
