//! The coordinator: the hands of the run engine. It accepts submissions, dispatches work, follows journals and answers.
//!
//! This crate owns what is done because of an event, and the endpoints of the micro service `swarm`. It must not know what
//! an agent does, nor decide anything about a run itself: that is `workflow`.
//!
//! Any number of coordinators may run side by side: a CAS on the run's log makes one of them right, no leader does.
//!
//! Reading order: [`Coordinator`], then `log`, `runs` (transitions), `effects`, `submissions`, `journals`, `spans`, `index`,
//! `admission`, `endpoints`.

use std::sync::Arc;
use std::time::Duration;

use swarm_bus::connection::RequestError;
use swarm_bus::gate::{self, Gate};
use swarm_bus::inspect::Clock;
use swarm_bus::service::Service;
use swarm_bus::topology::{self, Settings, TopologyError};
use swarm_bus::watch::WatchError;
use swarm_bus::work_loop::{self, Shutdown};
use swarm_bus::{Bus, Delivery};
use swarm_protocol::submission::Budget;
use swarm_protocol::{AgentName, InstanceId};
use tokio_util::task::TaskTracker;
use uuid::Uuid;

mod admission;
mod cards;
mod deadlines;
mod effects;
mod endpoints;
mod index;
mod journals;
mod log;
mod runs;
mod spans;
mod store;
mod story;
mod submissions;
mod sweep;
mod team;

use admission::Admission;
use cards::Cards;
use index::Index;
use runs::Runs;
use store::Store;
use team::Roster;

/// Transitions that one coordinator works on at once, of submissions and of journals each.
const SLOTS: usize = 64;

/// With a clock that is further from the server's, deadlines would end runs that have only begun.
const WORST_CLOCK: Duration = Duration::from_secs(60);

/// What a coordinator is configured with.
#[derive(Debug, Clone)]
pub struct Options {
    /// This process.
    pub instance: InstanceId,
    /// The agents of the configuration, in its order.
    pub agents: Vec<AgentName>,
    /// Who gets a submission that names nobody; all agents but the summarizer when not set.
    pub default_agents: Option<Vec<AgentName>>,
    /// Who summarizes.
    pub summarizer: AgentName,
    /// From submission to end, when the submission says nothing.
    pub total: Duration,
    /// Longest wait of a task for a live instance of its agent, when the submission says nothing.
    pub queue: Duration,
    /// How often a task may be tried again after it failed.
    pub retries: u32,
    /// What a run may use, where the submission says nothing.
    pub budget: Budget,
    /// Runs that may be open at once; further submissions wait in the inbox.
    pub max_open: u64,
    /// Instances of agents that may be live at once.
    pub max_agents: u32,
    /// Streams and consumers.
    pub topology: Settings,
    /// How long running transitions may go on after the stop.
    pub drain: Duration,
}

/// Why a coordinator ended.
#[derive(Debug, thiserror::Error)]
pub enum CoordinatorError {
    /// The topology could not be applied.
    #[error("streams and consumers could not be set up")]
    Topology(#[from] TopologyError),
    /// The connection is closed for good.
    #[error("the connection to NATS is closed")]
    Bus(#[from] RequestError),
    /// The runs cannot be watched.
    #[error("the runs cannot be watched")]
    Watch(#[from] WatchError),
    /// This machine and the server disagree about the time.
    #[error("{0}; set the clock of the machine that is wrong, `timedatectl set-ntp true`")]
    Clock(Clock),
}

/// A coordinator that is ready to run.
pub struct Coordinator {
    shared: Arc<Shared>,
    service: Service,
}

/// What all parts of a coordinator share.
struct Shared {
    bus: Bus,
    options: Options,
    swarm_id: Uuid,
    roster: Roster,
    index: Index,
    cards: Cards,
    runs: Runs,
    store: Store,
    admission: Arc<Admission>,
    /// What goes on beside deliveries and calls: repeated signals.
    background: TaskTracker,
}

impl Coordinator {
    /// Applies the topology, fills the index, and begins to serve the endpoints.
    ///
    /// # Errors
    /// See [`CoordinatorError`].
    pub async fn start(bus: Bus, options: Options) -> Result<Self, CoordinatorError> {
        let (swarm_id, report) = bus.apply_topology(&options.topology).await?;
        log_report(&report);
        check_clock(&bus).await?;
        for agent in &options.agents {
            log_report(&bus.apply_work_consumer(agent, &options.topology).await?);
        }
        let roster = Roster::new(&options, bus.work_consumers().await?);
        let index = Index::default();
        index::follow(&bus, index.clone()).await?;
        let cards = Cards::follow(&bus).await?;
        let admission = Arc::new(Admission::new(options.max_open));
        let service = endpoints::serve(
            &bus,
            &options.instance,
            index.clone(),
            Arc::clone(&admission),
        )
        .await?;

        let shared = Arc::new(Shared {
            bus,
            options,
            swarm_id,
            roster,
            index,
            cards,
            runs: Runs::default(),
            store: Store::default(),
            admission,
            background: TaskTracker::new(),
        });
        shared.admit();
        Ok(Self { shared, service })
    }

    /// Whether this coordinator can work now; what it waits for otherwise.
    pub fn readiness(&self) -> impl Fn() -> Result<(), String> + Send + Sync + 'static {
        let (bus, index) = (self.shared.bus.clone(), self.shared.index.clone());
        move || {
            if !bus.is_connected() {
                Err("the connection to NATS is lost".to_owned())
            } else if index.is_current() {
                Ok(())
            } else {
                Err("it reads what it has missed".to_owned())
            }
        }
    }

    /// Works until the stop, then drains. Whether all transitions ended by themselves.
    ///
    /// # Errors
    /// When the connection is closed for good.
    pub async fn run(self, shutdown: Shutdown) -> Result<bool, CoordinatorError> {
        let Self { shared, service } = self;
        let submissions = consume(
            &shared,
            topology::INBOX,
            topology::SUBMIT_CONSUMER,
            shared.admission.gate(),
            &shutdown,
            submissions::accept,
        );
        let journals = consume(
            &shared,
            topology::RUNS,
            topology::JOURNAL_CONSUMER,
            gate::gate().1,
            &shutdown,
            journals::follow,
        );
        let calls = endpoints::answer(Arc::clone(&shared), service, shutdown.clone());
        let sweeping = sweep::run(Arc::clone(&shared), shutdown.clone());
        let looking = store::watch(Arc::clone(&shared), shutdown.clone());
        let admitting = admission::keep(Arc::clone(&shared), shutdown.clone());
        let deadlines = deadlines::keep(Arc::clone(&shared), shutdown.clone());
        let (submissions, journals, (), (), (), (), ()) = tokio::join!(
            submissions,
            journals,
            calls,
            sweeping,
            looking,
            admitting,
            deadlines
        );
        let clean = submissions? && journals?;
        shared.bus.flush().await;
        Ok(clean)
    }
}

async fn consume<F>(
    shared: &Arc<Shared>,
    stream: &'static str,
    consumer: &str,
    gate: Gate,
    shutdown: &Shutdown,
    work: fn(Arc<Shared>, Delivery) -> F,
) -> Result<bool, RequestError>
where
    F: Future<Output = ()> + Send + 'static,
{
    let options = work_loop::Options {
        stream,
        consumer: consumer.to_owned(),
        slots: SLOTS,
        drain: shared.options.drain,
        gate,
    };
    let for_work = Arc::clone(shared);
    let worked = work_loop::run(&shared.bus, options, shutdown.clone(), move |delivery| {
        work(Arc::clone(&for_work), delivery)
    })
    .await;
    if worked.is_err() {
        // The other loops would go on without this one.
        shutdown.stop.cancel();
    }
    worked
}

async fn check_clock(bus: &Bus) -> Result<(), CoordinatorError> {
    match bus.compare_clocks().await? {
        Some(clock) if clock.apart > WORST_CLOCK => Err(CoordinatorError::Clock(clock)),
        Some(clock) if !clock.is_in_step() => {
            tracing::warn!("{clock}");
            Ok(())
        }
        _ => Ok(()),
    }
}

fn log_report(report: &topology::Report) {
    for made in &report.created {
        tracing::info!(made, "created");
    }
    for updated in &report.updated {
        tracing::info!(updated, "updated");
    }
    for drift in &report.drift {
        tracing::warn!(
            drift,
            "differs from what this version wants, and is left as it is"
        );
    }
}
