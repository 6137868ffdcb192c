//! A task of a run: where it is, and what is known of its attempts.

use swarm_protocol::journal::{Approval, CallDecision};
use swarm_protocol::{Answer, AnswerStatus, TaskId, Timestamp, Usage};

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
    pub(super) fn new(id: TaskId, taken_over: Option<&Answer>) -> Self {
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
    pub(super) fn asked_by(&self, attempt: u32) -> impl Iterator<Item = &Asked> {
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
