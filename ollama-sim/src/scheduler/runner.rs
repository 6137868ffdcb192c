//! One model in memory.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::state::Placed;
use super::{Load, Shared};
use crate::keep_alive::KeepAlive;
use crate::models::Model;

/// One model in memory, or on its way there.
#[derive(Debug)]
pub(super) struct Runner {
    pub id: u64,
    pub model: Arc<Model>,
    pub load: Load,
    /// None: no bound.
    pub slots: Option<Arc<Semaphore>>,
    pub ready: watch::Sender<bool>,
    pub dead: watch::Sender<bool>,
    /// Requests that use it or wait for one of its slots.
    pub leases: usize,
    /// When it goes if it is idle.
    pub until: Timestamp,
}

/// A model in memory, as `/api/ps` tells.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The model.
    pub model: Arc<Model>,
    /// The window it was loaded with, in tokens.
    pub window: u64,
    /// When it will be unloaded unless it is used again.
    pub until: Timestamp,
}

/// The use of a runner: it stays in memory until this is dropped.
#[derive(Debug)]
pub(super) struct Lease {
    shared: Arc<Shared>,
    id: u64,
    slots: Option<Arc<Semaphore>>,
    ready: watch::Receiver<bool>,
    dead: watch::Receiver<bool>,
}

impl Runner {
    pub fn new(id: u64, model: Arc<Model>, load: Load, parallel: usize) -> Self {
        let slots = parallel.min(Semaphore::MAX_PERMITS);
        Self {
            id,
            model,
            until: until(load.keep_alive),
            load,
            slots: (slots > 0).then(|| Arc::new(Semaphore::new(slots))),
            ready: watch::Sender::new(false),
            dead: watch::Sender::new(false),
            leases: 0,
        }
    }

    /// Whether it can be taken away.
    pub fn is_idle(&self) -> bool {
        self.leases == 0 && *self.ready.borrow()
    }

    /// Stays for as long as it is to stay, from now on.
    pub fn touch(&mut self) {
        self.until = until(self.load.keep_alive);
    }
}

fn until(keep_alive: KeepAlive) -> Timestamp {
    let span = match keep_alive {
        KeepAlive::For(span) => SignedDuration::try_from(span).unwrap_or(SignedDuration::MAX),
        KeepAlive::Forever => return Timestamp::MAX,
    };
    Timestamp::now()
        .saturating_add(span)
        .unwrap_or(Timestamp::MAX)
}

impl Lease {
    pub fn new(shared: Arc<Shared>, placed: Placed) -> Self {
        Self {
            shared,
            id: placed.id,
            slots: placed.slots,
            ready: placed.ready,
            dead: placed.dead,
        }
    }

    /// Waits for a slot, in order of arrival.
    pub async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        // The semaphore is never closed, which would be the one error.
        Arc::clone(self.slots.as_ref()?).acquire_owned().await.ok()
    }

    /// Waits until the model is loaded.
    pub async fn ready(&self) {
        // A runner that is gone was loaded before: a lease keeps it until then.
        self.ready
            .clone()
            .wait_for(|ready| *ready)
            .await
            .map(|_| ())
            .unwrap_or_default();
    }

    /// Waits until the runner is killed.
    pub async fn died(&self) {
        if self.dead.clone().wait_for(|dead| *dead).await.is_err() {
            // It was unloaded, alive.
            std::future::pending::<()>().await;
        }
    }

    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.shared.state().give_back(self.id);
        self.shared.changed.notify_one();
    }
}
