//! Virtual time, processes and their tasks, on one thread: the seed picks which of the steps that are possible comes next.
//!
//! A process is a set of tasks (futures) with a clock of its own. Killing it drops them all, which is what a crash at an
//! await is; freezing it delays their steps.

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

/// When a simulation begins, in milliseconds since 1970.
const BEGIN: u64 = 1_700_000_000_000;

/// Steps of the trace that are kept.
const TRACE: usize = 60;

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
    alive: bool,
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

    /// A number below a bound.
    pub fn below(&self, bound: u64) -> u64 {
        self.0.rng.borrow_mut().u64(0..bound.max(1))
    }

    /// A number in a range, ends included.
    pub fn between(&self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// True so often of a thousand times.
    pub fn chance(&self, per_mille: u32) -> bool {
        per_mille > 0 && self.below(1000) < u64::from(per_mille)
    }

    /// One of several.
    pub fn pick<'a, T>(&self, of: &'a [T]) -> &'a T {
        &of[usize::try_from(self.below(of.len() as u64)).unwrap()]
    }

    /// Whether this fault happens now; counted when it does.
    pub fn fault(&self, fault: Fault) -> bool {
        let rate = self.0.rates.borrow().of(fault);
        let happens = self.chance(rate);
        if happens {
            self.count(fault);
        }
        happens
    }

    /// Notes that a fault has happened.
    pub fn count(&self, fault: Fault) {
        self.0.coverage.borrow_mut().fault(fault);
        self.trace(|| format!("FAULT {fault:?}"));
    }

    /// From now on faults happen as often as this.
    pub fn set_rates(&self, rates: Rates, crashes: u32) {
        *self.0.rates.borrow_mut() = rates;
        self.0.crashes_left.set(crashes);
    }

    /// What has happened so far.
    pub fn coverage(&self) -> Coverage {
        self.0.coverage.borrow().clone()
    }

    /// Notes something that should be seen in each run of all seeds.
    pub fn note(&self, what: &'static str) {
        self.0.coverage.borrow_mut().note(what);
    }

    /// Whether the model of a role is broken in this way, to see the checker fail.
    pub fn is_mutated(&self, mutation: Mutation) -> bool {
        self.0.mutation == Some(mutation)
    }

    /// A line of the trace.
    pub fn trace(&self, line: impl FnOnce() -> String) {
        if let Some(trace) = &self.0.trace {
            let mut trace = trace.borrow_mut();
            if trace.len() == TRACE {
                trace.pop_front();
            }
            trace.push_back(format!("{:>9} ms  {}", self.now(), line()));
        }
    }

    /// The same, said by a process.
    pub fn say(&self, process: ProcessId, line: impl FnOnce() -> String) {
        self.trace(|| format!("{:<16} {}", self.0.processes.borrow()[process].name, line()));
    }

    /// The last lines of the trace.
    pub fn traced(&self) -> Vec<String> {
        let trace = self.0.trace.as_ref();
        trace.map_or_else(Vec::new, |trace| trace.borrow().iter().cloned().collect())
    }

    /// An invariant does not hold: the simulation ends.
    pub fn violate(&self, rule: &'static str, found: impl Into<String>) {
        let found = found.into();
        self.trace(|| format!("VIOLATION {rule}: {found}"));
        let mut violation = self.0.violation.borrow_mut();
        violation.get_or_insert(Violation { rule, found });
    }

    /// The first invariant that was broken.
    pub fn violation(&self) -> Option<Violation> {
        self.0.violation.borrow().clone()
    }

    /// A new process.
    pub fn start(&self, name: String, skew: i64) -> ProcessId {
        let mut processes = self.0.processes.borrow_mut();
        processes.push(Process {
            name,
            alive: true,
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
        self.0.processes.borrow()[process].alive
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
        self.0.processes.borrow_mut()[process].alive = false;
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

    /// Waits.
    pub fn sleep(&self, span: Millis) -> Sleep {
        Sleep {
            sim: self.clone(),
            until: self.now() + span,
            armed: false,
        }
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
                .filter(|(_, (process, _))| !processes[*process].alive);
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

/// Waits for a time.
pub struct Sleep {
    sim: Sim,
    until: Millis,
    armed: bool,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        // A process that is stopped right now goes on when it is continued, with a step in between.
        if self.armed && self.sim.now() >= self.until {
            return Poll::Ready(());
        }
        if !self.armed {
            self.armed = true;
            let after = self.until.saturating_sub(self.sim.now());
            let waker = context.waker().clone();
            self.sim.schedule(after, Happening::Wake(waker));
        }
        Poll::Pending
    }
}

/// A place for one value that somebody waits for.
pub struct Slot<T>(Rc<RefCell<(Option<T>, Option<Waker>)>>);

impl<T> Clone for Slot<T> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<T> Slot<T> {
    /// An empty one.
    pub fn new() -> Self {
        Self(Rc::new(RefCell::new((None, None))))
    }

    /// Puts the value there.
    pub fn fill(&self, value: T) {
        let mut slot = self.0.borrow_mut();
        slot.0 = Some(value);
        if let Some(waker) = slot.1.take() {
            waker.wake();
        }
    }

    /// The value, once it is there.
    pub async fn take(&self) -> T {
        std::future::poll_fn(|context| {
            let mut slot = self.0.borrow_mut();
            match slot.0.take() {
                Some(value) => Poll::Ready(value),
                None => {
                    slot.1 = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }
}
