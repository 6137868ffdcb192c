//! What is between a process and the server: requests, replies and signals that take their time, overtake each other, or
//! do not arrive.

use std::rc::Rc;

use futures_util::future::{Either, select};
use serde::Serialize;
use swarm_protocol::RunId;

use crate::bus::{Call, Delivery, Message, Refusal, Server, Signal, Stored, StreamName};
use crate::coordinator::commands::{Command, Reply};
use crate::faults::Fault;
use crate::scheduler::{Millis, ProcessId, Sim, Slot, When};

/// How long a process waits for the server's word.
const PATIENCE: Millis = 5_000;

/// How long a client waits for a coordinator's answer.
const CALL_PATIENCE: Millis = 10_000;

/// Pauses between tries of a message that must be stored.
const RETRY_PAUSES: [Millis; 5] = [50, 200, 500, 1_000, 3_000];

/// Pause between all further tries.
const LONGEST_PAUSE: Millis = 5_000;

/// How long a message is on its way.
pub fn trip(sim: &Sim) -> Millis {
    if sim.fault(Fault::Delay) {
        sim.between(500, 8_000)
    } else {
        sim.between(1, 20)
    }
}

/// No word came in time: what was asked for may have happened, may still happen, or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoWord;

/// Something else was stored first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused;

/// A process' connection.
#[derive(Clone)]
pub struct Net {
    /// The world.
    pub sim: Sim,
    /// The process.
    pub process: ProcessId,
    server: Server,
}

impl Net {
    /// A connection of a process.
    pub fn new(server: &Server, sim: &Sim, process: ProcessId) -> Self {
        Self {
            sim: sim.clone(),
            process,
            server: server.clone(),
        }
    }

    /// Asks the server for something. The process may crash before it has asked, or before it goes on with the answer.
    async fn request<T: 'static>(
        &self,
        what: &'static str,
        ask: impl FnOnce(&Server) -> T + 'static,
    ) -> Result<T, NoWord> {
        self.sim.crash_point(self.process, When::Before, what).await;
        let (there, back) = (trip(&self.sim), trip(&self.sim));
        let arrives = !self.sim.fault(Fault::RequestLost);
        let returns = !self.sim.fault(Fault::AckLost);
        let slot: Slot<Result<T, NoWord>> = Slot::new();
        if !arrives || !returns || there + back >= PATIENCE {
            let slot = slot.clone();
            self.sim.later(PATIENCE, move || slot.fill(Err(NoWord)));
        }
        if arrives {
            let (server, sim, slot) = (self.server.clone(), self.sim.clone(), slot.clone());
            self.sim.later(there, move || {
                if server.is_away() {
                    let left = PATIENCE.saturating_sub(there);
                    return sim.later(left, move || slot.fill(Err(NoWord)));
                }
                let answer = ask(&server);
                if returns && there + back < PATIENCE {
                    sim.later(back, move || slot.fill(Ok(answer)));
                }
            });
        }
        let answer = slot.take().await;
        self.sim.crash_point(self.process, When::After, what).await;
        answer
    }

    /// Stores a message, once.
    pub async fn store(
        &self,
        what: &'static str,
        message: Message,
    ) -> Result<Result<u64, Refusal>, NoWord> {
        let subject = message.subject.clone();
        let stored = self
            .request(what, move |server| server.store(&message))
            .await;
        self.sim
            .say(self.process, || format!("{what} on {subject}: {stored:?}"));
        stored
    }

    /// Stores a message that must not be lost: tries again while the stream is full or silent.
    pub async fn store_patiently(
        &self,
        what: &'static str,
        message: Message,
    ) -> Result<u64, Refused> {
        let mut pauses = RETRY_PAUSES.into_iter();
        loop {
            match self.store(what, message.clone()).await {
                Ok(Ok(seq)) => return Ok(seq),
                Ok(Err(Refusal::Wrong)) => return Err(Refused),
                Ok(Err(Refusal::Full)) | Err(NoWord) => {
                    self.sim.sleep(pauses.next().unwrap_or(LONGEST_PAUSE)).await;
                }
            }
        }
    }

    /// All messages on these subjects of the run stream, oldest first.
    pub async fn read_runs(
        &self,
        what: &'static str,
        filter: String,
    ) -> Result<Vec<Rc<Stored>>, NoWord> {
        self.request(what, move |server| server.read(StreamName::Runs, &filter))
            .await
    }

    /// The last message on these subjects of the run stream.
    pub async fn last_of_runs(
        &self,
        what: &'static str,
        filter: String,
    ) -> Result<Option<Rc<Stored>>, NoWord> {
        self.request(what, move |server| server.last_of_runs(&filter))
            .await
    }

    /// The next message of a consumer.
    pub async fn pull(&self, what: &'static str, consumer: &str) -> Delivery {
        let slot = Slot::new();
        self.server.pull(consumer, self.process, slot.clone());
        let delivery = slot.take().await;
        self.sim.say(self.process, || {
            let Delivery {
                consumer,
                message,
                delivery,
                ..
            } = &delivery;
            format!(
                "is handed {consumer} {} ({}), delivery {delivery}",
                message.seq, message.subject
            )
        });
        self.sim.crash_point(self.process, When::After, what).await;
        delivery
    }

    /// A delivery is done. Nobody confirms this.
    pub async fn ack(&self, what: &'static str, delivery: Delivery) {
        self.sim.crash_point(self.process, When::Before, what).await;
        self.sim
            .say(self.process, || format!("{what} {}", delivery.message.seq));
        let (consumer, seq) = (delivery.consumer, delivery.message.seq);
        self.tell(move |server| server.ack(&consumer, seq));
    }

    /// A delivery comes back after a pause.
    pub fn retry(&self, delivery: Delivery, pause: Millis) {
        self.sim.say(self.process, || {
            format!("gives {} back", delivery.message.seq)
        });
        let (consumer, seq, count) = (delivery.consumer, delivery.message.seq, delivery.delivery);
        self.tell(move |server| server.nak(&consumer, seq, count, pause));
    }

    fn tell(&self, word: impl FnOnce(&Server) + 'static) {
        if self.sim.fault(Fault::SettleLost) {
            return;
        }
        let server = self.server.clone();
        self.sim.later(trip(&self.sim), move || {
            if !server.is_away() {
                word(&server);
            }
        });
    }

    /// Hears of events as they are stored.
    pub fn watch(&self, watcher: impl Fn(&Stored) + 'static) {
        self.server.watch(self.process, Rc::new(watcher));
    }

    /// Says something to whoever listens, without knowing whether it arrives.
    pub fn signal(&self, signal: Signal) {
        let server = self.server.clone();
        self.sim.later(trip(&self.sim), move || server.say(&signal));
    }

    /// Hears signals.
    pub fn subscribe(&self, subscriber: impl Fn(Signal) + 'static) {
        self.server.subscribe(self.process, Rc::new(subscriber));
    }

    /// Answers calls.
    pub fn serve_calls(&self, service: impl Fn(Call) + 'static) {
        self.server.serve_calls(self.process, Rc::new(service));
    }

    /// Asks a coordinator for something.
    pub async fn call(&self, run: RunId, command: Command) -> Result<Reply, NoWord> {
        let reply = Slot::new();
        let call = Call {
            run,
            command,
            reply: reply.clone(),
        };
        if !self.sim.fault(Fault::RequestLost) {
            let server = self.server.clone();
            self.sim.later(trip(&self.sim), move || {
                if !server.is_away() {
                    server.call(call);
                }
            });
        }
        let answered = std::pin::pin!(reply.take());
        match select(answered, self.sim.sleep(CALL_PATIENCE)).await {
            Either::Left((reply, _)) => Ok(reply),
            Either::Right(_) => Err(NoWord),
        }
    }

    /// Answers a call.
    pub fn reply(&self, to: &Slot<Reply>, reply: Reply) {
        if !self.sim.fault(Fault::AckLost) {
            let to = to.clone();
            self.sim.later(trip(&self.sim), move || to.fill(reply));
        }
    }
}

/// A value as it is written on the wire.
pub fn json(value: &impl Serialize) -> Rc<[u8]> {
    serde_json::to_vec(value).unwrap().into()
}
