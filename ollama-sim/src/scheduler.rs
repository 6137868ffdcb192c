//! Which models are in memory, and who may use them: Ollama's rules.
//!
//! A request for a model that is loaded as it wants goes to it at once, and waits there for a slot, in order and without
//! a bound. Any other waits in one line for all models until its model can be loaded: until the runner that has to make
//! room, or to be loaded in another way, is idle. Requests for that runner overtake it. The line is bounded: 503.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, mpsc, oneshot};

use crate::models::Model;
use crate::refusal::Refusal;
use crate::release::Release;

mod load;
mod runner;
mod state;

pub use load::Load;
pub use runner::Loaded;
pub use state::Counts;

use runner::Lease;
use state::{Placed, State};

/// The bounds of a server. 0 is no bound but for `queue`.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Requests that one model answers at a time.
    pub parallel: usize,
    /// Models in memory.
    pub loaded: usize,
    /// Requests in line for a load, besides the one that is next.
    pub queue: usize,
    /// How long a load takes where the model does not say.
    pub load: Duration,
    /// Whose words say that a runner is gone.
    pub release: Release,
}

/// The scheduler of one server.
#[derive(Debug)]
pub struct Scheduler {
    release: Release,
    shared: Arc<Shared>,
    line: mpsc::UnboundedSender<Pending>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// A runner may have become idle.
    changed: Notify,
    /// Slots whose clients left, and that nobody gets any more.
    lost: Mutex<Vec<Slot>>,
}

/// A request in line.
#[derive(Debug)]
struct Pending {
    model: Arc<Model>,
    load: Load,
    turn: oneshot::Sender<Lease>,
}

/// The right to be answered; the next in line has it when this is dropped.
#[derive(Debug)]
#[must_use = "dropping it lets the next request in"]
pub struct Slot {
    // In this order: the next request has the slot before the model counts as idle.
    _permit: Option<OwnedSemaphorePermit>,
    lease: Lease,
}

impl Slot {
    /// Waits until the runner is killed.
    pub async fn died(&self) {
        self.lease.died().await;
    }

    /// Stays taken until the runner is killed.
    pub fn lose(self) {
        let shared = Arc::clone(self.lease.shared());
        shared.state().count_lost_slot();
        shared.lost().push(self);
    }
}

impl Scheduler {
    /// A scheduler without models; its task runs until it is dropped.
    pub fn start(limits: Limits) -> Self {
        let shared = Arc::new(Shared {
            state: Mutex::new(State::new(limits)),
            changed: Notify::new(),
            lost: Mutex::default(),
        });
        let (line, pending) = mpsc::unbounded_channel();
        tokio::spawn(serve_line(Arc::clone(&shared), pending));
        Self {
            release: limits.release,
            shared,
            line,
        }
    }

    /// Waits until the model is loaded so and a slot of it free.
    ///
    /// # Errors
    /// 503: the line is full. 500: the runner was killed meanwhile.
    pub async fn slot(&self, model: &Arc<Model>, load: &Load) -> Result<Slot, Refusal> {
        let lease = self.lease(model, load).await?;
        let admitted = async {
            // The place in the line for slots is taken before the model is ready.
            let permit = lease.permit().await;
            lease.ready().await;
            permit
        };
        let permit = tokio::select! {
            // The slots of a dead runner are free all at once.
            biased;
            () = lease.died() => return Err(Refusal::no_runner(self.release)),
            permit = admitted => permit,
        };
        Ok(Slot {
            _permit: permit,
            lease,
        })
    }

    /// Waits until the model is loaded so.
    ///
    /// # Errors
    /// 503: the line is full.
    pub async fn load(&self, model: &Arc<Model>, load: &Load) -> Result<(), Refusal> {
        self.lease(model, load).await?.ready().await;
        Ok(())
    }

    /// Unloads the model as soon as it is idle.
    pub fn unload(&self, model: &Model) {
        self.shared.state().expire(&model.name);
        self.shared.changed.notify_one();
    }

    /// Kills what runs the models, as the system does when memory is short. Lost slots are free again.
    pub fn kill_runners(&self) {
        self.shared.state().kill();
        let lost = std::mem::take(&mut *self.shared.lost());
        drop(lost);
        self.shared.changed.notify_one();
    }

    /// The models in memory, the one that stays the longest first.
    pub fn loaded(&self) -> Vec<Loaded> {
        self.shared.state().loaded()
    }

    /// What happened so far.
    pub fn counts(&self) -> Counts {
        self.shared.state().counts()
    }

    /// Counts from the start again.
    pub fn reset_counts(&self) {
        self.shared.state().reset_counts();
    }

    async fn lease(&self, model: &Arc<Model>, load: &Load) -> Result<Lease, Refusal> {
        let (turn, mine) = oneshot::channel();
        let _in_line = {
            let mut state = self.shared.state();
            // Nobody who needs a load overtakes another one who does.
            let placed = if state.has_line() {
                state.join(model, load)
            } else {
                state.place(model, load)
            };
            if let Some(placed) = placed {
                drop(state);
                return Ok(self.shared.lease(placed));
            }
            if !state.enter_line() {
                return Err(Refusal::busy());
            }
            InLine(&self.shared)
        };
        let pending = Pending {
            model: Arc::clone(model),
            load: load.clone(),
            turn,
        };
        let gone = |_: &dyn std::error::Error| Refusal::internal("the scheduler is gone");
        self.line.send(pending).map_err(|error| gone(&error))?;
        mine.await.map_err(|error| gone(&error))
    }
}

/// Counts as a request in line until it is dropped, also when its client leaves.
struct InLine<'a>(&'a Arc<Shared>);

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        self.0.state().leave_line();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lost(&self) -> MutexGuard<'_, Vec<Slot>> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place, and starts the load if it needs one.
    fn lease(self: &Arc<Self>, placed: Placed) -> Lease {
        if let Some(time) = placed.load {
            let (shared, id) = (Arc::clone(self), placed.id);
            if time.is_zero() {
                shared.state().finish_load(id);
            } else {
                tokio::spawn(async move {
                    tokio::time::sleep(time).await;
                    shared.state().finish_load(id);
                    shared.changed.notify_one();
                });
            }
        }
        Lease::new(Arc::clone(self), placed)
    }
}

/// Serves the line: one request after the other, each when its model can be loaded. Those whose client left are
/// skipped.
async fn serve_line(shared: Arc<Shared>, mut line: mpsc::UnboundedReceiver<Pending>) {
    while let Some(mut pending) = line.recv().await {
        while !pending.turn.is_closed() {
            let placed = shared.state().place(&pending.model, &pending.load);
            if let Some(placed) = placed {
                // A client that leaves now gives its lease back by dropping it.
                drop(pending.turn.send(shared.lease(placed)));
                break;
            }
            tokio::select! {
                () = shared.changed.notified() => {}
                () = pending.turn.closed() => {}
            }
        }
    }
}
