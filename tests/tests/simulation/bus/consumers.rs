//! Durable consumers: what is stored is handed out, to one at a time, until somebody has acknowledged it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::{Rc, Weak};

use super::{ConsumerSettings, Delivery, Server, Stored};
use crate::faults::Fault;
use crate::scheduler::{Millis, ProcessId, Slot};

/// A consumer, and what it has handed out.
pub(super) struct Consumer {
    pub(super) settings: ConsumerSettings,
    /// What was never handed out.
    pub(super) fresh: VecDeque<u64>,
    /// What is to be handed out again.
    pub(super) again: BTreeSet<u64>,
    /// What somebody holds: which hand-over, and who.
    pub(super) held: BTreeMap<u64, (u64, Holder)>,
    deliveries: BTreeMap<u64, u64>,
    pulls: VecDeque<Pull>,
}

/// Who holds a delivery.
#[derive(Clone)]
pub(super) struct Holder {
    process: ProcessId,
    /// Gone when the delivery was dropped.
    token: Weak<()>,
}

struct Pull {
    process: ProcessId,
    to: Slot<Delivery>,
}

impl Server {
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

    /// Hands out what there is, of all consumers.
    pub(super) fn serve_all(&self) {
        let names: Vec<String> = self.inner.borrow().consumers.keys().cloned().collect();
        names.iter().for_each(|name| self.serve(name));
    }

    /// Hands out what there is to those who wait for it.
    fn serve(&self, consumer: &str) {
        while !self.is_away() {
            let handed = self.with(consumer, |known| {
                known
                    .pulls
                    .retain(|pull| self.sim.seems_alive(pull.process));
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
            // What is handed to a requester whose end nobody has noticed arrives nowhere.
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
