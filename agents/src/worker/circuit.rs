//! The circuit to the model hosts: while none answers, no work is taken, and the card says so.

use std::sync::Arc;
use std::time::Duration;

use swarm_bus::gate::{self, Gate, Keeper};
use swarm_bus::work_loop::Shutdown;
use swarm_model::{ChatError, ChatModel};
use tokio::sync::Notify;

use super::presence::Presence;

/// First pause before a host that did not answer is looked at again; it doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Opens and closes the gate of a worker.
#[derive(Debug, Clone)]
pub(super) struct Circuit {
    keeper: Keeper,
    gate: Gate,
    broken: Arc<Notify>,
}

impl Circuit {
    pub(super) fn new() -> Self {
        let (keeper, gate) = gate::gate();
        Self {
            keeper,
            gate,
            broken: Arc::new(Notify::new()),
        }
    }

    /// What the work loop looks at.
    pub(super) fn gate(&self) -> Gate {
        self.gate.clone()
    }

    /// A call found no host: take nothing until one answers.
    pub(super) fn trip(&self) {
        self.keeper.set(0);
        self.broken.notify_one();
    }

    /// Looks at the hosts until one answers, and after every call that found none again, until the stop.
    pub(super) async fn keep(
        &self,
        model: &dyn ChatModel,
        name: &str,
        presence: &Presence,
        shutdown: &Shutdown,
    ) {
        let watching = async {
            loop {
                self.broken.notified().await;
                let mut pause = FIRST_PAUSE;
                while !self.look(model, name, presence).await {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        };
        shutdown.stop.run_until_cancelled(watching).await;
    }

    /// Looks at the hosts once. Whether one answers.
    pub(super) async fn look(
        &self,
        model: &dyn ChatModel,
        name: &str,
        presence: &Presence,
    ) -> bool {
        match model.look(name).await {
            Ok(look) => {
                if look.simulated {
                    tracing::warn!("the model host is a simulator: every answer is SIMULATED");
                }
                if !look.has_model {
                    tracing::warn!("model {name} is not on the host: run `ollama pull {name}`");
                }
                presence.set_simulated(look.simulated);
                presence.resume();
                self.keeper.set(usize::MAX);
                true
            }
            Err(error) => {
                if presence.pause(hosts_of(&error), error.to_string()) {
                    tracing::warn!(%error, "taking no work until a model host answers");
                }
                self.trip();
                false
            }
        }
    }
}

/// The hosts that did not answer, as a card names them.
fn hosts_of(error: &ChatError) -> String {
    match error {
        ChatError::Connect { hosts, .. } => hosts.join(", "),
        _ => "unknown".to_owned(),
    }
}
