//! What follows from the end of an attempt, and from the time.

use swarm_protocol::event::{
    ApprovalRequested, Body, Dispatched, Effect, Event, Retrying, StepEnded,
};
use swarm_protocol::journal::Suspended;
use swarm_protocol::{Aggregate, Answer, AnswerStatus, RunState, TaskId, Timestamp};

use super::{Context, dispatch, end, end_live, event};
use crate::blobs::Ledger;
use crate::next::{Ending, Next, first, join, next, overdue};
use crate::retry;
use crate::state::{Progress, State, Task, fold};

/// A live task ended. The event is what follows from that: the step's end, or, when it was the last one, the run's.
pub(super) fn task_ended(
    state: &State,
    task: &TaskId,
    attempt: u32,
    answer: &Answer,
    context: Context,
    ledger: &mut Ledger<'_>,
) -> Option<Event> {
    if !matches!(state.progress(task), Some(Progress::Live { attempt: live }) if *live == attempt) {
        return None;
    }
    let known = state.task(task)?;
    if let Some(retrying) = retry(state, known, attempt, answer, context.at) {
        let body = Body::Retrying(Box::new(retrying));
        return Some(event(state.n + 1, context, body, Vec::new()));
    }
    let ended = StepEnded {
        task: task.clone(),
        attempt,
        answer: Answer {
            usage: known.used.plus(answer.usage),
            elapsed_ms: known.worked_ms + answer.elapsed_ms,
            ..answer.clone()
        },
    };
    let body = if answer.status == AnswerStatus::Completed {
        Body::StepCompleted(Box::new(ended))
    } else {
        Body::StepFailed(Box::new(ended))
    };
    let step_event = event(state.n + 1, context.clone(), body, Vec::new());
    let after = fold(Some(state.clone()), &step_event).ok()?;
    match next(&after, context.at) {
        Next::Wait => Some(Event {
            effects: after_first(&after, answer),
            ..step_event
        }),
        // It waits until the run is resumed.
        Next::Dispatch(_) if after.phase == RunState::Paused => Some(step_event),
        Next::Dispatch(task) => Some(Event {
            effects: vec![dispatch(&task, 1)],
            ..step_event
        }),
        Next::End(ending) => Some(end(&after, ending, context, ledger)),
    }
}

/// A live attempt waits for a person.
pub(super) fn task_suspended(
    state: &State,
    task: &TaskId,
    attempt: u32,
    suspended: &Suspended,
    context: Context,
    ledger: &mut Ledger<'_>,
) -> Option<Event> {
    if !matches!(state.progress(task), Some(Progress::Live { attempt: live }) if *live == attempt) {
        return None;
    }
    let body = Body::ApprovalRequested(Box::new(ApprovalRequested {
        task: task.clone(),
        attempt,
        suspended: suspended.clone(),
    }));
    let requested = event(state.n + 1, context.clone(), body, Vec::new());
    let after = fold(Some(state.clone()), &requested).ok()?;
    // A cancel, or the first answer, has ended its run otherwise.
    match next(&after, context.at) {
        Next::End(ending) => Some(end(&after, ending, context, ledger)),
        Next::Wait | Next::Dispatch(_) => Some(requested),
    }
}

/// The next attempt after one that failed, when there is to be one.
fn retry(
    state: &State,
    task: &Task,
    attempt: u32,
    answer: &Answer,
    at: Timestamp,
) -> Option<Retrying> {
    let accepted = state.accepted()?;
    let error = answer.error.as_ref()?;
    let failures = task.failures + 1;
    let goes_on = state.phase.starts_attempts() || state.phase == RunState::Paused;
    let may = answer.status == AnswerStatus::Failed && error.retryable && goes_on;
    let due = at.after(retry::pause(state.run, &task.id, failures));
    let in_time = due < accepted.deadline;
    let is_wanted = !is_won(state);
    (may && failures <= accepted.retries && in_time && is_wanted).then(|| Retrying {
        task: task.id.clone(),
        attempt,
        answer: answer.clone(),
        failures,
        due,
    })
}

/// Whether the first answer was all that is wanted, and has come.
pub(super) fn is_won(state: &State) -> bool {
    let takes_first = join(state).is_some_and(|join| join.mode == Aggregate::First);
    takes_first && first(state).is_some()
}

/// When the first answer is all that is wanted, the others are canceled.
fn after_first(state: &State, answer: &Answer) -> Vec<Effect> {
    let is_first = first(state) == Some(&answer.task) && is_won(state);
    if is_first {
        end_live(state)
    } else {
        Vec::new()
    }
}

/// What is to be done because of the time. The attempts that are live at the end of the run's time are ended in their
/// journals: nothing is decided before that.
pub(super) fn due(state: &State, context: Context, ledger: &mut Ledger<'_>) -> Option<Event> {
    if let Some(reason) = overdue(state, context.at) {
        let mut after = state.clone();
        after.n += 1;
        let ending = Ending::failed(reason);
        let nobody_works = state.live().next().is_none();
        return nobody_works.then(|| end(&after, ending, context, ledger));
    }
    let effects = due_attempts(state, context.at);
    if effects.is_empty() || !state.phase.starts_attempts() {
        return None;
    }
    let tasks = effects.iter().filter_map(|effect| match effect {
        Effect::Dispatch { task, .. } => Some(task.clone()),
        _ => None,
    });
    let body = Body::Dispatched(Dispatched {
        tasks: tasks.collect(),
    });
    Some(event(state.n + 1, context, body, effects))
}

pub(super) fn due_attempts(state: &State, at: Timestamp) -> Vec<Effect> {
    let wanted = !is_won(state);
    let due = state.retrying().filter(|(_, _, due)| wanted && *due <= at);
    due.map(|(task, attempt, _)| dispatch(task, attempt))
        .collect()
}
