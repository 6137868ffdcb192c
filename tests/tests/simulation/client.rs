//! Clients and people: they submit, ask for things, ask again when no answer comes, and decide what a run waits for.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use swarm_protocol::journal::CallDecision;
use swarm_protocol::{AnswerStatus, RunId, RunState, Submission};
use swarm_workflow::State;

use crate::bus::{Message, Server, StreamName};
use crate::checker::Checker;
use crate::coordinator::commands::{Command, Reply};
use crate::faults::Fault;
use crate::net::Net;
use crate::scheduler::Sim;

/// Tries of a command before a client gives up.
const TRIES: u32 = 8;

/// Between two looks of a person, in milliseconds.
const LOOK: u64 = 3_000;

/// How long clients ask for things that nothing calls for, in milliseconds.
const CAPRICIOUS: u64 = 90_000;

/// Everybody outside of the swarm.
pub struct Client {
    net: Net,
    sim: Sim,
    checker: Rc<RefCell<Checker>>,
    said: Cell<u64>,
    /// Submissions that are not done.
    pub submitting: Cell<u32>,
    /// Whether the time of the faults is over: from then on a person helps what waits, and asks for nothing new.
    pub calm: Cell<bool>,
    /// Whether the person has gone for good.
    pub is_gone: Cell<bool>,
}

/// Starts the clients; they never crash.
pub fn start(server: &Server, sim: &Sim, checker: &Rc<RefCell<Checker>>) -> Rc<Client> {
    let process = sim.start_immune("client");
    Rc::new(Client {
        net: Net::new(server, sim, process),
        sim: sim.clone(),
        checker: Rc::clone(checker),
        said: Cell::new(0),
        submitting: Cell::new(0),
        calm: Cell::new(false),
        is_gone: Cell::new(false),
    })
}

impl Client {
    /// Its process.
    pub fn process(&self) -> usize {
        self.net.process
    }

    /// Submits under an id after a while, until it is stored, and at times once more, or something else under the same id.
    pub async fn submit(self: Rc<Self>, id: String, submission: Submission, after: u64) {
        self.submitting.set(self.submitting.get() + 1);
        self.sim.sleep(after).await;
        let run = RunId::from_message_id(&id);
        self.store(&id, &submission).await;
        self.checker.borrow_mut().submitted(run);
        if self.sim.fault(Fault::Repeat) {
            // Within the window the server knows it, behind that the coordinator does.
            let pause = *self
                .sim
                .pick(&[100, 5_000, crate::bus::DUPLICATE_WINDOW + 1]);
            self.sim.sleep(pause).await;
            self.sim.note("a submission was repeated");
            self.store(&id, &submission).await;
        }
        self.submitting.set(self.submitting.get() - 1);
    }

    /// Submits other content under an id that is taken, when the server has forgotten it.
    pub async fn submit_conflict(self: Rc<Self>, id: String, after: u64) {
        self.submitting.set(self.submitting.get() + 1);
        let pause = after + crate::bus::DUPLICATE_WINDOW + 60_000;
        self.sim.sleep(pause).await;
        let other = Submission::of_task("something else");
        self.store(&id, &other).await;
        self.submitting.set(self.submitting.get() - 1);
    }

    async fn store(&self, id: &str, submission: &Submission) {
        let message = Message {
            stream: StreamName::Inbox,
            subject: swarm_protocol::subjects::submit(None),
            payload: crate::net::json(submission),
            summary: None,
            id: Some(id.to_owned()),
            expect: None,
        };
        let stored = self.net.store_patiently("submit", message).await;
        debug_assert!(stored.is_ok());
    }

    /// Asks for something until there is an answer.
    async fn ask(&self, run: RunId, mut command: Command) {
        for _ in 0..TRIES {
            if let Command::Message { text, .. } = &mut command {
                // A message that is sent again is another one.
                self.said.set(self.said.get() + 1);
                *text = format!("note {}", self.said.get());
            }
            let reply = self.net.call(run, command.clone()).await;
            self.sim.say(self.net.process, || {
                format!("{command:?} of {}: {reply:?}", run.short())
            });
            let answered = matches!(reply, Ok(Reply::Done | Reply::Refused));
            if answered && !self.sim.fault(Fault::Repeat) {
                return;
            }
            self.sim.sleep(self.sim.between(100, 2_000)).await;
        }
    }

    /// Looks at the runs for ever, and asks for what a person may ask for.
    pub async fn look(self: Rc<Self>) {
        loop {
            self.sim.sleep(LOOK).await;
            let asked = {
                let checker = self.checker.borrow();
                let runs = checker.runs();
                let asked = runs.filter_map(|(run, state)| Some((*run, self.wish(state)?)));
                asked.collect::<Vec<_>>()
            };
            for (run, command) in asked {
                self.ask(run, command).await;
            }
        }
    }

    /// What a person wants of a run in this state.
    fn wish(&self, state: &State) -> Option<Command> {
        let sim = &self.sim;
        if self.is_gone.get() {
            return None;
        }
        let calm = self.calm.get();
        if state.phase.is_terminal() {
            let failed = matches!(state.phase, RunState::Failed | RunState::Canceled);
            let is_first = state
                .accepted()
                .is_some_and(|accepted| accepted.retry_of.is_none());
            return (failed && is_first && !calm && sim.chance(50)).then_some(Command::Retry);
        }
        if state.phase == RunState::Paused && (calm || sim.chance(300)) {
            return Some(Command::Resume);
        }
        if let Some((_, asked)) = state.undecided().next()
            && (calm || sim.chance(500))
        {
            return Some(Command::Decide {
                approval: asked.approval.approval.clone(),
                call_sha256: asked.approval.call_sha256.clone(),
                decision: if sim.chance(700) {
                    CallDecision::Approved
                } else {
                    CallDecision::Denied
                },
            });
        }
        if calm || sim.now() > CAPRICIOUS {
            return None;
        }
        let failed = |status| status == AnswerStatus::Failed;
        let failed = state.tasks.iter().find(|task| {
            state
                .answer(&task.id)
                .is_some_and(|answer| failed(answer.status))
        });
        match (sim.below(100), failed) {
            (0..3, _) => Some(Command::Pause),
            (3, _) => Some(Command::Cancel),
            (4..12, _) => Some(Command::Message {
                to: state.agent_of(&state.tasks.first()?.id)?.clone(),
                text: String::new(),
            }),
            (12..32, Some(task)) => Some(Command::Again {
                task: task.id.clone(),
            }),
            _ => None,
        }
    }
}
