//! From events to a state.

use swarm_protocol::definition::Step;
use swarm_protocol::event::{
    ApprovalRequested, Body, Canceling, Cause, Decided, Deleted, Effect, Event, Retrying, StepEnded,
};
use swarm_protocol::journal::CallDecision;
use swarm_protocol::{Answer, RunState, TaskId, Timestamp, Usage};

use super::{Asked, Origin, Progress, State, Task};

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
        Body::Message(_) => {
            let sent = event.message();
            state
                .messages
                .extend(sent.map(|(to, sent)| (to.clone(), sent)));
        }
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
