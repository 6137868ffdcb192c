//! Messages to running tasks: the signals that bring them, and which attempt each is for.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use swarm_bus::Bus;
use swarm_bus::connection::RequestError;
use swarm_protocol::journal::PeerMessage;
use swarm_protocol::{AgentName, RunId, subjects};
use tokio::time::{Duration, Instant};
use tokio_util::sync::{CancellationToken, DropGuard};

type Letters = Arc<Mutex<Vec<PeerMessage>>>;
type Boxes = Arc<Mutex<PostOffice>>;

/// Letters that are kept for attempts which have not begun yet.
const MOST_EARLY: usize = 256;

#[derive(Debug, Default)]
struct PostOffice {
    boxes: HashMap<RunId, Vec<Letters>>,
    /// The latest letters, whoever they are for: an attempt that begins just then finds them.
    early: VecDeque<(RunId, PeerMessage)>,
}

impl PostOffice {
    fn deliver(&mut self, run: RunId, message: PeerMessage) {
        for letters in self.boxes.get(&run).into_iter().flatten() {
            let mut letters = letters.lock().unwrap_or_else(PoisonError::into_inner);
            letters.push(message.clone());
        }
        if self.early.len() == MOST_EARLY {
            self.early.pop_front();
        }
        self.early.push_back((run, message));
    }
}

/// Listens for messages to an agent, and puts them into the boxes of its running attempts.
#[derive(Debug)]
pub(super) struct Mail {
    boxes: Boxes,
    since: Instant,
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
                    Ok(message) => {
                        let mut office = known.lock().unwrap_or_else(PoisonError::into_inner);
                        office.deliver(run, message);
                    }
                    Err(error) => tracing::debug!(%error, %run, "this is no message"),
                }
            }
        });
        bus.flush().await;
        Ok(Self {
            boxes,
            since: Instant::now(),
            _listening: stop.drop_guard(),
        })
    }

    /// For how long it has listened: what was sent before is in the run's log alone.
    pub(super) fn age(&self) -> Duration {
        self.since.elapsed()
    }

    pub(super) fn watch(&self, run: RunId) -> Mailbox {
        let mut office = self.boxes.lock().unwrap_or_else(PoisonError::into_inner);
        let early = office.early.iter().filter(|(known, _)| *known == run);
        let early: Vec<PeerMessage> = early.map(|(_, message)| message.clone()).collect();
        let letters = Arc::new(Mutex::new(early));
        let of_run = office.boxes.entry(run).or_default();
        of_run.push(Arc::clone(&letters));
        Mailbox {
            boxes: Arc::clone(&self.boxes),
            run,
            letters,
        }
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
        let mut office = self.boxes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(of_run) = office.boxes.get_mut(&self.run) {
            of_run.retain(|letters| !Arc::ptr_eq(letters, &self.letters));
            if of_run.is_empty() {
                office.boxes.remove(&self.run);
            }
        }
    }
}
