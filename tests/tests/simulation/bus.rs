//! The server: streams with sequences, compare-and-set and message ids, and durable consumers that hand out what is stored.
//!
//! What is stored survives everything. What is in flight does not: see [`crate::net`].

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::{Rc, Weak};

use swarm_protocol::journal::PeerMessage;
use swarm_protocol::{AgentName, RunId, Timestamp};

use crate::checker::Checker;
use crate::coordinator::commands::{Command, Reply};
use crate::faults::Fault;
use crate::scheduler::{Millis, ProcessId, Sim, Slot};

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

#[derive(Default)]
struct Stream {
    messages: BTreeMap<u64, Rc<Stored>>,
    by_subject: BTreeMap<String, Vec<u64>>,
    last: u64,
    /// Message ids, where they stand, and when they were seen.
    ids: BTreeMap<String, (u64, Millis)>,
}

impl Stream {
    /// Sequences on subjects, `*` and `>` at the end allowed, oldest first.
    fn on(&self, filter: &str) -> Vec<u64> {
        let Some(prefix) = filter.strip_suffix(['*', '>']) else {
            return self.by_subject.get(filter).cloned().unwrap_or_default();
        };
        let from = self.by_subject.range(prefix.to_owned()..);
        let under = from.take_while(|(subject, _)| subject.starts_with(prefix));
        let mut found: Vec<u64> = under.flat_map(|(_, seqs)| seqs.iter().copied()).collect();
        found.sort_unstable();
        found
    }

    fn remove(&mut self, seq: u64) {
        if let Some(gone) = self.messages.remove(&seq)
            && let Some(seqs) = self.by_subject.get_mut(&gone.subject)
        {
            seqs.retain(|other| *other != seq);
        }
    }
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

struct Consumer {
    settings: ConsumerSettings,
    /// What was never handed out.
    fresh: VecDeque<u64>,
    /// What is to be handed out again.
    again: BTreeSet<u64>,
    /// What somebody holds: which hand-over, and who.
    held: BTreeMap<u64, (u64, Holder)>,
    deliveries: BTreeMap<u64, u64>,
    pulls: VecDeque<Pull>,
}

#[derive(Clone)]
struct Holder {
    process: ProcessId,
    /// Gone when the delivery was dropped.
    token: Weak<()>,
}

struct Pull {
    process: ProcessId,
    to: Slot<Delivery>,
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

/// Something that is said and not stored.
#[derive(Debug, Clone)]
pub enum Signal {
    /// A run is being canceled.
    Cancel(RunId),
    /// A message to an agent of a run.
    Peer(RunId, AgentName, PeerMessage),
}

/// What a client asks of a coordinator, and where the answer goes.
#[derive(Clone)]
pub struct Call {
    /// About which run.
    pub run: RunId,
    /// What is asked.
    pub command: Command,
    /// The answer.
    pub reply: Slot<Reply>,
}

/// Who hears of stored events.
type Watcher = Rc<dyn Fn(&Stored)>;
type Subscriber = Rc<dyn Fn(Signal)>;
type Service = Rc<dyn Fn(Call)>;

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

    /// Makes a durable consumer.
    pub fn add_consumer(&self, name: &str, settings: ConsumerSettings) {
        let consumer = Consumer {
            settings,
            fresh: VecDeque::new(),
            again: BTreeSet::new(),
            held: BTreeMap::new(),
            deliveries: BTreeMap::new(),
            pulls: VecDeque::new(),
        };
        self.inner
            .borrow_mut()
            .consumers
            .insert(name.to_owned(), consumer);
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

    /// Tells a process of each event that is stored from now on, some time after that; nothing is lost on this way, but
    /// it may take long. What is stored already, it reads.
    pub fn watch(&self, process: ProcessId, watcher: Watcher) {
        self.inner.borrow_mut().watchers.push((process, watcher));
    }

    /// A process hears what is said from now on.
    pub fn subscribe(&self, process: ProcessId, subscriber: Subscriber) {
        self.inner
            .borrow_mut()
            .subscribers
            .push((process, subscriber));
    }

    /// Says something to whoever listens; it may miss each of them.
    pub fn say(&self, signal: &Signal) {
        if self.is_away() {
            return;
        }
        let subscribers = {
            let mut inner = self.inner.borrow_mut();
            inner
                .subscribers
                .retain(|(process, _)| self.sim.is_alive(*process));
            inner.subscribers.clone()
        };
        for (_, subscriber) in subscribers {
            if !self.sim.fault(Fault::SignalLost) {
                let signal = signal.clone();
                self.sim
                    .later(crate::net::trip(&self.sim), move || subscriber(signal));
            }
        }
    }

    /// A process answers calls from now on, one of those that do.
    pub fn serve_calls(&self, process: ProcessId, service: Service) {
        self.inner.borrow_mut().services.push((process, service));
    }

    /// Passes a call on to one of the processes that answer calls.
    pub fn call(&self, call: Call) {
        let service = {
            let mut inner = self.inner.borrow_mut();
            inner
                .services
                .retain(|(process, _)| self.sim.is_alive(*process));
            if inner.services.is_empty() {
                return;
            }
            Rc::clone(&self.sim.pick(&inner.services).1)
        };
        service(call);
    }

    fn tell_watchers(&self, stored: &Rc<Stored>) {
        let watchers = {
            let mut inner = self.inner.borrow_mut();
            inner
                .watchers
                .retain(|(process, _)| self.sim.is_alive(*process));
            inner.watchers.clone()
        };
        for (_, watcher) in watchers {
            let (stored, delay) = (Rc::clone(stored), crate::net::trip(&self.sim));
            self.sim.later(delay, move || watcher(&stored));
        }
    }

    /// A process takes the next message of a consumer.
    pub fn pull(&self, consumer: &str, process: ProcessId, to: Slot<Delivery>) {
        let pull = Pull { process, to };
        self.with(consumer, |consumer| consumer.pulls.push_back(pull));
        self.serve(consumer);
    }

    /// A delivery is done.
    pub fn ack(&self, consumer: &str, seq: u64) {
        let mut inner = self.inner.borrow_mut();
        let known = inner.consumers.get_mut(consumer).unwrap();
        known.held.remove(&seq);
        known.again.remove(&seq);
        let stream = known.settings.stream;
        if stream.is_work_queue() {
            inner.streams.get_mut(&stream).unwrap().remove(seq);
        }
    }

    /// A delivery comes back after a pause, to whoever is free.
    pub fn nak(&self, consumer: &str, seq: u64, delivery: u64, pause: Millis) {
        let is_current = self.with(consumer, |known| {
            let current = known
                .held
                .get(&seq)
                .is_some_and(|(held, _)| *held == delivery);
            if current {
                // Held by nobody until the pause is over.
                known.held.remove(&seq);
            }
            current
        });
        if is_current {
            let (server, name) = (self.clone(), consumer.to_owned());
            self.sim
                .later(pause, move || server.hand_out_again(&name, seq));
        }
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

    fn with<T>(&self, consumer: &str, f: impl FnOnce(&mut Consumer) -> T) -> T {
        f(self.inner.borrow_mut().consumers.get_mut(consumer).unwrap())
    }

    fn hand_out_again(&self, consumer: &str, seq: u64) {
        let mut inner = self.inner.borrow_mut();
        let known = inner.consumers.get(consumer).unwrap();
        let is_stored = inner.streams[&known.settings.stream]
            .messages
            .contains_key(&seq);
        if is_stored {
            inner.consumers.get_mut(consumer).unwrap().again.insert(seq);
        }
        drop(inner);
        self.serve(consumer);
    }

    fn serve_all(&self) {
        let names: Vec<String> = self.inner.borrow().consumers.keys().cloned().collect();
        names.iter().for_each(|name| self.serve(name));
    }

    /// Hands out what there is to those who wait for it.
    fn serve(&self, consumer: &str) {
        while !self.is_away() {
            let handed = self.with(consumer, |known| {
                if known.pulls.is_empty() {
                    return None;
                }
                let again_first = known.fresh.is_empty() || self.sim.chance(500);
                let seq = match known.again.first().copied().filter(|_| again_first) {
                    Some(seq) => {
                        known.again.remove(&seq);
                        seq
                    }
                    None => known.fresh.pop_front()?,
                };
                let delivery = known.deliveries.entry(seq).or_default();
                *delivery += 1;
                Some((
                    known.pulls.pop_front()?,
                    seq,
                    *delivery,
                    known.settings.stream,
                ))
            });
            let Some((pull, seq, delivery, stream)) = handed else {
                return;
            };
            let message = self.inner.borrow().streams[&stream]
                .messages
                .get(&seq)
                .cloned();
            if let Some(message) = message {
                self.hand_over(consumer, pull, message, delivery);
            }
        }
    }

    fn hand_over(&self, consumer: &str, pull: Pull, message: Rc<Stored>, delivery: u64) {
        let token = Rc::new(());
        let (seq, process) = (message.seq, pull.process);
        let holder = Holder {
            process,
            token: Rc::downgrade(&token),
        };
        let ack_wait = self.with(consumer, |known| {
            known.held.insert(seq, (delivery, holder));
            known.settings.ack_wait
        });
        self.watch_over(consumer, seq, delivery, ack_wait);
        let name = consumer.to_owned();
        let server = self.clone();
        if self.sim.is_alive(process) && self.sim.fault(Fault::DeliveryLost) {
            // The requester asks again when its pull has come to nothing.
            self.sim
                .later(5_000, move || server.pull(&name, process, pull.to));
            return;
        }
        let handed = Delivery {
            consumer: name,
            message,
            delivery,
            token,
        };
        self.sim.later(crate::net::trip(&self.sim), move || {
            // The server learns of a requester's death some time later: what it hands over meanwhile arrives nowhere.
            if server.sim.is_alive(process) {
                pull.to.fill(handed);
            }
        });
    }

    /// Hands a delivery out again when its holder is silent for too long.
    fn watch_over(&self, consumer: &str, seq: u64, delivery: u64, after: Millis) {
        let (server, name) = (self.clone(), consumer.to_owned());
        self.sim
            .later(after, move || server.look_after(&name, seq, delivery));
    }

    fn look_after(&self, consumer: &str, seq: u64, delivery: u64) {
        let held = self.with(consumer, |known| {
            let (current, holder) = known.held.get(&seq).cloned()?;
            (current == delivery).then_some((holder, known.settings.ack_wait))
        });
        let Some((holder, ack_wait)) = held else {
            return;
        };
        let lives = self.sim.is_alive(holder.process) && holder.token.strong_count() > 0;
        let silent = self.sim.frozen_since(holder.process);
        let silent_for = silent.map_or(0, |since| self.sim.now() - since);
        if lives && silent_for < ack_wait * 2 / 3 && !self.sim.fault(Fault::ProgressLost) {
            let next = if silent_for > 0 {
                ack_wait / 3
            } else {
                ack_wait
            };
            return self.watch_over(consumer, seq, delivery, next);
        }
        self.with(consumer, |known| known.held.remove(&seq));
        self.hand_out_again(consumer, seq);
    }
}
