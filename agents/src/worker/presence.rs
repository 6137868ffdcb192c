//! The card of an instance: registered with a coordinator, then written every heartbeat and when something changed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use swarm_bus::connection::RequestError;
use swarm_bus::work_loop::Shutdown;
use swarm_bus::{Bus, Outgoing, topology};
use swarm_protocol::card::{Card, Running, State};
use swarm_protocol::metrics as names;
use swarm_protocol::trace::TraceParent;
use swarm_protocol::{ErrorBody, Timestamp, headers, subjects};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::Options;

/// Changes are written at most this often.
const CHANGE_PAUSE: Duration = Duration::from_millis(500);

/// First pause between tries to register; it doubles up to the longest.
const REGISTER_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_REGISTER_PAUSE: Duration = Duration::from_secs(1);

/// A registration is waited for this long.
const REGISTER_TIMEOUT: Duration = Duration::from_secs(5);

/// The card, and who writes it.
#[derive(Debug, Clone)]
pub(super) struct Presence {
    card: Arc<Mutex<Card>>,
    changed: Arc<Notify>,
    registered: Arc<AtomicBool>,
}

/// A task on the card; leaves it when dropped.
#[derive(Debug)]
pub(super) struct Shown {
    presence: Presence,
    running: Running,
}

impl Presence {
    pub(super) fn new(options: &Options) -> Self {
        let profile = &options.profile;
        let now = Timestamp::now();
        let card = Card {
            agent: profile.agent.clone(),
            instance: options.instance.clone(),
            description: profile.description.clone(),
            model: profile.settings.model.clone(),
            capabilities: profile.capabilities.clone(),
            tools: profile.tools.names().map(str::to_owned).collect(),
            state: State::Ready,
            reason: None,
            unreachable: None,
            slots: options.slots,
            busy: 0,
            tasks: Vec::new(),
            host: options.host.clone(),
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            simulated: false,
            started_at: now,
            at: now,
        };
        Self {
            card: Arc::new(Mutex::new(card)),
            changed: Arc::new(Notify::new()),
            registered: Arc::default(),
        }
    }

    pub(super) fn set_simulated(&self, simulated: bool) {
        self.change(|card| card.simulated = simulated);
    }

    /// Says that no work is taken because model hosts do not answer. Whether that is news.
    pub(super) fn pause(&self, hosts: String, reason: String) -> bool {
        let news = self.lock().unreachable.is_none();
        self.change(|card| {
            card.unreachable = Some(hosts);
            card.reason = Some(reason);
        });
        news
    }

    /// Says that work is taken again.
    pub(super) fn resume(&self) {
        self.change(|card| {
            card.unreachable = None;
            card.reason = None;
        });
    }

    /// Whether a coordinator has taken this instance, and nothing keeps it from work.
    ///
    /// # Errors
    /// What it waits for.
    pub(super) fn readiness(&self) -> Result<(), String> {
        if !self.registered.load(Ordering::Relaxed) {
            return Err(
                "no coordinator has answered yet: start one with `swarm coordinator`".to_owned(),
            );
        }
        match &self.lock().reason {
            Some(reason) => Err(reason.clone()),
            None => Ok(()),
        }
    }

    /// Shows a task on the card while the guard lives.
    pub(super) fn show(&self, running: Running) -> Shown {
        self.change(|card| card.tasks.push(running.clone()));
        Shown {
            presence: self.clone(),
            running,
        }
    }

    /// Registers, then writes the card until the process ends. Returns only when the coordinator refuses this instance.
    pub(super) async fn keep(&self, bus: &Bus, shutdown: &Shutdown) -> ErrorBody {
        if let Err(refused) = self.register(bus).await {
            return refused;
        }
        self.registered.store(true, Ordering::Relaxed);
        let mut stopping = false;
        loop {
            self.write(bus).await;
            let written = Instant::now();
            tokio::select! {
                () = tokio::time::sleep(topology::HEARTBEAT) => {}
                () = self.changed.notified() => tokio::time::sleep_until(written + CHANGE_PAUSE).await,
                () = shutdown.stop.cancelled(), if !stopping => {
                    stopping = true;
                    self.change(|card| card.state = State::Draining);
                }
            }
        }
    }

    /// Takes the card away.
    pub(super) async fn leave(&self, bus: &Bus) {
        let card = self.snapshot();
        if let Err(error) = bus.remove_card(&card.agent, &card.instance).await {
            tracing::debug!(%error, "the card was not removed; it goes by its age");
        }
        bus.flush().await;
    }

    /// Tries until a coordinator answers: agents may start first. Work is taken meanwhile when the consumer is there.
    async fn register(&self, bus: &Bus) -> Result<(), ErrorBody> {
        let mut pause = REGISTER_PAUSE;
        loop {
            match self.try_register(bus).await {
                Ok(Some(refused)) => return Err(refused),
                Ok(None) => return Ok(()),
                Err(error) if pause == LONGEST_REGISTER_PAUSE => {
                    tracing::info!(%error, "waiting for a coordinator: start one with `swarm coordinator`");
                }
                Err(error) => tracing::debug!(%error, "not registered yet"),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_REGISTER_PAUSE);
        }
    }

    async fn try_register(&self, bus: &Bus) -> Result<Option<ErrorBody>, RequestError> {
        let request = Outgoing::json(subjects::REGISTER, &self.snapshot(), TraceParent::root())
            .map_err(|error| RequestError::NotSent {
                subject: subjects::REGISTER.to_owned(),
                detail: error.to_string(),
            })?;
        let reply = bus.request(request, REGISTER_TIMEOUT).await?;
        let status = reply
            .header(headers::ERROR_CODE)
            .and_then(|code| code.parse::<u16>().ok());
        match status {
            Some(403 | 409 | 429) => Ok(serde_json::from_slice(reply.payload()).ok()),
            Some(_) => Err(RequestError::NoResponders(subjects::REGISTER.to_owned())),
            None => Ok(None),
        }
    }

    async fn write(&self, bus: &Bus) {
        if let Err(error) = bus.put_card(&self.snapshot()).await {
            tracing::debug!(%error, "the card was not written");
        }
    }

    fn snapshot(&self) -> Card {
        let mut card = self.lock().clone();
        card.at = Timestamp::now();
        card
    }

    fn change(&self, change: impl FnOnce(&mut Card)) {
        {
            let mut card = self.lock();
            change(&mut card);
            card.busy = u32::try_from(card.tasks.len()).unwrap_or(u32::MAX);
            let agent = card.agent.to_string();
            metrics::gauge!(names::SLOTS_BUSY, "agent" => agent.clone()).set(card.busy);
            metrics::gauge!(names::SLOTS, "agent" => agent).set(card.slots);
            card.state = match card.state {
                State::Draining => State::Draining,
                _ if card.reason.is_some() => State::Paused,
                _ if card.busy >= card.slots => State::Busy,
                _ => State::Ready,
            };
        }
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Card> {
        self.card.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.presence.change(|card| {
            if let Some(at) = card.tasks.iter().position(|task| *task == self.running) {
                card.tasks.remove(at);
            }
        });
    }
}
