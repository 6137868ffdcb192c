//! Virtual time, processes and their tasks, on one thread: the seed picks which of the steps that are possible comes next.
//!
//! A process is a set of tasks (futures) with a clock of its own. Killing it drops them all, which is what a crash at an
//! await is; freezing it delays their steps.

mod dice;
mod told;
mod waits;

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use swarm_protocol::Timestamp;

use crate::faults::{Coverage, Fault, Rates};
use crate::mutation::Mutation;

pub use waits::Slot;

/// When a simulation begins, in milliseconds since 1970.
const BEGIN: u64 = 1_700_000_000_000;

/// How long the end of a process goes unnoticed, in milliseconds.
const UNNOTICED: Millis = 2_000;

/// Milliseconds of virtual time since the beginning.
pub type Millis = u64;

/// A process, by the order of their making; one that is started again is another one.
pub type ProcessId = usize;

type Task = Pin<Box<dyn Future<Output = ()>>>;

/// What a rule of [`crate::checker`] found broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The invariant.
    pub rule: &'static str,
    /// What was found.
    pub found: String,
}

/// What happens at a time.
enum Happening {
    /// A task may go on.
    Wake(Waker),
    /// Something arrives that belongs to no process: a request at the server, a reply at its requester.
    Arrival(Box<dyn FnOnce()>),
}

struct Event {
    at: Millis,
    /// Of events at the same time, the seed picks.
    tie: u32,
    order: u64,
    what: Happening,
}

impl Event {
    fn key(&self) -> (Millis, u32, u64) {
        (self.at, self.tie, self.order)
    }
}

impl PartialEq for Event {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}
impl Eq for Event {}
impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Event {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

/// Puts its task among those that may go on.
struct TaskWaker {
    task: u64,
    ready: Arc<Mutex<Vec<u64>>>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.ready.lock().unwrap().push(self.task);
    }
}

struct Process {
    name: String,
    /// When it was killed.
    ended: Option<Millis>,
    /// Whether it never crashes.
    is_immune: bool,
    /// Milliseconds that its clock is ahead, or behind.
    skew: i64,
    /// Since and until when it is stopped.
    frozen: Option<(Millis, Millis)>,
}

struct Inner {
    now: Cell<Millis>,
    rng: RefCell<fastrand::Rng>,
    queue: RefCell<BinaryHeap<Reverse<Event>>>,
    order: Cell<u64>,
    tasks: RefCell<BTreeMap<u64, (ProcessId, Option<Task>)>>,
    next_task: Cell<u64>,
    ready: Arc<Mutex<Vec<u64>>>,
    processes: RefCell<Vec<Process>>,
    rates: RefCell<Rates>,
    coverage: RefCell<Coverage>,
    trace: Option<RefCell<VecDeque<String>>>,
    violation: RefCell<Option<Violation>>,
    mutation: Option<Mutation>,
    crashes_left: Cell<u32>,
    /// Whether a process has ended whose tasks are still there.
    unburied: Cell<bool>,
}

/// The simulated world's clock, dice and processes; cheap to clone.
#[derive(Clone)]
pub struct Sim(Rc<Inner>);

impl Sim {
    /// A world at its beginning. With a trace, its last steps are kept.
    pub fn new(seed: u64, mutation: Option<Mutation>, traced: bool) -> Self {
        Self(Rc::new(Inner {
            now: Cell::new(0),
            rng: RefCell::new(fastrand::Rng::with_seed(seed)),
            queue: RefCell::default(),
            order: Cell::new(0),
            tasks: RefCell::default(),
            next_task: Cell::new(0),
            ready: Arc::default(),
            processes: RefCell::default(),
            rates: RefCell::new(Rates::none()),
            coverage: RefCell::default(),
            trace: traced.then(RefCell::default),
            violation: RefCell::default(),
            mutation,
            crashes_left: Cell::new(0),
            unburied: Cell::new(false),
        }))
    }

    /// The time.
    pub fn now(&self) -> Millis {
        self.0.now.get()
    }

    /// The time as the server tells it.
    pub fn server_time(&self) -> Timestamp {
        Timestamp::from_millis(i64::try_from(BEGIN + self.now()).unwrap())
    }

    /// The time as a process' own clock tells it.
    pub fn clock(&self, process: ProcessId) -> Timestamp {
        let skew = self.0.processes.borrow()[process].skew;
        Timestamp::from_millis(self.server_time().as_millis() + skew)
    }

    /// A new process.
    pub fn start(&self, name: String, skew: i64) -> ProcessId {
        let mut processes = self.0.processes.borrow_mut();
        processes.push(Process {
            name,
            ended: None,
            is_immune: false,
            skew,
            frozen: None,
        });
        processes.len() - 1
    }

    /// A process that never crashes and is never stopped: one that belongs to the simulation.
    pub fn start_immune(&self, name: &str) -> ProcessId {
        let process = self.start(name.to_owned(), 0);
        self.0.processes.borrow_mut()[process].is_immune = true;
        process
    }

    /// Whether a process lives.
    pub fn is_alive(&self, process: ProcessId) -> bool {
        self.0.processes.borrow()[process].ended.is_none()
    }

    /// Whether the server takes a process for connected: it learns of an end some time later.
    pub fn seems_alive(&self, process: ProcessId) -> bool {
        let ended = self.0.processes.borrow()[process].ended;
        ended.is_none_or(|ended| self.now() < ended + UNNOTICED)
    }

    /// Since when a process has been stopped, if it is.
    pub fn frozen_since(&self, process: ProcessId) -> Option<Millis> {
        let frozen = self.0.processes.borrow()[process].frozen;
        let frozen = frozen.filter(|(_, until)| *until > self.now());
        frozen.map(|(since, _)| since)
    }

    /// Ends a process at once, as `kill -9` does.
    pub fn kill(&self, process: ProcessId) {
        self.say(process, || "killed".into());
        self.0.processes.borrow_mut()[process].ended = Some(self.now());
        self.0.unburied.set(true);
    }

    /// Stops a process for a time.
    pub fn freeze(&self, process: ProcessId, span: Millis) {
        self.say(process, || format!("stopped for {span} ms"));
        let now = self.now();
        self.0.processes.borrow_mut()[process].frozen = Some((now, now + span));
    }

    /// A place where a process may crash, or be stopped for a while. Named, so that it can be counted.
    pub async fn crash_point(&self, process: ProcessId, when: When, what: &'static str) {
        if self.0.processes.borrow()[process].is_immune {
            return;
        }
        let left = self.0.crashes_left.get();
        if left > 0 && self.fault(Fault::Crash) {
            self.0.crashes_left.set(left - 1);
            self.0.coverage.borrow_mut().crash(when, what);
            self.say(process, || format!("crashes {when:?} {what}"));
            self.kill(process);
            return std::future::pending().await;
        }
        if self.fault(Fault::Freeze) {
            self.freeze(process, self.between(1_000, 90_000));
            self.sleep(0).await;
        }
    }

    /// Starts a task of a process.
    pub fn spawn(&self, process: ProcessId, task: impl Future<Output = ()> + 'static) {
        let id = self.0.next_task.get();
        self.0.next_task.set(id + 1);
        let task: Task = Box::pin(task);
        self.0.tasks.borrow_mut().insert(id, (process, Some(task)));
        self.0.ready.lock().unwrap().push(id);
    }

    /// Has something happen later that belongs to no process.
    pub fn later(&self, after: Millis, then: impl FnOnce() + 'static) {
        self.schedule(after, Happening::Arrival(Box::new(then)));
    }

    fn schedule(&self, after: Millis, what: Happening) {
        let order = self.0.order.get();
        self.0.order.set(order + 1);
        let tie = self.0.rng.borrow_mut().u32(..);
        let at = self.now() + after;
        let event = Event {
            at,
            tie,
            order,
            what,
        };
        self.0.queue.borrow_mut().push(Reverse(event));
    }

    /// Goes on until a time, or until an invariant is broken, or nothing is left to happen.
    pub fn run_until(&self, end: Millis) {
        loop {
            self.poll_ready();
            if self.0.violation.borrow().is_some() {
                return;
            }
            let next = self.0.queue.borrow().peek().map(|Reverse(event)| event.at);
            if next.is_none_or(|at| at > end) {
                self.0.now.set(end);
                return;
            }
            let Some(Reverse(event)) = self.0.queue.borrow_mut().pop() else {
                return;
            };
            self.0.now.set(event.at);
            match event.what {
                Happening::Wake(waker) => waker.wake(),
                Happening::Arrival(arrive) => arrive(),
            }
        }
    }

    /// Has all tasks go on that may, in an order that the seed picks.
    fn poll_ready(&self) {
        loop {
            let mut ready = std::mem::take(&mut *self.0.ready.lock().unwrap());
            if ready.is_empty() {
                return;
            }
            if ready.len() > 1 {
                self.0.rng.borrow_mut().shuffle(&mut ready);
            }
            for task in ready {
                self.poll(task);
            }
            self.bury();
        }
    }

    fn poll(&self, id: u64) {
        let taken = {
            let mut tasks = self.0.tasks.borrow_mut();
            tasks
                .get_mut(&id)
                .map(|(process, task)| (*process, task.take()))
        };
        let Some((process, Some(mut task))) = taken else {
            return;
        };
        let waker = Waker::from(Arc::new(TaskWaker {
            task: id,
            ready: Arc::clone(&self.0.ready),
        }));
        let frozen = self.0.processes.borrow()[process].frozen;
        if let Some((_, until)) = frozen.filter(|(_, until)| *until > self.now()) {
            self.schedule(until - self.now(), Happening::Wake(waker));
            self.keep(id, Some(task));
            return;
        }
        if !self.is_alive(process) {
            drop(task);
            return;
        }
        match task.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(()) => {
                self.0.tasks.borrow_mut().remove(&id);
            }
            Poll::Pending => self.keep(id, Some(task)),
        }
    }

    fn keep(&self, id: u64, task: Option<Task>) {
        if let Some((_, place)) = self.0.tasks.borrow_mut().get_mut(&id) {
            *place = task;
        }
    }

    /// Drops the tasks of processes that have ended.
    fn bury(&self) {
        if !self.0.unburied.replace(false) {
            return;
        }
        let dead: Vec<u64> = {
            let (tasks, processes) = (self.0.tasks.borrow(), self.0.processes.borrow());
            let dead = tasks
                .iter()
                .filter(|(_, (process, _))| processes[*process].ended.is_some());
            dead.map(|(id, _)| *id).collect()
        };
        for id in dead {
            let gone = self.0.tasks.borrow_mut().remove(&id);
            drop(gone);
        }
    }

    /// Drops everything, so that nothing holds anything else any more.
    pub fn close(&self) {
        let tasks = std::mem::take(&mut *self.0.tasks.borrow_mut());
        drop(tasks);
        let queue = std::mem::take(&mut *self.0.queue.borrow_mut());
        drop(queue);
    }
}

/// On which side of what a process does it crashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum When {
    /// It has not begun.
    Before,
    /// It goes on.
    During,
    /// It is done, and the process has not gone on.
    After,
}
