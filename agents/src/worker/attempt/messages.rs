//! Messages to the task: read from the run's log and from the mailbox, recorded, and given to the loop.

use swarm_bus::Kind;
use swarm_bus::fence::Journal;
use swarm_protocol::error::chain;
use swarm_protocol::event::Event;
use swarm_protocol::journal::{Body, PeerMessage};
use swarm_protocol::{subjects, version};

use super::{Attempt, Interruption};
use crate::agent_loop::AgentLoop;

impl Attempt<'_> {
    /// Work that waited knows nothing of the messages that came meanwhile: they stand in the run's log.
    pub(super) async fn look_for_messages(&mut self) -> Result<(), Interruption> {
        let log = subjects::run_log(self.work.run);
        let read = self.shared.bus.read_runs(&log, 1).await;
        let stored = read.map_err(|error| Interruption::Trouble(chain(&error)))?;
        for message in stored.iter().filter(|message| message.kind == Kind::Event) {
            let Ok(event) = version::read::<Event>(&message.payload) else {
                // A newer coordinator wrote it, and may have more to say than this worker knows.
                continue;
            };
            if let Some((to, sent)) = event.message()
                && *to == self.work.agent
                && self.work.messages.iter().all(|known| known.n != sent.n)
            {
                self.work.messages.push(sent);
            }
        }
        Ok(())
    }

    /// Takes the messages to the task that the chat does not have yet. Whether there were any.
    pub(super) async fn take_messages(
        &mut self,
        agent: &mut AgentLoop,
        journal: &mut Journal,
    ) -> Result<bool, Interruption> {
        let came = self.mailbox.take();
        let all: Vec<PeerMessage> = self.work.messages.iter().cloned().chain(came).collect();
        let mut any = false;
        for message in all {
            // A signal may come more than once.
            if agent.has_message(&message) {
                continue;
            }
            let entry = self.entry(Body::MessageReceived(message.clone()));
            journal.append(&entry, self.delivery.trace()).await?;
            agent.take_message(&message);
            any = true;
        }
        Ok(any)
    }
}
