//! A whole simulation: what runs, what is submitted, what goes wrong, and how long.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use swarm_protocol::submission::Budget;
use swarm_protocol::{AgentName, Aggregate, Span, Submission};
use swarm_workflow::Team;

use crate::bus::{ConsumerSettings, DUPLICATE_WINDOW, Server, StreamName};
use crate::checker::Checker;
use crate::client::{self, Client};
use crate::coordinator::{self, Coordinator, JOURNAL, Presence, SUBMIT};
use crate::faults::{Coverage, Fault, Rates};
use crate::scheduler::{Millis, Sim, Violation};
use crate::worker::model::POISON;
use crate::worker::{self, WORK_ACK_WAIT, Worker};

/// Agents that have workers, the summarizer last.
const AGENTS: [&str; 3] = ["alpha", "beta", "sum"];

/// An agent that is known and that nobody runs.
const GHOST: &str = "ghost";

/// How long things go wrong, in milliseconds.
const FAULTY: Millis = 90_000;

/// How long everything has to come to rest after that, in milliseconds: less than runs may take.
const CALM: Millis = 3_000_000;

/// Crashes of one simulation, at most.
const MOST_CRASHES: u32 = 16;

/// How long a run may take.
const TOTAL: Duration = Duration::from_secs(3 * 3600);

/// Silence of a coordinator after which what was delivered to it is delivered again, in milliseconds.
const ACK_WAIT: Millis = 5_000;

/// What came of a seed.
pub struct Played {
    /// The invariant that was broken, if one was.
    pub violation: Option<Violation>,
    /// What happened.
    pub coverage: Coverage,
    /// The last steps, when they were kept.
    pub trace: Vec<String>,
}

struct World {
    sim: Sim,
    server: Server,
    checker: Rc<RefCell<Checker>>,
    team: Rc<Team>,
    presence: Presence,
    coordinators: RefCell<Vec<Rc<Coordinator>>>,
    workers: RefCell<Vec<Rc<Worker>>>,
    /// Until when no coordinator is started again.
    nobody_until: RefCell<Millis>,
    /// The same for workers.
    no_worker_until: RefCell<Millis>,
}

/// Plays a simulation.
pub fn play(sim: &Sim) -> Played {
    let checker: Rc<RefCell<Checker>> = Rc::default();
    let server = Server::new(sim, &checker);
    let world = Rc::new(World {
        sim: sim.clone(),
        team: Rc::new(team(sim)),
        presence: Presence::default(),
        coordinators: RefCell::default(),
        workers: RefCell::default(),
        nobody_until: RefCell::new(0),
        no_worker_until: RefCell::new(0),
        server,
        checker,
    });
    sim.set_rates(Rates::drawn(sim), MOST_CRASHES);
    world.add_consumers();
    world.populate();
    let client = client::start(&world.server, sim, &world.checker);
    world.submit(&client);
    sim.spawn(client.process(), Rc::clone(&client).look());
    let keeper = sim.start_immune("keeper");
    sim.spawn(keeper, Rc::clone(&world).supervise());
    sim.spawn(keeper, Rc::clone(&world).disturb());
    sim.run_until(FAULTY);
    let end = (*world.nobody_until.borrow())
        .max(*world.no_worker_until.borrow())
        .max(FAULTY);
    sim.run_until(end);
    sim.set_rates(Rates::none(), 0);
    client.is_gone.set(sim.chance(100));
    client.calm.set(true);
    world.settle(&client, end + CALM);
    if sim.violation().is_none() {
        world
            .checker
            .borrow()
            .check_end(sim, &world.coordinators.borrow());
    }
    let played = Played {
        violation: sim.violation(),
        coverage: sim.coverage(),
        trace: sim.traced(),
    };
    sim.close();
    world.server.close();
    played
}

fn name(text: &str) -> AgentName {
    text.parse().unwrap()
}

fn team(sim: &Sim) -> Team {
    let known: BTreeSet<AgentName> = AGENTS
        .iter()
        .chain([&GHOST])
        .map(|agent| name(agent))
        .collect();
    Team {
        known,
        default_agents: vec![name("alpha"), name("beta")],
        summarizer: name("sum"),
        total: TOTAL,
        retries: u32::try_from(sim.below(4)).unwrap(),
        budget: Budget {
            model_calls: Some(*sim.pick(&[6, 60, 60, 60])),
            tool_calls: Some(*sim.pick(&[4, 6, 8, 60])),
            ..Budget::default()
        },
        longest_total: TOTAL * 2,
    }
}

fn submission(sim: &Sim) -> Submission {
    let agents = match sim.below(10) {
        0 => vec![name("alpha")],
        1 => vec![name("alpha"), name(GHOST)],
        2 => vec![name("nobody_knows_it")],
        3..6 => vec![name("alpha"), name("alpha"), name("beta")],
        _ => vec![name("alpha"), name("beta")],
    };
    let modes = [
        Aggregate::Summarize,
        Aggregate::Summarize,
        Aggregate::Concat,
        Aggregate::Vote,
        Aggregate::First,
        Aggregate::Json,
    ];
    let task = if sim.fault(Fault::Poison) {
        POISON
    } else {
        "Why?"
    };
    let short = sim.chance(100);
    Submission {
        min_answers: sim.chance(300).then_some(1),
        aggregate: Some(*sim.pick(&modes)),
        agents: Some(agents),
        timeout: short.then(|| Span(Duration::from_secs(sim.between(5, 60)))),
        queue_timeout: Some(Span(Duration::from_secs(sim.between(20, 100)))),
        ..Submission::of_task(task)
    }
}

impl World {
    fn add_consumers(&self) {
        self.add_consumer(SUBMIT, StreamName::Inbox, ACK_WAIT, |_| true);
        let is_end = |subject: &str| subject.ends_with(".end");
        self.add_consumer(JOURNAL, StreamName::Runs, ACK_WAIT, is_end);
        for agent in &self.team.known {
            let own = swarm_protocol::subjects::work(agent);
            let takes = move |subject: &str| subject == own;
            self.add_consumer(agent.as_str(), StreamName::Work, WORK_ACK_WAIT, takes);
        }
    }

    fn add_consumer(
        &self,
        name: &str,
        stream: StreamName,
        ack_wait: Millis,
        takes: impl Fn(&str) -> bool + 'static,
    ) {
        let settings = ConsumerSettings {
            stream,
            takes: Box::new(takes),
            ack_wait,
        };
        self.server.add_consumer(name, settings);
    }

    fn populate(&self) {
        self.start_coordinator("coordinator-a");
        self.start_coordinator("coordinator-b");
        for agent in AGENTS {
            self.start_worker(&name(agent));
        }
        self.start_worker(&name("alpha"));
    }

    /// Clocks differ by some seconds.
    fn skew(&self) -> i64 {
        i64::try_from(self.sim.below(4_000)).unwrap() - 2_000
    }

    fn start_coordinator(&self, name: &str) {
        let skew = self.skew();
        let started = coordinator::start(
            &self.server,
            &self.sim,
            name,
            skew,
            &self.team,
            &self.presence,
        );
        self.coordinators.borrow_mut().push(started);
    }

    fn start_worker(&self, agent: &AgentName) {
        let started = worker::start(&self.server, &self.sim, agent, self.skew(), &self.checker);
        self.presence
            .borrow_mut()
            .push((agent.clone(), started.process()));
        self.workers.borrow_mut().push(started);
    }

    fn submit(&self, client: &Rc<Client>) {
        for n in 0..self.sim.between(1, 3) {
            let (id, after) = (format!("submission-{n}"), self.sim.below(10_000));
            let submission = submission(&self.sim);
            let process = client.process();
            if self.sim.chance(20) {
                self.sim.spawn(
                    process,
                    Rc::clone(client).submit_conflict(id.clone(), after),
                );
            }
            self.sim
                .spawn(process, Rc::clone(client).submit(id, submission, after));
        }
    }

    /// Starts again what has ended, after a while.
    async fn supervise(self: Rc<Self>) {
        loop {
            self.sim.sleep(self.sim.between(500, 3_000)).await;
            let dead = {
                let mut coordinators = self.coordinators.borrow_mut();
                let count = coordinators.len();
                coordinators.retain(|coordinator| self.sim.is_alive(coordinator.process()));
                count - coordinators.len()
            };
            let missing = 2 - self.coordinators.borrow().len();
            if self.sim.now() >= *self.nobody_until.borrow() {
                for _ in 0..missing {
                    self.start_coordinator("coordinator");
                }
            }
            if dead > 0 {
                self.sim.note("a coordinator was started again");
            }
            if self.sim.now() < *self.no_worker_until.borrow() {
                continue;
            }
            let ended: Vec<AgentName> = {
                let mut workers = self.workers.borrow_mut();
                let ended = workers
                    .iter()
                    .filter(|worker| !self.sim.is_alive(worker.process()));
                let ended = ended.map(|worker| worker.agent().clone()).collect();
                workers.retain(|worker| self.sim.is_alive(worker.process()));
                ended
            };
            self.presence
                .borrow_mut()
                .retain(|(_, process)| self.sim.is_alive(*process));
            for agent in ended {
                self.start_worker(&agent);
            }
        }
    }

    /// What befalls everybody at once.
    async fn disturb(self: Rc<Self>) {
        let sim = &self.sim;
        let mut has_been_long = false;
        loop {
            sim.sleep(sim.between(2_000, 20_000)).await;
            if sim.fault(Fault::Outage) {
                self.server.go_away(sim.between(200, 20_000));
            }
            if sim.fault(Fault::Drain) {
                let worker = sim.pick(&self.workers.borrow()).clone();
                if sim.is_alive(worker.process()) {
                    worker.drain();
                }
            }
            if !has_been_long && sim.chance(100) && sim.fault(Fault::NobodyHome) {
                has_been_long = true;
                self.stay_away().await;
            }
        }
    }

    /// Coordinators, workers or both are away until the server has forgotten the message ids; the coordinators that are
    /// there meanwhile are started anew at the end.
    async fn stay_away(&self) {
        let sim = &self.sim;
        let away = DUPLICATE_WINDOW + 20_000;
        let until = sim.now() + away;
        let who = sim.below(3);
        if who != 1 {
            *self.nobody_until.borrow_mut() = until;
            self.kill_coordinators();
        }
        if who != 0 {
            *self.no_worker_until.borrow_mut() = until;
            for worker in &*self.workers.borrow() {
                sim.kill(worker.process());
            }
        }
        sim.sleep(away - 5_000).await;
        self.kill_coordinators();
    }

    fn kill_coordinators(&self) {
        for coordinator in &*self.coordinators.borrow() {
            self.sim.kill(coordinator.process());
        }
    }

    /// Goes on without faults until all has come to rest.
    fn settle(&self, client: &Client, end: Millis) {
        while self.sim.now() < end && self.sim.violation().is_none() {
            self.sim.run_until((self.sim.now() + 10_000).min(end));
            let is_quiet = self.checker.borrow().is_quiet(client.is_gone.get());
            if is_quiet && client.submitting.get() == 0 && self.server.backlog() == 0 {
                return;
            }
        }
    }
}
