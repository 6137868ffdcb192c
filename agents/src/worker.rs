//! The worker: takes attempts of one agent from the bus, and works on them until it is stopped.

use std::sync::Arc;
use std::time::Duration;

use swarm_bus::work_loop::{self, Shutdown};
use swarm_bus::{Bus, topology};
use swarm_model::ChatModel;
use swarm_protocol::{AgentName, InstanceId};
use swarm_tools::Toolset;

use crate::agent_loop::Settings;

mod attempt;
mod cancels;
mod chunks;
mod circuit;
mod mail;
mod presence;
mod spans;

use cancels::Cancels;
use circuit::Circuit;
use mail::Mail;
use presence::Presence;

/// What an agent is: role and configuration together.
#[derive(Debug, Clone)]
pub struct Profile {
    /// Its name.
    pub agent: AgentName,
    /// What it is good for.
    pub description: String,
    /// What it can do.
    pub capabilities: Vec<String>,
    /// How it thinks.
    pub settings: Settings,
    /// What it may call.
    pub tools: Toolset,
}

/// How a worker runs.
#[derive(Debug, Clone)]
pub struct Options {
    /// The agent.
    pub profile: Profile,
    /// This process.
    pub instance: InstanceId,
    /// The machine, as the card shows it.
    pub host: String,
    /// Tasks at once.
    pub slots: u32,
    /// How long running tasks may go on after the stop.
    pub drain: Duration,
    /// Longest attempt.
    pub attempt_deadline: Duration,
    /// How long the server waits for a sign of life; one is sent three times as often.
    pub work_ack_wait: Duration,
}

/// Why a worker ended.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The connection is closed for good.
    #[error("the connection to NATS is closed")]
    Bus(#[from] swarm_bus::connection::RequestError),
    /// The coordinators do not take this instance.
    #[error("the coordinator refused this instance: {0}")]
    Refused(swarm_protocol::ErrorBody),
}

/// A worker of one agent.
pub struct Worker {
    bus: Bus,
    model: Arc<dyn ChatModel>,
    options: Options,
    presence: Presence,
}

/// What all attempts of a worker share.
struct Shared {
    bus: Bus,
    model: Arc<dyn ChatModel>,
    options: Options,
    presence: Presence,
    cancels: Cancels,
    mail: Mail,
    circuit: Circuit,
    shutdown: Shutdown,
}

impl Worker {
    /// A worker that is not running yet.
    #[must_use]
    pub fn new(bus: Bus, model: Arc<dyn ChatModel>, options: Options) -> Self {
        let presence = Presence::new(&options);
        Self {
            bus,
            model,
            options,
            presence,
        }
    }

    /// Whether this worker can work now; what it waits for otherwise.
    pub fn readiness(&self) -> impl Fn() -> Result<(), String> + Send + Sync + 'static {
        let (presence, bus) = (self.presence.clone(), self.bus.clone());
        move || {
            if bus.is_connected() {
                presence.readiness()
            } else {
                Err("the connection to NATS is lost".to_owned())
            }
        }
    }

    /// Takes attempts until the stop, then drains. Whether all of them ended by themselves.
    ///
    /// # Errors
    /// When the connection is closed for good, or the coordinator refuses this instance.
    pub async fn run(self, shutdown: Shutdown) -> Result<bool, WorkerError> {
        let Self {
            bus,
            model,
            options,
            presence,
        } = self;
        let cancels = Cancels::listen(&bus).await?;
        let mail = Mail::listen(&bus, &options.profile.agent).await?;
        let circuit = Circuit::new();
        let loop_options = work_loop::Options {
            stream: topology::WORK,
            consumer: options.profile.agent.to_string(),
            slots: usize::try_from(options.slots).unwrap_or(1).max(1),
            drain: options.drain,
            gate: circuit.gate(),
        };
        let (looking_at, name) = (Arc::clone(&model), options.profile.settings.model.clone());
        let shared = Arc::new(Shared {
            bus: bus.clone(),
            model,
            options,
            presence: presence.clone(),
            cancels,
            mail,
            circuit: circuit.clone(),
            shutdown: shutdown.clone(),
        });
        let working = work_loop::run(&bus, loop_options, shutdown.clone(), move |delivery| {
            attempt::work_on(Arc::clone(&shared), delivery)
        });
        // Before any work is taken, and before the card is shown.
        circuit.look(&*looking_at, &name, &presence).await;
        let watching = circuit.keep(&*looking_at, &name, &presence, &shutdown);
        let loading = warm_up(&*looking_at, &name, &shutdown);
        let working = async { tokio::join!(working, watching, loading).0 };
        tokio::pin!(working);
        let clean = tokio::select! {
            clean = &mut working => clean?,
            refused = presence.keep(&bus, &shutdown) => {
                // What it has taken meanwhile goes back before it leaves.
                shutdown.stop.cancel();
                shutdown.hand_back.cancel();
                working.await?;
                return Err(WorkerError::Refused(refused));
            }
        };
        presence.leave(&bus).await;
        Ok(clean)
    }
}

/// Has the model loaded before the first task needs it. A task that comes meanwhile waits for the slot, and asks itself
/// when this fails.
async fn warm_up(model: &dyn ChatModel, name: &str, shutdown: &Shutdown) {
    let loading = shutdown.stop.run_until_cancelled(model.warm_up(name));
    if let Some(Err(error)) = loading.await {
        tracing::debug!(%error, "the model is not loaded yet");
    }
}
