//! Effects of events: each may be published any number of times, and changes something once. See `coordinator/src/effects.rs`.

use swarm_protocol::event::{Effect, Event};
use swarm_protocol::journal::Entry;
use swarm_protocol::{RunId, TaskId, subjects, version};
use swarm_workflow::{Contents, EndedBy, State, work_for};

use super::Coordinator;
use super::transition::Trouble;
use crate::bus::{Message, Signal, StreamName};
use crate::mutation::Mutation;
use crate::net::{Refused, json};

/// When a cancel signal is sent again, in milliseconds from the first.
const SIGNAL_AGAIN: [u64; 3] = [1_000, 3_000, 10_000];

impl Coordinator {
    /// Publishes the effects of an event; `state` is the run's after it, or later.
    pub async fn publish_effects(&self, state: &State, event: &Event) -> Result<(), Trouble> {
        for (k, effect) in event.effects.iter().enumerate() {
            match effect {
                Effect::Dispatch { task, attempt } => {
                    let id = format!("{}:{}:{}", event.run, event.n, k + 1);
                    self.dispatch(state, task, *attempt, id).await;
                }
                Effect::EndTask { task, attempt } => {
                    self.end_task(state, task, *attempt, &EndedBy::event(state))
                        .await?;
                }
                Effect::Wake { agent } => {
                    if let Some((_, message)) = event.message() {
                        let signal = Signal::Peer(event.run, agent.clone(), message);
                        self.net.signal(signal);
                    }
                }
                Effect::SignalCancel => self.signal_cancel(event.run),
                Effect::Reply { .. } => self.sim.note("an ask was answered"),
            }
        }
        Ok(())
    }

    async fn dispatch(&self, state: &State, task: &TaskId, attempt: u32, id: String) {
        let work = work_for(state, task, attempt, &Contents::new()).unwrap();
        let message = Message {
            stream: StreamName::Work,
            subject: subjects::work(&work.agent),
            payload: json(&work),
            summary: None,
            id: Some(id),
            expect: None,
        };
        // Nothing is expected, so that nothing can be refused.
        let stored = self.net.store_patiently("publish work", message).await;
        debug_assert!(stored.is_ok());
    }

    /// Ends an attempt in its journal, unless something else has ended it.
    pub async fn end_task(
        &self,
        state: &State,
        task: &TaskId,
        attempt: u32,
        ended_by: &EndedBy,
    ) -> Result<(), Trouble> {
        let fence = subjects::journal_fence(state.run, task);
        loop {
            let last = self
                .net
                .last_of_runs("read journal's end", fence.clone())
                .await?;
            let expected = last.as_ref().map_or(0, |message| message.seq);
            let last: Option<Entry> = last.map(|message| version::read(&message.payload).unwrap());
            if last.is_some_and(|last| last.has_ended(attempt))
                && !self.sim.is_mutated(Mutation::BlindEnd)
            {
                return Ok(());
            }
            let journal = self.net.read_runs("read journal", fence.clone()).await?;
            let journal = journal
                .iter()
                .map(|message| version::read(&message.payload));
            let journal: Vec<Entry> = journal.map(Result::unwrap).collect();
            let (by, now) = (&self.instance, self.clock());
            let Some(entry) = ended_by.entry(state, task, attempt, &journal, by, now) else {
                return Ok(());
            };
            let message = Message {
                stream: StreamName::Runs,
                subject: subjects::journal(state.run, task, entry.body.leaf()),
                payload: json(&entry),
                summary: None,
                id: None,
                expect: Some((fence.clone(), expected)),
            };
            match self.net.store_patiently("end attempt", message).await {
                Ok(_) => return Ok(()),
                // The worker was faster: look again at what it wrote.
                Err(Refused) if self.sim.is_mutated(Mutation::BlindEnd) => return Ok(()),
                Err(Refused) => {}
            }
        }
    }

    /// Tells workers that a run is canceled, several times: signals may miss one.
    pub fn signal_cancel(&self, run: RunId) {
        self.net.signal(Signal::Cancel(run));
        let (net, sim) = (self.net.clone(), self.sim.clone());
        self.sim.spawn(self.net.process, async move {
            let mut waited = 0;
            for after in SIGNAL_AGAIN {
                sim.sleep(after - waited).await;
                waited = after;
                net.signal(Signal::Cancel(run));
            }
        });
    }
}
