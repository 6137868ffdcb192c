//! What is said and not stored: signals, calls, and the copies of events that watchers get.

use std::rc::Rc;

use swarm_protocol::journal::PeerMessage;
use swarm_protocol::{AgentName, RunId};

use super::{Server, Stored};
use crate::coordinator::commands::{Command, Reply};
use crate::faults::Fault;
use crate::scheduler::{ProcessId, Slot};

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
pub(super) type Watcher = Rc<dyn Fn(&Stored)>;
/// Who hears signals.
pub(super) type Subscriber = Rc<dyn Fn(Signal)>;
/// Who answers calls.
pub(super) type Service = Rc<dyn Fn(Call)>;

impl Server {
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

    /// Tells those who watch of an event, each some time later.
    pub(super) fn tell_watchers(&self, stored: &Rc<Stored>) {
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
}
