//! Watching a run: its events without a gap, from the first to the last, and the chunks of its tasks as they come.

use std::collections::VecDeque;
use std::time::Duration;

use swarm_bus::{Bus, Incoming, Kind, Subscription};
use swarm_protocol::chunk::Chunk;
use swarm_protocol::error::chain;
use swarm_protocol::event::{Body, Event};
use swarm_protocol::version::{self, Unread};
use swarm_protocol::{RunId, TaskId, headers, subjects};

use crate::ClientError;

/// A watch looks into the log this often when it hears nothing: what the server sends live may be lost.
const QUIET: Duration = Duration::from_secs(5);

/// Something new about a run.
#[derive(Debug, Clone, PartialEq)]
pub enum Update {
    /// The next event of its log.
    Event(Box<Event>),
    /// A piece of what a task writes. Pieces may be missing, and are not repeated for those who join late.
    Chunk {
        /// The task.
        task: TaskId,
        /// The piece.
        chunk: Chunk,
    },
}

/// The events and chunks of one run, to its end.
///
/// Events come live by `swarm.event.<run>`; what came before, and what was lost on the way (the server says in
/// `Nats-Last-Sequence` what precedes a message), is read from the log.
#[derive(Debug)]
pub struct Watch {
    bus: Bus,
    run: RunId,
    events: Subscription,
    chunks: Subscription,
    ready: VecDeque<Event>,
    /// Sequence of the last event seen.
    seen: u64,
    ended: bool,
}

impl Watch {
    pub(crate) async fn open(bus: &Bus, run: RunId) -> Result<Self, ClientError> {
        let closed = ClientError::NoCoordinator;
        // Subscribed first, read afterwards: nothing falls between.
        let events = bus.subscribe(&subjects::event(run)).await.map_err(closed)?;
        let chunks = bus
            .subscribe(&subjects::out_of_run(run))
            .await
            .map_err(closed)?;
        bus.flush().await;
        let mut watch = Self {
            bus: bus.clone(),
            run,
            events,
            chunks,
            ready: VecDeque::new(),
            seen: 0,
            ended: false,
        };
        watch.catch_up().await?;
        Ok(watch)
    }

    /// The next event or chunk; nothing after the run's last event. Cancel-safe.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn next(&mut self) -> Result<Option<Update>, ClientError> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                self.ended |=
                    event.body.result().is_some() || matches!(event.body, Body::Deleted(_));
                return Ok(Some(Update::Event(Box::new(event))));
            }
            if self.ended {
                return Ok(None);
            }
            tokio::select! {
                // Chunks of a task come before the event that ends it.
                biased;
                message = self.chunks.next() => match message {
                    Some(message) => if let Some(update) = read_chunk(&message) {
                        return Ok(Some(update));
                    },
                    None => return Ok(None),
                },
                message = self.events.next() => match message {
                    Some(message) => self.take(&message).await?,
                    None => return Ok(None),
                },
                () = tokio::time::sleep(QUIET) => self.catch_up().await?,
            }
        }
    }

    async fn take(&mut self, message: &Incoming) -> Result<(), ClientError> {
        let number = |name: &'static str| {
            message
                .last_header(name)
                .and_then(|value| value.parse::<u64>().ok())
        };
        let (Some(seq), before) = (
            number(headers::SEQUENCE),
            number(headers::LAST_SEQUENCE).unwrap_or(0),
        ) else {
            return Ok(());
        };
        if seq <= self.seen {
            return Ok(());
        }
        if before != self.seen {
            return self.catch_up().await;
        }
        self.seen = seq;
        if message.kind() == Kind::Event {
            self.ready.extend(read_event(message.payload())?);
        }
        Ok(())
    }

    async fn catch_up(&mut self) -> Result<(), ClientError> {
        let stored = self
            .bus
            .read_runs(&subjects::run_log(self.run), self.seen + 1)
            .await?;
        for message in stored {
            self.seen = message.seq;
            if message.kind == Kind::Event {
                self.ready.extend(read_event(&message.payload)?);
            }
        }
        Ok(())
    }
}

/// The events of a run so far.
pub(crate) async fn read_log(bus: &Bus, run: RunId) -> Result<Vec<Event>, ClientError> {
    let stored = bus.read_runs(&subjects::run_log(run), 1).await?;
    let mut events = Vec::with_capacity(stored.len());
    for message in stored.iter().filter(|message| message.kind == Kind::Event) {
        events.extend(read_event(&message.payload)?);
    }
    Ok(events)
}

/// Nothing for an event of a type that came after this build: a watcher decides nothing, and passes it over.
fn read_event(payload: &[u8]) -> Result<Option<Event>, ClientError> {
    match version::read(payload) {
        Ok(event) => Ok(Some(event)),
        Err(Unread::Later(error)) => {
            tracing::debug!(%error, "an event of a later version was passed over");
            Ok(None)
        }
        Err(unread) => Err(ClientError::Garbled(format!(
            "an event: {}",
            chain(&unread)
        ))),
    }
}

fn read_chunk(message: &Incoming) -> Option<Update> {
    let task = subjects::task_of_out(message.subject())?;
    let chunk = serde_json::from_slice(message.payload()).ok()?;
    Some(Update::Chunk { task, chunk })
}
