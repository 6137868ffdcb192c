//! A worker, as `swarm-agents` has one: the same steps in the same order, with a crash possible at each of them. What it
//! thinks is thought by `swarm_agents::agent_loop`, and what a journal says to it is said by `swarm_bus::fence::judge`.

mod attempt;
mod calls;
mod journal;
pub mod model;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use futures_util::future::{Either, select};
use swarm_protocol::journal::PeerMessage;
use swarm_protocol::{AgentName, InstanceId, RunId};

use crate::bus::{Server, Signal};
use crate::checker::Checker;
use crate::net::Net;
use crate::scheduler::{ProcessId, Sim, Slot};
use attempt::Attempt;

/// Attempts at work at once.
const SLOTS: usize = 2;

/// Work that is handed back has this long to settle, in milliseconds.
const HAND_BACK_PATIENCE: u64 = 3_000;

/// How long a delivery of work may be silent, in milliseconds.
pub const WORK_ACK_WAIT: u64 = 30_000;

type Letters = Rc<RefCell<Vec<PeerMessage>>>;

/// Why something is not waited for any longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// The run is being canceled.
    Canceled,
    /// The worker is stopped.
    HandedBack,
}

/// One worker.
pub struct Worker {
    net: Net,
    sim: Sim,
    agent: AgentName,
    instance: InstanceId,
    checker: Rc<RefCell<Checker>>,
    /// Who waits for something, by number, and about which run.
    waiting: RefCell<BTreeMap<u64, (RunId, Slot<Stop>)>>,
    next: Cell<u64>,
    boxes: RefCell<BTreeMap<RunId, Vec<Letters>>>,
    handing_back: Cell<bool>,
}

/// Starts a worker of an agent.
pub fn start(
    server: &Server,
    sim: &Sim,
    agent: &AgentName,
    skew: i64,
    checker: &Rc<RefCell<Checker>>,
) -> Rc<Worker> {
    let process = sim.start(agent.to_string(), skew);
    let worker = Rc::new(Worker {
        net: Net::new(server, sim, process),
        sim: sim.clone(),
        agent: agent.clone(),
        instance: format!("{agent}-{process}").parse().unwrap(),
        checker: Rc::clone(checker),
        waiting: RefCell::default(),
        next: Cell::new(0),
        boxes: RefCell::default(),
        handing_back: Cell::new(false),
    });
    let hearing = Rc::downgrade(&worker);
    worker.net.subscribe(move |signal| {
        if let Some(hearing) = hearing.upgrade() {
            hearing.hear(signal);
        }
    });
    for _ in 0..SLOTS {
        let working = Rc::clone(&worker);
        sim.spawn(process, async move {
            loop {
                let delivery = working.net.pull("take work", working.agent.as_str()).await;
                Attempt::work_on(&working, delivery).await;
            }
        });
    }
    worker
}

impl Worker {
    /// Its process.
    pub fn process(&self) -> ProcessId {
        self.net.process
    }

    /// Its agent.
    pub fn agent(&self) -> &AgentName {
        &self.agent
    }

    /// Hands all work back, and ends.
    pub fn drain(&self) {
        self.handing_back.set(true);
        for (_, slot) in self.waiting.borrow().values() {
            slot.fill(Stop::HandedBack);
        }
        let (sim, process) = (self.sim.clone(), self.net.process);
        self.sim.later(HAND_BACK_PATIENCE, move || {
            if sim.is_alive(process) {
                sim.kill(process);
            }
        });
    }

    fn hear(&self, signal: Signal) {
        match signal {
            Signal::Cancel(run) => {
                let waiting = self.waiting.borrow();
                let concerned = waiting.values().filter(|(of, _)| *of == run);
                concerned.for_each(|(_, slot)| slot.fill(Stop::Canceled));
            }
            Signal::Peer(run, agent, message) if agent == self.agent => {
                let boxes = self.boxes.borrow();
                let letters = boxes.get(&run).into_iter().flatten();
                letters.for_each(|letters| letters.borrow_mut().push(message.clone()));
            }
            Signal::Peer(..) => {}
        }
    }

    /// What the work comes to, unless a cancel or the worker's stop comes first. Signals are heard only meanwhile.
    async fn unless_stopped<T>(
        &self,
        run: RunId,
        work: impl Future<Output = T>,
    ) -> Result<T, Stop> {
        let slot = Slot::new();
        if self.handing_back.get() {
            slot.fill(Stop::HandedBack);
        }
        let number = self.next.get();
        self.next.set(number + 1);
        self.waiting
            .borrow_mut()
            .insert(number, (run, slot.clone()));
        let (stopped, work) = (std::pin::pin!(slot.take()), std::pin::pin!(work));
        let outcome = select(stopped, work).await;
        self.waiting.borrow_mut().remove(&number);
        match outcome {
            Either::Left((stop, _)) => Err(stop),
            Either::Right((done, _)) => Ok(done),
        }
    }

    /// A box for what comes for a run from now on.
    fn mailbox(&self, run: RunId) -> Letters {
        let letters = Letters::default();
        self.boxes
            .borrow_mut()
            .entry(run)
            .or_default()
            .push(Rc::clone(&letters));
        letters
    }
}
