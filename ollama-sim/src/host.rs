//! The served models with their state: free slots, and whether they are loaded.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::keep_alive::KeepAlive;
use crate::models::{self, Model};

/// All served models.
#[derive(Debug)]
pub struct Host {
    served: Vec<Served>,
}

/// One served model.
#[derive(Debug)]
pub struct Served {
    /// The facts about it.
    pub model: Model,
    slots: Option<Arc<Semaphore>>,
    loaded: Mutex<Option<Loaded>>,
}

/// A model in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loaded {
    /// When it will be unloaded unless it is used again.
    pub until: Timestamp,
    /// The window it was loaded with, in tokens.
    pub window: u64,
}

/// The right to be answered; the next in line has it when this is dropped.
#[derive(Debug)]
#[must_use = "dropping it lets the next request in"]
pub struct Slot {
    _permit: Option<OwnedSemaphorePermit>,
}

impl Host {
    /// Serves these models, each with `parallel` slots (0: no limit).
    pub fn new(models: Vec<Model>, parallel: usize) -> Self {
        let served = models.into_iter().map(|model| Served {
            model,
            slots: (parallel > 0)
                .then(|| Arc::new(Semaphore::new(parallel.min(Semaphore::MAX_PERMITS)))),
            loaded: Mutex::new(None),
        });
        Self {
            served: served.collect(),
        }
    }

    /// All models, in the order they were named.
    pub fn served(&self) -> &[Served] {
        &self.served
    }

    /// The model of this name, in any spelling that [`models::canonical`] knows.
    pub fn find(&self, name: &str) -> Option<&Served> {
        let name = models::canonical(name);
        self.served.iter().find(|served| served.model.name == name)
    }
}

impl Served {
    /// Waits, in order of arrival and without a bound, for one of the model's slots.
    pub async fn slot(&self) -> Slot {
        let permit = match &self.slots {
            // The semaphore is never closed, which would be the one error.
            Some(slots) => Arc::clone(slots).acquire_owned().await.ok(),
            None => None,
        };
        Slot { _permit: permit }
    }

    /// Loads the model, or keeps it loaded for so long again.
    pub fn load(&self, window: u64, keep_alive: KeepAlive) {
        let until = match keep_alive {
            KeepAlive::For(span) => Timestamp::now()
                .saturating_add(SignedDuration::try_from(span).unwrap_or(SignedDuration::MAX)),
            KeepAlive::Forever => Ok(Timestamp::MAX),
        };
        *self.loaded.lock().unwrap_or_else(PoisonError::into_inner) = Some(Loaded {
            until: until.unwrap_or(Timestamp::MAX),
            window,
        });
    }

    /// Unloads the model.
    pub fn unload(&self) {
        *self.loaded.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Whether and how the model is loaded at this moment.
    pub fn loaded(&self) -> Option<Loaded> {
        let loaded = *self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        loaded.filter(|loaded| loaded.until > Timestamp::now())
    }
}
