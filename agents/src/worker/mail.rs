//! Messages to running tasks: the signals that bring them, and which attempt each is for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use swarm_bus::Bus;
use swarm_bus::connection::RequestError;
use swarm_protocol::journal::PeerMessage;
use swarm_protocol::{AgentName, RunId, subjects};
use tokio_util::sync::{CancellationToken, DropGuard};

type Letters = Arc<Mutex<Vec<PeerMessage>>>;
type Boxes = Arc<Mutex<HashMap<RunId, Vec<Letters>>>>;

/// Listens for messages to an agent, and puts them into the boxes of its running attempts.
#[derive(Debug)]
pub(super) struct Mail {
    boxes: Boxes,
    _listening: DropGuard,
}

/// What has come for an attempt's run; closed when dropped.
#[derive(Debug)]
pub(super) struct Mailbox {
    boxes: Boxes,
    run: RunId,
    letters: Letters,
}

impl Mail {
    pub(super) async fn listen(bus: &Bus, agent: &AgentName) -> Result<Self, RequestError> {
        let mut signals = bus.subscribe(&subjects::peers_of(agent)).await?;
        let boxes = Boxes::default();
        let stop = CancellationToken::new();
        let (known, stopped) = (Arc::clone(&boxes), stop.clone());
        tokio::spawn(async move {
            while let Some(Some(signal)) = stopped.run_until_cancelled(signals.next()).await {
                let Some(run) = subjects::run_of_peer(signal.subject()) else {
                    continue;
                };
                match serde_json::from_slice::<PeerMessage>(signal.payload()) {
                    Ok(message) => deliver(&known, run, &message),
                    Err(error) => tracing::debug!(%error, %run, "this is no message"),
                }
            }
        });
        Ok(Self {
            boxes,
            _listening: stop.drop_guard(),
        })
    }

    pub(super) fn watch(&self, run: RunId) -> Mailbox {
        let letters = Letters::default();
        let mut boxes = self.boxes.lock().unwrap_or_else(PoisonError::into_inner);
        boxes.entry(run).or_default().push(Arc::clone(&letters));
        Mailbox {
            boxes: Arc::clone(&self.boxes),
            run,
            letters,
        }
    }
}

fn deliver(boxes: &Boxes, run: RunId, message: &PeerMessage) {
    let boxes = boxes.lock().unwrap_or_else(PoisonError::into_inner);
    for letters in boxes.get(&run).into_iter().flatten() {
        let mut letters = letters.lock().unwrap_or_else(PoisonError::into_inner);
        letters.push(message.clone());
    }
}

impl Mailbox {
    /// What has come since the last look.
    pub(super) fn take(&self) -> Vec<PeerMessage> {
        let mut letters = self.letters.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut letters)
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        let mut boxes = self.boxes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(of_run) = boxes.get_mut(&self.run) {
            of_run.retain(|letters| !Arc::ptr_eq(letters, &self.letters));
            if of_run.is_empty() {
                boxes.remove(&self.run);
            }
        }
    }
}
