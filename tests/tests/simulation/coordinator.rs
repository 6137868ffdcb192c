//! A coordinator, as `swarm-coordinator` is one: the same steps in the same order, with a crash possible at each of them.
//! What it decides is decided by `swarm_workflow`.

pub mod causes;
pub mod commands;
pub mod effects;
pub mod time;
pub mod transition;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use swarm_protocol::summary::Stored as Summarized;
use swarm_protocol::{AgentName, InstanceId, RunId, Timestamp};
use swarm_workflow::Team;

use crate::bus::{Server, Stored, StreamName};
use crate::net::Net;
use crate::scheduler::{ProcessId, Sim};
use transition::Slots;

/// Deliveries at work at once, of each consumer.
const AT_ONCE: usize = 2;

/// The name of the consumer of submissions.
pub const SUBMIT: &str = "submit";

/// The name of the consumer of journals.
pub const JOURNAL: &str = "journal";

/// Which processes run which agent: what the cards tell.
pub type Presence = Rc<RefCell<Vec<(AgentName, ProcessId)>>>;

/// One coordinator.
pub struct Coordinator {
    net: Net,
    sim: Sim,
    instance: InstanceId,
    team: Rc<Team>,
    runs: Slots,
    index: RefCell<BTreeMap<RunId, Summary>>,
    presence: Presence,
}

/// A run in the index.
#[derive(Clone)]
struct Summary {
    stored: Summarized,
    /// Sequence of its last event.
    seq: u64,
}

/// Starts a coordinator, with nothing in its memory.
pub fn start(
    server: &Server,
    sim: &Sim,
    name: &str,
    skew: i64,
    team: &Rc<Team>,
    presence: &Presence,
) -> Rc<Coordinator> {
    let process = sim.start(name.to_owned(), skew);
    let coordinator = Rc::new(Coordinator {
        net: Net::new(server, sim, process),
        sim: sim.clone(),
        instance: format!("{name}-{process}").parse().unwrap(),
        team: Rc::clone(team),
        runs: Slots::default(),
        index: RefCell::default(),
        presence: Rc::clone(presence),
    });
    let heard = Rc::downgrade(&coordinator);
    coordinator.net.watch(move |stored| {
        if let Some(heard) = heard.upgrade() {
            heard.index(stored);
        }
    });
    for stored in server.read(StreamName::Runs, "swarm.run.>") {
        coordinator.index(&stored);
    }
    for _ in 0..AT_ONCE {
        sim.spawn(process, Rc::clone(&coordinator).take_submissions());
        sim.spawn(process, Rc::clone(&coordinator).follow_journals());
    }
    sim.spawn(process, Rc::clone(&coordinator).keep_deadlines());
    sim.spawn(process, Rc::clone(&coordinator).sweep());
    let serving = Rc::downgrade(&coordinator);
    coordinator.net.serve_calls(move |call| {
        if let Some(serving) = serving.upgrade() {
            let (sim, process) = (serving.sim.clone(), serving.net.process);
            sim.spawn(process, serving.answer(call));
        }
    });
    coordinator
}

impl Coordinator {
    /// Its process.
    pub fn process(&self) -> ProcessId {
        self.net.process
    }

    /// The time by its clock.
    fn clock(&self) -> Timestamp {
        self.sim.clock(self.net.process)
    }

    /// Takes a summary unless a later one is known.
    fn index(&self, stored: &Stored) {
        let Some(header) = &stored.summary else {
            return;
        };
        let summary = Summarized::from_header(header).unwrap();
        let run = summary.summary.run;
        let mut index = self.index.borrow_mut();
        if index.get(&run).is_none_or(|known| known.seq < stored.seq) {
            index.insert(
                run,
                Summary {
                    stored: summary,
                    seq: stored.seq,
                },
            );
        }
    }
}
