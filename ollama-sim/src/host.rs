//! The models that are served. Which of them are loaded is the scheduler's.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::models::{self, Model};

/// All served models, in the order they were named.
#[derive(Debug)]
pub struct Host {
    models: Mutex<Vec<Arc<Model>>>,
}

impl Host {
    /// Serves these models.
    pub fn new(models: Vec<Model>) -> Self {
        Self {
            models: Mutex::new(models.into_iter().map(Arc::new).collect()),
        }
    }

    /// All models.
    pub fn models(&self) -> Vec<Arc<Model>> {
        self.lock().clone()
    }

    /// The model of this name, in any spelling that [`models::canonical`] knows.
    pub fn find(&self, name: &str) -> Option<Arc<Model>> {
        let name = models::canonical(name);
        self.lock().iter().find(|model| model.name == name).cloned()
    }

    /// Serves one more model, unless there is one of its name.
    pub fn add(&self, model: Model) {
        let mut models = self.lock();
        if !models.iter().any(|known| known.name == model.name) {
            models.push(Arc::new(model));
        }
    }

    /// Serves this model, in place of one of its name.
    pub fn put(&self, model: Model) {
        let mut models = self.lock();
        models.retain(|known| known.name != model.name);
        models.push(Arc::new(model));
    }

    /// Serves it no more.
    pub fn remove(&self, name: &str) {
        self.lock().retain(|model| model.name != name);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Model>>> {
        self.models.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
