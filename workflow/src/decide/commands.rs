//! What people ask of a run.

use swarm_protocol::event::{
    Body, Canceling, Decided, Deleted, Dispatched, Effect, Event, Message, Paused, Unpaused,
};
use swarm_protocol::journal::CallDecision;
use swarm_protocol::{AgentName, AnswerStatus, RunState, TaskId};

use super::attempts::{due_attempts, is_won};
use super::{Context, dispatch, end, end_live, event};
use crate::blobs::Ledger;
use crate::next::{Ending, Next, join, next};
use crate::state::{Progress, State, fold};

/// A person decided about a call; when all is decided that its task waits for, it goes on.
pub(super) fn decide_call(
    state: &State,
    approval: &str,
    call_sha256: &str,
    decision: CallDecision,
    reason: Option<String>,
    context: Context,
) -> Option<Event> {
    let mut undecided = state.undecided();
    let (task, _) = undecided.find(|(_, asked)| {
        asked.approval.approval == approval && asked.approval.call_sha256 == call_sha256
    })?;
    if state.phase == RunState::Canceling {
        return None;
    }
    let decided = Decided {
        approval: approval.to_owned(),
        task: task.id.clone(),
        reason,
    };
    let body = match decision {
        CallDecision::Approved => Body::Approved(decided),
        CallDecision::Denied => Body::Denied(decided),
    };
    let event = event(state.n + 1, context, body, Vec::new());
    let after = fold(Some(state.clone()), &event).ok()?;
    let effects = if after.phase.starts_attempts() {
        dispatch_decided(&after)
    } else {
        Vec::new()
    };
    Some(Event { effects, ..event })
}

fn dispatch_decided(state: &State) -> Vec<Effect> {
    let wanted = !is_won(state);
    let decided = state.decided().filter(|_| wanted);
    decided
        .map(|(task, attempt)| dispatch(task, attempt))
        .collect()
}

pub(super) fn message(
    state: &State,
    to: &AgentName,
    text: &str,
    context: Context,
) -> Option<Event> {
    if !state.takes_messages(to) {
        return None;
    }
    let body = Body::Message(Message {
        to: to.clone(),
        from: None,
        text: text.to_owned(),
    });
    let wake = Effect::Wake { agent: to.clone() };
    Some(event(state.n + 1, context, body, vec![wake]))
}

/// A task that had failed is tried once more, as long as nothing was made of its failure.
pub(super) fn again(state: &State, task: &TaskId, context: Context) -> Option<Event> {
    let known = state.task(task)?;
    let failed =
        matches!(&known.progress, Progress::Ended(answer) if answer.status == AnswerStatus::Failed);
    let in_time = context.at < state.accepted()?.deadline;
    let is_open = state.phase.starts_attempts()
        && join(state).is_some_and(|join| {
            let waits = matches!(state.progress(&join.step.id), Some(Progress::Waiting));
            waits && join.needs.contains(task)
        });
    if !failed || !is_open || !in_time || is_won(state) {
        return None;
    }
    let effects = vec![dispatch(task, known.next_attempt()?)];
    let body = Body::Dispatched(Dispatched {
        tasks: vec![task.clone()],
    });
    Some(event(state.n + 1, context, body, effects))
}

pub(super) fn cancel(
    state: &State,
    reason: Option<String>,
    context: Context,
    ledger: &mut Ledger<'_>,
) -> Option<Event> {
    if state.phase == RunState::Canceling {
        return None;
    }
    if state.live().next().is_none() {
        let mut after = state.clone();
        after.cancel_reason = reason;
        after.n += 1;
        let ending = Ending::canceled(&after);
        return Some(end(&after, ending, context, ledger));
    }
    let body = Body::Canceling(Canceling { reason });
    Some(event(state.n + 1, context, body, end_live(state)))
}

pub(super) fn pause(state: &State, reason: Option<String>, context: Context) -> Option<Event> {
    let body = Body::Paused(Paused { reason });
    state
        .phase
        .starts_attempts()
        .then(|| event(state.n + 1, context, body, Vec::new()))
}

pub(super) fn resume(state: &State, reason: Option<String>, context: Context) -> Option<Event> {
    if state.phase != RunState::Paused {
        return None;
    }
    let mut effects = due_attempts(state, context.at);
    effects.extend(dispatch_decided(state));
    if let Next::Dispatch(task) = next(state, context.at) {
        effects.push(dispatch(&task, 1));
    }
    let body = Body::Unpaused(Unpaused { reason });
    Some(event(state.n + 1, context, body, effects))
}

pub(super) fn delete(state: &State, context: Context) -> Option<Event> {
    if !state.phase.is_terminal() || state.is_deleted() {
        return None;
    }
    let deleted = Deleted {
        state: state.phase,
        submitted_at: state.submitted_at(),
        content_sha256: state.content_sha256().to_owned(),
    };
    Some(event(
        state.n + 1,
        context,
        Body::Deleted(deleted),
        Vec::new(),
    ))
}
