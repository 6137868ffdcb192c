//! The server: streams with sequences, compare-and-set and message ids, and durable consumers that hand out what is stored.
//!
//! What is stored survives everything. What is in flight does not: see [`crate::net`].

mod consumers;
mod said;
mod stream;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use swarm_protocol::Timestamp;

use crate::checker::Checker;
use crate::faults::Fault;
use crate::scheduler::{Millis, ProcessId, Sim};
use consumers::Consumer;
use said::{Service, Subscriber, Watcher};
use stream::Stream;

pub use said::{Call, Signal};

/// How long message ids are known, in milliseconds: `duplicate_window` of the real streams.
pub const DUPLICATE_WINDOW: Millis = 600_000;

/// A stream of the topology.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StreamName {
    /// Submissions, until they are taken.
    Inbox,
    /// Run logs and journals.
    Runs,
    /// Attempts, until they have ended.
    Work,
    /// Dead letters.
    Dead,
}

impl StreamName {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Inbox => "SWARM_INBOX",
            Self::Runs => "SWARM_RUNS",
            Self::Work => "SWARM_WORK",
            Self::Dead => "SWARM_DEAD",
        }
    }

    /// Whether what is acknowledged is gone.
    const fn is_work_queue(self) -> bool {
        matches!(self, Self::Inbox | Self::Work)
    }
}

/// A message that is to be stored.
#[derive(Debug, Clone)]
pub struct Message {
    /// Where.
    pub stream: StreamName,
    /// Its subject.
    pub subject: String,
    /// Its payload.
    pub payload: Rc<[u8]>,
    /// The header `Swarm-Summary`, of events.
    pub summary: Option<String>,
    /// `Nats-Msg-Id`.
    pub id: Option<String>,
    /// The last sequence that is expected on these subjects.
    pub expect: Option<(String, u64)>,
}

/// A message as it stands in its stream.
#[derive(Debug, Clone)]
pub struct Stored {
    /// Where it stands.
    pub seq: u64,
    /// Its subject.
    pub subject: String,
    /// Its payload.
    pub payload: Rc<[u8]>,
    /// The header `Swarm-Summary`, of events.
    pub summary: Option<String>,
    /// `Nats-Msg-Id`.
    pub id: Option<String>,
    /// When it was stored.
    pub stored_at: Timestamp,
}

/// Why a message was not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Something else stands there already.
    Wrong,
    /// The stream takes nothing now.
    Full,
}

/// What a durable consumer hands out.
pub struct ConsumerSettings {
    /// Of which stream.
    pub stream: StreamName,
    /// Which subjects.
    pub takes: Box<dyn Fn(&str) -> bool>,
    /// How long a delivery may be silent.
    pub ack_wait: Millis,
}

/// One hand-over of a stored message.
pub struct Delivery {
    /// By which consumer.
    pub consumer: String,
    /// The message.
    pub message: Rc<Stored>,
    /// Which hand-over this is, from 1.
    pub delivery: u64,
    /// As long as it is kept, the server hears that it is being worked on.
    pub token: Rc<()>,
}

/// The server; cheap to clone.
#[derive(Clone)]
pub struct Server {
    sim: Sim,
    inner: Rc<RefCell<Inner>>,
    checker: Rc<RefCell<Checker>>,
}

struct Inner {
    streams: BTreeMap<StreamName, Stream>,
    consumers: BTreeMap<String, Consumer>,
    watchers: Vec<(ProcessId, Watcher)>,
    subscribers: Vec<(ProcessId, Subscriber)>,
    services: Vec<(ProcessId, Service)>,
    away_until: Millis,
}

impl Server {
    /// An empty store. The checker sees each message that is stored.
    pub fn new(sim: &Sim, checker: &Rc<RefCell<Checker>>) -> Self {
        let names = [
            StreamName::Inbox,
            StreamName::Runs,
            StreamName::Work,
            StreamName::Dead,
        ];
        Self {
            sim: sim.clone(),
            inner: Rc::new(RefCell::new(Inner {
                streams: names.map(|name| (name, Stream::default())).into(),
                consumers: BTreeMap::new(),
                watchers: Vec::new(),
                subscribers: Vec::new(),
                services: Vec::new(),
                away_until: 0,
            })),
            checker: Rc::clone(checker),
        }
    }

    /// Whether it answers nobody now.
    pub fn is_away(&self) -> bool {
        self.sim.now() < self.inner.borrow().away_until
    }

    /// Is killed, and is there again after a while. Of messages that are gone, it has forgotten the ids.
    pub fn go_away(&self, span: Millis) {
        {
            let mut inner = self.inner.borrow_mut();
            inner.away_until = self.sim.now() + span;
            for stream in inner.streams.values_mut() {
                let messages = &stream.messages;
                let known = stream.ids.len();
                stream.ids.retain(|_, (seq, _)| messages.contains_key(seq));
                if stream.ids.len() < known {
                    self.sim.count(Fault::IdsForgotten);
                }
            }
        }
        let back = self.clone();
        self.sim.later(span, move || back.serve_all());
    }

    /// Stores a message, unless it is expected elsewhere. Where it stands.
    pub fn store(&self, message: &Message) -> Result<u64, Refusal> {
        if self.sim.fault(Fault::Full) {
            return Err(Refusal::Full);
        }
        let now = self.sim.now();
        let stored = {
            let mut inner = self.inner.borrow_mut();
            let stream = inner.streams.get_mut(&message.stream).unwrap();
            if let Some(id) = &message.id {
                let known = stream.ids.get(id);
                if let Some((seq, _)) = known.filter(|(_, at)| now < at + DUPLICATE_WINDOW) {
                    return Ok(*seq);
                }
            }
            if let Some((filter, expected)) = &message.expect
                && stream.on(filter).last().copied().unwrap_or_default() != *expected
            {
                self.sim
                    .trace(|| format!("server refuses {}", message.subject));
                return Err(Refusal::Wrong);
            }
            stream.last += 1;
            let stored = Rc::new(Stored {
                seq: stream.last,
                subject: message.subject.clone(),
                payload: Rc::clone(&message.payload),
                summary: message.summary.clone(),
                id: message.id.clone(),
                stored_at: self.sim.server_time(),
            });
            stream.messages.insert(stored.seq, Rc::clone(&stored));
            let on_subject = stream.by_subject.entry(stored.subject.clone());
            on_subject.or_default().push(stored.seq);
            if let Some(id) = &message.id {
                stream.ids.insert(id.clone(), (stored.seq, now));
            }
            for consumer in inner.consumers.values_mut() {
                let settings = &consumer.settings;
                if settings.stream == message.stream && (settings.takes)(&stored.subject) {
                    consumer.fresh.push_back(stored.seq);
                }
            }
            stored
        };
        self.sim.trace(|| {
            let stream = message.stream.as_str();
            format!("server stores {stream} {} {}", stored.seq, stored.subject)
        });
        self.checker
            .borrow_mut()
            .see(&self.sim, message.stream, &stored);
        if message.stream == StreamName::Runs && stored.summary.is_some() {
            self.tell_watchers(&stored);
        }
        self.serve_all();
        Ok(stored.seq)
    }

    /// All that stands on these subjects of a stream, oldest first.
    pub fn read(&self, stream: StreamName, filter: &str) -> Vec<Rc<Stored>> {
        let inner = self.inner.borrow();
        let stream = &inner.streams[&stream];
        let found = stream.on(filter).into_iter();
        found.map(|seq| Rc::clone(&stream.messages[&seq])).collect()
    }

    /// The last message on these subjects of the run stream.
    pub fn last_of_runs(&self, filter: &str) -> Option<Rc<Stored>> {
        let inner = self.inner.borrow();
        let stream = &inner.streams[&StreamName::Runs];
        let last = *stream.on(filter).last()?;
        Some(Rc::clone(&stream.messages[&last]))
    }

    /// What waits to be handed out, or is held.
    pub fn backlog(&self) -> usize {
        let inner = self.inner.borrow();
        let consumers = inner.consumers.values();
        let left = consumers.map(|known| known.fresh.len() + known.again.len() + known.held.len());
        left.sum()
    }

    /// Forgets everything, so that nothing holds anything else any more.
    pub fn close(&self) {
        let mut inner = self.inner.borrow_mut();
        inner.watchers.clear();
        inner.subscribers.clear();
        inner.services.clear();
        inner.consumers.clear();
    }
}
