//! The state of a run, folded from its log.

mod folding;
mod task;

use swarm_protocol::definition::{Action, Step};
use swarm_protocol::event::{Accepted, Body, Cause, Deleted, Effect, Event, Rejected};
use swarm_protocol::journal::PeerMessage;
use swarm_protocol::limits::SUMMARY_TASK_CHARS;
use swarm_protocol::summary::{Stored, Summary, WaitKind, WaitingFor};
use swarm_protocol::trace::TraceParent;
use swarm_protocol::{AgentName, Answer, RunId, RunResult, RunState, TaskId, Timestamp, Usage};

pub use folding::{FoldError, fold, replay};
pub use task::{Asked, Progress, Task};

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

    /// Whether an event would stand behind one whose effects may not be published: no delivery brings them back, and a sweep
    /// finds them only as long as they are the last. What ends all attempts needs nothing of what an earlier event began.
    #[must_use]
    pub fn leaves_behind(&self, next: &Event) -> bool {
        let ends_all = matches!(next.body, Body::Canceling(_) | Body::Deleted(_));
        self.unconfirmed() && !ends_all && next.body.result().is_none()
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
}
