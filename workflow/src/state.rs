//! The state of a run, folded from its log.

use swarm_protocol::definition::{Action, Step};
use swarm_protocol::event::{
    Accepted, ApprovalRequested, Body, Canceling, Cause, Decided, Deleted, Effect, Event, Rejected,
    Retrying, StepEnded,
};
use swarm_protocol::journal::{Approval, CallDecision, PeerMessage};
use swarm_protocol::limits::SUMMARY_TASK_CHARS;
use swarm_protocol::summary::{Stored, Summary, WaitKind, WaitingFor};
use swarm_protocol::trace::TraceParent;
use swarm_protocol::{
    AgentName, Answer, AnswerStatus, RunId, RunResult, RunState, TaskId, Timestamp, Usage,
};

/// A run as its log tells it.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// The run.
    pub run: RunId,
    /// Number of the last event.
    pub n: u64,
    /// When the last event was decided.
    pub at: Timestamp,
    /// What was submitted, accepted or not.
    pub origin: Origin,
    /// Where it is.
    pub phase: RunState,
    /// One per step, in the definition's order.
    pub tasks: Vec<Task>,
    /// What the person who canceled said.
    pub cancel_reason: Option<String>,
    /// The result, when it has ended.
    pub result: Option<RunResult>,
    /// The last event's cause, and the effects it asked for.
    pub last: (Cause, Vec<Effect>),
    /// Messages to its agents, oldest first.
    pub messages: Vec<(AgentName, PeerMessage)>,
    /// Bytes of the texts in its log, about.
    pub bytes: u64,
    /// Sequence of the submission in the inbox.
    submission_seq: Option<u64>,
}

/// How a run began.
#[derive(Debug, Clone, PartialEq)]
pub enum Origin {
    /// With a submission that was taken.
    Accepted(Box<Accepted>),
    /// With one that was refused.
    Rejected(Box<Rejected>),
    /// That is forgotten.
    Deleted(Deleted),
}

/// One task of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// Its id, which is its step's.
    pub id: TaskId,
    /// Where it is.
    pub progress: Progress,
    /// Attempts that were dispatched.
    pub attempts: u32,
    /// When its last attempt was dispatched.
    pub dispatched_at: Option<Timestamp>,
    /// How often it has failed.
    pub failures: u32,
    /// What its attempts used that did not end it.
    pub used: Usage,
    /// How long they were at work, in milliseconds.
    pub worked_ms: u64,
    /// Number of the event that ended it.
    pub ended_by: Option<u64>,
    /// What a person was asked to decide, oldest first.
    pub asked: Vec<Asked>,
}

/// A decision that a person was asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// About which call.
    pub approval: Approval,
    /// The attempt that was suspended for it.
    pub attempt: u32,
    /// Since when.
    pub since: Timestamp,
    /// What was decided, once it was.
    pub decision: Option<CallDecision>,
}

impl Task {
    fn new(id: TaskId, taken_over: Option<&Answer>) -> Self {
        Self {
            id,
            progress: taken_over.map_or(Progress::Waiting, |answer| {
                Progress::Ended(Box::new(answer.clone()))
            }),
            attempts: 0,
            dispatched_at: None,
            failures: 0,
            used: Usage::default(),
            worked_ms: 0,
            ended_by: taken_over.map(|_| 1),
            asked: Vec::new(),
        }
    }

    /// The attempt that may be dispatched next, when one may.
    #[must_use]
    pub fn next_attempt(&self) -> Option<u32> {
        match &self.progress {
            Progress::Waiting => Some(1),
            Progress::Retrying { attempt, .. } => Some(*attempt),
            Progress::Suspended { attempt } => self.is_decided(*attempt).then_some(attempt + 1),
            // Set aside with its message, and brought back by a person.
            Progress::Ended(answer) => {
                let failed = answer.status == AnswerStatus::Failed;
                self.attempts.checked_add(1).filter(|_| failed)
            }
            Progress::Live { .. } => None,
        }
    }

    /// Whether all is decided that an attempt was suspended for.
    fn is_decided(&self, attempt: u32) -> bool {
        self.asked_by(attempt).all(|asked| asked.decision.is_some())
    }

    /// What an attempt was suspended for.
    fn asked_by(&self, attempt: u32) -> impl Iterator<Item = &Asked> {
        self.asked
            .iter()
            .filter(move |asked| asked.attempt == attempt)
    }

    /// What is to be known of earlier decisions by this attempt: what was approved for it, and all that was denied.
    pub fn decisions_for(&self, attempt: u32) -> impl Iterator<Item = (&str, CallDecision)> {
        self.asked.iter().filter_map(move |asked| {
            let decision = asked.decision?;
            let holds = decision == CallDecision::Denied || asked.attempt + 1 == attempt;
            let call = asked.approval.call.tool_use_id.as_str();
            holds.then_some((call, decision))
        })
    }
}

/// Where a task is.
#[derive(Debug, Clone, PartialEq)]
pub enum Progress {
    /// Not dispatched.
    Waiting,
    /// Dispatched, not ended.
    Live {
        /// Its attempt, from 1.
        attempt: u32,
    },
    /// Its attempt was ended: a person has to decide before the next one.
    Suspended {
        /// The attempt.
        attempt: u32,
    },
    /// Failed, and tried again later.
    Retrying {
        /// The next attempt.
        attempt: u32,
        /// When.
        due: Timestamp,
        /// How the last one failed.
        answer: Box<Answer>,
    },
    /// Ended.
    Ended(Box<Answer>),
}

impl Progress {
    /// Whether an attempt is dispatched and has not ended.
    #[must_use]
    pub fn is_live(&self) -> bool {
        matches!(self, Self::Live { .. })
    }
}

/// A log that tells no story: its run is set aside.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FoldError {
    /// An event is missing or doubled.
    #[error("event {found} follows event {last}")]
    Gap {
        /// The last event folded.
        last: u64,
        /// The one that came.
        found: u64,
    },
    /// The log begins with something else than a submission.
    #[error("the log begins with {0}")]
    Beginning(&'static str),
    /// An event that cannot follow.
    #[error("{event} cannot follow while the run is {state}")]
    Order {
        /// The event.
        event: &'static str,
        /// The run's state.
        state: RunState,
    },
    /// A task that the definition does not have, or that is not live.
    #[error("task {0} is not live")]
    Task(TaskId),
}

impl State {
    /// The submission, when it was accepted.
    #[must_use]
    pub fn accepted(&self) -> Option<&Accepted> {
        match &self.origin {
            Origin::Accepted(accepted) => Some(accepted),
            Origin::Rejected(_) | Origin::Deleted(_) => None,
        }
    }

    /// Whether the run was deleted.
    #[must_use]
    pub fn is_deleted(&self) -> bool {
        matches!(self.origin, Origin::Deleted(_))
    }

    /// When it was submitted; of a rejected run, when it was rejected.
    #[must_use]
    pub fn submitted_at(&self) -> Timestamp {
        match &self.origin {
            Origin::Accepted(accepted) => accepted.submitted_at,
            Origin::Rejected(_) => self.at,
            Origin::Deleted(deleted) => deleted.submitted_at,
        }
    }

    /// The span of whoever submitted it, when that one had a trace.
    #[must_use]
    pub fn submitter(&self) -> Option<TraceParent> {
        match &self.origin {
            Origin::Accepted(accepted) => accepted.traceparent,
            Origin::Rejected(rejected) => rejected.traceparent,
            Origin::Deleted(_) => None,
        }
    }

    /// The span that the run is.
    #[must_use]
    pub fn trace(&self) -> TraceParent {
        TraceParent::of_run(self.run, self.submitter())
    }

    /// The steps, none when it was rejected.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        self.accepted()
            .map_or(&[], |accepted| &accepted.definition.steps)
    }

    /// The hash of the submission: the same id with another hash is another submission.
    #[must_use]
    pub fn content_sha256(&self) -> &str {
        match &self.origin {
            Origin::Accepted(accepted) => &accepted.content_sha256,
            Origin::Rejected(rejected) => &rejected.content_sha256,
            Origin::Deleted(deleted) => &deleted.content_sha256,
        }
    }

    /// When the last attempt at a task was dispatched.
    #[must_use]
    pub fn dispatched_at(&self, task: &TaskId) -> Option<Timestamp> {
        let found = self.tasks.iter().find(|t| t.id == *task);
        found.and_then(|task| task.dispatched_at)
    }

    /// The progress of a task.
    #[must_use]
    pub fn progress(&self, task: &TaskId) -> Option<&Progress> {
        self.tasks
            .iter()
            .find(|t| t.id == *task)
            .map(|t| &t.progress)
    }

    /// The answer of a task that has ended.
    #[must_use]
    pub fn answer(&self, task: &TaskId) -> Option<&Answer> {
        match self.progress(task) {
            Some(Progress::Ended(answer)) => Some(answer),
            _ => None,
        }
    }

    /// The live tasks and their attempts; none once the run has ended.
    pub fn live(&self) -> impl Iterator<Item = (&TaskId, u32)> {
        let open = !self.phase.is_terminal();
        self.tasks
            .iter()
            .filter_map(move |task| match task.progress {
                Progress::Live { attempt } if open => Some((&task.id, attempt)),
                _ => None,
            })
    }

    /// The tasks that are tried again: the next attempt, and when.
    pub fn retrying(&self) -> impl Iterator<Item = (&TaskId, u32, Timestamp)> {
        let open = !self.phase.is_terminal();
        self.tasks
            .iter()
            .filter_map(move |task| match task.progress {
                Progress::Retrying { attempt, due, .. } if open => Some((&task.id, attempt, due)),
                _ => None,
            })
    }

    /// Whether an agent of the run still takes messages: a task of it has not ended, and the run goes on.
    #[must_use]
    pub fn takes_messages(&self, agent: &AgentName) -> bool {
        let goes_on = !self.phase.is_terminal() && self.phase != RunState::Canceling;
        goes_on
            && self.tasks.iter().any(|task| {
                self.agent_of(&task.id) == Some(agent)
                    && !matches!(task.progress, Progress::Ended(_))
            })
    }

    /// What a person was asked, by its name.
    #[must_use]
    pub fn asked(&self, approval: &str) -> Option<(&Task, &Asked)> {
        self.tasks.iter().find_map(|task| {
            let asked = task.asked.iter();
            let mut asked = asked.filter(|asked| asked.approval.approval == approval);
            Some((task, asked.next()?))
        })
    }

    /// What a person has to decide before the run goes on.
    pub fn undecided(&self) -> impl Iterator<Item = (&Task, &Asked)> {
        let open = !self.phase.is_terminal();
        let suspended = self
            .tasks
            .iter()
            .filter_map(move |task| match task.progress {
                Progress::Suspended { attempt } if open => Some((task, attempt)),
                _ => None,
            });
        suspended.flat_map(|(task, attempt)| {
            let asked = task.asked_by(attempt);
            let undecided = asked.filter(|asked| asked.decision.is_none());
            undecided.map(move |asked| (task, asked))
        })
    }

    /// The suspended tasks whose next attempt may start, and that attempt.
    pub(crate) fn decided(&self) -> impl Iterator<Item = (&TaskId, u32)> {
        self.tasks.iter().filter_map(|task| match task.progress {
            Progress::Suspended { .. } => Some((&task.id, task.next_attempt()?)),
            _ => None,
        })
    }

    /// The task, with all that is known of it.
    #[must_use]
    pub fn task(&self, id: &TaskId) -> Option<&Task> {
        self.tasks.iter().find(|task| task.id == *id)
    }

    /// What all attempts of the run have used so far.
    #[must_use]
    pub fn used(&self) -> Usage {
        self.tasks.iter().fold(Usage::default(), |sum, task| {
            let sum = sum.plus(task.used);
            match &task.progress {
                Progress::Ended(answer) => sum.plus(answer.usage),
                _ => sum,
            }
        })
    }

    /// When something is to be done although nothing happens: the run's own deadline, or the next attempt of a task.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let accepted = self.accepted().filter(|_| !self.phase.is_terminal())?;
        let runs = self.phase.starts_attempts();
        let retries = self.retrying().map(|(_, _, due)| due).filter(|_| runs);
        retries.chain([accepted.deadline]).min()
    }

    /// What the run waits for, as far as its log tells.
    fn waiting_for(&self) -> Option<WaitingFor> {
        if let Some((_, asked)) = self.undecided().min_by_key(|(_, asked)| asked.since) {
            return Some(WaitingFor {
                kind: WaitKind::Approval,
                name: Some(asked.approval.approval.clone()),
                since: asked.since,
            });
        }
        let working = self.phase.starts_attempts() && self.live().next().is_none();
        let (task, _, _) = self.retrying().min_by_key(|(_, _, due)| *due)?;
        working.then(|| WaitingFor {
            kind: WaitKind::Retry,
            name: Some(task.to_string()),
            since: self.at,
        })
    }

    /// Whether the last event has effects and a cause that nobody redelivers.
    #[must_use]
    pub fn unconfirmed(&self) -> bool {
        let (cause, effects) = &self.last;
        !matches!(cause, Cause::Message { .. }) && !effects.is_empty()
    }

    /// The state in one line, as the header of the last event holds it.
    #[must_use]
    pub fn summary(&self) -> Stored {
        let task = match &self.origin {
            Origin::Accepted(accepted) => accepted.submission.task.as_deref().unwrap_or_default(),
            Origin::Rejected(rejected) => rejected.task.as_str(),
            Origin::Deleted(_) => "",
        };
        let ended = self.phase.is_terminal();
        let labels = self
            .accepted()
            .and_then(|accepted| accepted.submission.labels.clone());
        let summary = Summary {
            run: self.run,
            seq: self.submission_seq,
            task: task.chars().take(SUMMARY_TASK_CHARS).collect(),
            state: self.phase,
            waiting_for: self.waiting_for(),
            deadline: self.next_deadline(),
            unconfirmed: self.unconfirmed(),
            submitted_at: self.submitted_at(),
            ended_at: ended.then_some(self.at),
            labels,
            retry_of: self.accepted().and_then(|accepted| accepted.retry_of),
        };
        Stored {
            summary,
            live: self.live_agents(),
            at: self.at,
            queue: self
                .accepted()
                .and_then(|accepted| accepted.submission.queue_timeout),
            deleted: self.is_deleted(),
        }
    }

    fn live_agents(&self) -> Vec<AgentName> {
        let mut agents: Vec<AgentName> = self
            .live()
            .filter_map(|(task, _)| self.agent_of(task))
            .cloned()
            .collect();
        agents.sort();
        agents.dedup();
        agents
    }

    /// The agent that does a task.
    #[must_use]
    pub fn agent_of(&self, task: &TaskId) -> Option<&AgentName> {
        match &self.steps().iter().find(|step| step.id == *task)?.action {
            Action::Agent { agent } => Some(agent),
            Action::Aggregate { agent, .. } => agent.as_ref(),
        }
    }

    fn end_task(&mut self, ended: &StepEnded, n: u64) -> Result<(), FoldError> {
        let task = self.live_task(&ended.task, ended.attempt)?;
        task.progress = Progress::Ended(Box::new(ended.answer.clone()));
        // The answer has both, over all attempts.
        (task.used, task.worked_ms) = (Usage::default(), 0);
        task.ended_by = Some(n);
        Ok(())
    }

    fn retry_task(&mut self, retrying: &Retrying) -> Result<(), FoldError> {
        let task = self.live_task(&retrying.task, retrying.attempt)?;
        task.failures = retrying.failures;
        task.used = task.used.plus(retrying.answer.usage);
        task.worked_ms += retrying.answer.elapsed_ms;
        task.progress = Progress::Retrying {
            attempt: retrying.attempt + 1,
            due: retrying.due,
            answer: Box::new(retrying.answer.clone()),
        };
        Ok(())
    }

    fn suspend_task(&mut self, event: &ApprovalRequested, at: Timestamp) -> Result<(), FoldError> {
        let ApprovalRequested {
            task,
            attempt,
            suspended,
        } = event;
        let task = self.live_task(task, *attempt)?;
        task.used = task.used.plus(suspended.usage);
        task.worked_ms += suspended.elapsed_ms;
        let asked = suspended.approvals.iter().map(|approval| Asked {
            approval: approval.clone(),
            attempt: *attempt,
            since: at,
            decision: None,
        });
        task.asked.extend(asked);
        task.progress = Progress::Suspended { attempt: *attempt };
        Ok(())
    }

    fn decide_call(&mut self, decided: &Decided, decision: CallDecision) -> Result<(), FoldError> {
        let unknown = || FoldError::Task(decided.task.clone());
        let task = self.tasks.iter_mut().find(|task| task.id == decided.task);
        let asked = task.ok_or_else(unknown)?.asked.iter_mut();
        let mut asked = asked.filter(|asked| asked.approval.approval == decided.approval);
        asked.next().ok_or_else(unknown)?.decision = Some(decision);
        Ok(())
    }

    /// A run that works waits for a person, or goes on.
    fn settle_phase(&mut self) {
        let waits = self.undecided().next().is_some();
        self.phase = match self.phase {
            RunState::Working if waits => RunState::InputRequired,
            RunState::InputRequired if !waits => RunState::Working,
            phase => phase,
        };
    }

    fn live_task(&mut self, id: &TaskId, attempt: u32) -> Result<&mut Task, FoldError> {
        let is_live = |task: &&mut Task| {
            task.id == *id
                && matches!(task.progress, Progress::Live { attempt: live } if live == attempt)
        };
        let found = self.tasks.iter_mut().find(is_live);
        found.ok_or_else(|| FoldError::Task(id.clone()))
    }

    /// From one phase, of which this holds, to another.
    fn turn(
        &mut self,
        from: impl Fn(RunState) -> bool,
        to: RunState,
        event: &Event,
    ) -> Result<(), FoldError> {
        if !from(self.phase) {
            return Err(FoldError::Order {
                event: event.body.name(),
                state: self.phase,
            });
        }
        self.phase = to;
        Ok(())
    }

    fn note_dispatches(&mut self, event: &Event) -> Result<(), FoldError> {
        for effect in &event.effects {
            let Effect::Dispatch { task, attempt } = effect else {
                continue;
            };
            let found = self.tasks.iter_mut().find(|t| t.id == *task);
            let Some(found) = found.filter(|found| found.next_attempt() == Some(*attempt)) else {
                return Err(FoldError::Task(task.clone()));
            };
            if let Progress::Ended(answer) = &found.progress {
                (found.used, found.worked_ms) = (answer.usage, answer.elapsed_ms);
                (found.ended_by, found.failures) = (None, 0);
            }
            found.attempts = *attempt;
            found.progress = Progress::Live { attempt: *attempt };
            found.dispatched_at = Some(event.at);
        }
        Ok(())
    }
}

/// The state after all events of a log.
///
/// # Errors
/// When the log tells no story.
pub fn replay(events: &[Event]) -> Result<State, FoldError> {
    let mut state = None;
    for event in events {
        state = Some(fold(state, event)?);
    }
    state.ok_or(FoldError::Beginning("nothing"))
}

/// The state after one more event.
///
/// # Errors
/// When the event cannot follow.
pub fn fold(state: Option<State>, event: &Event) -> Result<State, FoldError> {
    let Some(mut state) = state else {
        return begin(event);
    };
    if event.n != state.n + 1 {
        return Err(FoldError::Gap {
            last: state.n,
            found: event.n,
        });
    }
    if let Body::Deleted(deleted) = &event.body
        && state.phase.is_terminal()
        && !state.is_deleted()
    {
        return Ok(forgotten(event, deleted));
    }
    if state.phase.is_terminal() {
        return Err(FoldError::Order {
            event: event.body.name(),
            state: state.phase,
        });
    }
    match &event.body {
        Body::Accepted(_) | Body::Rejected(_) | Body::Deleted(_) => {
            return Err(FoldError::Order {
                event: event.body.name(),
                state: state.phase,
            });
        }
        Body::StepCompleted(ended) | Body::StepFailed(ended) => state.end_task(ended, event.n)?,
        Body::Retrying(retrying) => state.retry_task(retrying)?,
        Body::Dispatched(_) => {}
        Body::ApprovalRequested(requested) => state.suspend_task(requested, event.at)?,
        Body::Approved(decided) => state.decide_call(decided, CallDecision::Approved)?,
        Body::Denied(decided) => state.decide_call(decided, CallDecision::Denied)?,
        Body::Message(message) => state.messages.push((
            message.to.clone(),
            PeerMessage {
                n: event.n,
                from: message.from.clone(),
                text: message.text.clone(),
            },
        )),
        Body::Paused(_) => state.turn(RunState::starts_attempts, RunState::Paused, event)?,
        Body::Unpaused(_) => {
            let paused = |phase| phase == RunState::Paused;
            state.turn(paused, RunState::Working, event)?;
        }
        Body::Canceling(Canceling { reason }) => {
            state.phase = RunState::Canceling;
            state.cancel_reason.clone_from(reason);
        }
        Body::Completed(result) | Body::Failed(result) | Body::Canceled(result) => {
            state.phase = result.status;
            state.result = Some((**result).clone());
        }
    }
    state.note_dispatches(event)?;
    state.settle_phase();
    state.bytes += text_bytes(&event.body);
    state.n = event.n;
    state.at = event.at;
    state.last = (event.cause.clone(), event.effects.clone());
    Ok(state)
}

/// Bytes of the texts that an event holds: what its size is made of.
fn text_bytes(body: &Body) -> u64 {
    let of_answer = |answer: &Answer| answer.text.as_ref().map_or(0, String::len);
    let bytes = match body {
        Body::Accepted(accepted) => {
            let submission = &accepted.submission;
            let texts = [&submission.task, &submission.context];
            let asked: usize = texts.into_iter().flatten().map(String::len).sum();
            asked + accepted.taken_over.iter().map(of_answer).sum::<usize>()
        }
        Body::StepCompleted(ended) | Body::StepFailed(ended) => of_answer(&ended.answer),
        Body::Retrying(retrying) => of_answer(&retrying.answer),
        Body::Message(message) => message.text.len(),
        _ => 0,
    };
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// A deleted run: all that is left of it.
fn forgotten(event: &Event, deleted: &Deleted) -> State {
    State {
        run: event.run,
        n: event.n,
        at: event.at,
        origin: Origin::Deleted(deleted.clone()),
        phase: deleted.state,
        tasks: Vec::new(),
        cancel_reason: None,
        result: None,
        last: (event.cause.clone(), event.effects.clone()),
        messages: Vec::new(),
        bytes: 0,
        submission_seq: None,
    }
}

fn begin(event: &Event) -> Result<State, FoldError> {
    if let Body::Deleted(deleted) = &event.body {
        return Ok(forgotten(event, deleted));
    }
    if event.n != 1 {
        return Err(FoldError::Gap {
            last: 0,
            found: event.n,
        });
    }
    let (origin, phase, result, steps, taken_over): (_, _, _, &[Step], &[Answer]) =
        match &event.body {
            Body::Accepted(accepted) => (
                Origin::Accepted(accepted.clone()),
                RunState::Submitted,
                None,
                &accepted.definition.steps,
                &accepted.taken_over,
            ),
            Body::Rejected(rejected) => (
                Origin::Rejected(rejected.clone()),
                RunState::Rejected,
                Some(rejected.result.clone()),
                &[],
                &[],
            ),
            other => return Err(FoldError::Beginning(other.name())),
        };
    let mut state = State {
        run: event.run,
        n: event.n,
        at: event.at,
        origin,
        phase,
        tasks: steps
            .iter()
            .map(|step| {
                let taken_over = taken_over.iter().find(|answer| answer.task == step.id);
                Task::new(step.id.clone(), taken_over)
            })
            .collect(),
        cancel_reason: None,
        result,
        last: (event.cause.clone(), event.effects.clone()),
        messages: Vec::new(),
        bytes: text_bytes(&event.body),
        submission_seq: match event.cause {
            Cause::Message { seq, .. } => Some(seq),
            _ => None,
        },
    };
    state.note_dispatches(event)?;
    if state.live().next().is_some() {
        state.phase = RunState::Working;
    }
    Ok(state)
}
