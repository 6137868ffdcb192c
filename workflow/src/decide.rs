//! What an input decides: the next event of a run, or nothing.

use swarm_protocol::definition::{Action, Step};
use swarm_protocol::event::{
    Accepted, ApprovalRequested, Body, Canceling, Cause, Decided, Deleted, Dispatched, Effect,
    Event, Message, Paused, Rejected, Retrying, StepEnded, Unpaused,
};
use swarm_protocol::journal::{CallDecision, Suspended};
use swarm_protocol::limits::{MAX_EVENTS, MAX_LOG_BYTES, SUMMARY_TASK_CHARS};
use swarm_protocol::trace::TraceParent;
use swarm_protocol::{
    AgentName, Aggregate, Answer, AnswerStatus, Code, ErrorBody, InstanceId, RunId, RunState,
    Submission, TaskId, Timestamp, Version,
};

use crate::compile::{Team, compile, total_timeout};
use crate::next::{Ending, Next, first, join, next, overdue};
use crate::state::{Progress, State, Task, fold};
use crate::{result, retry};

/// Who decides, when and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Context {
    /// The run.
    pub run: RunId,
    /// Now.
    pub at: Timestamp,
    /// The coordinator.
    pub by: InstanceId,
    /// Why.
    pub cause: Cause,
}

/// A submission on its way to become a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Submit {
    /// What was read from its payload.
    pub submission: Result<Submission, ErrorBody>,
    /// The first characters of the payload, when it is text.
    pub excerpt: String,
    /// The target that its subject named.
    pub target: Option<String>,
    /// SHA-256 of payload and target.
    pub content_sha256: String,
    /// When it was stored.
    pub submitted_at: Timestamp,
    /// Where the answer of its `ask` goes.
    pub reply: Option<String>,
    /// The span of whoever submitted it, when that one had a trace.
    pub traceparent: Option<TraceParent>,
}

/// What happened to a run.
#[derive(Debug, Clone, PartialEq)]
pub enum Input<'a> {
    /// A submission was delivered.
    Submit(&'a Submit, &'a Team),
    /// An attempt's journal was ended.
    TaskEnded {
        /// The task.
        task: &'a TaskId,
        /// The attempt.
        attempt: u32,
        /// How.
        answer: &'a Answer,
    },
    /// An attempt's journal was ended: it waits for a person.
    TaskSuspended {
        /// The task.
        task: &'a TaskId,
        /// The attempt.
        attempt: u32,
        /// For what.
        suspended: &'a Suspended,
    },
    /// A person decided about a call.
    Decide {
        /// What they were asked.
        approval: &'a str,
        /// Which call they mean.
        call_sha256: &'a str,
        /// What they decided.
        decision: CallDecision,
        /// What they said.
        reason: Option<String>,
    },
    /// A person sent a message to an agent of the run.
    Message {
        /// To whom.
        to: &'a AgentName,
        /// What it says.
        text: &'a str,
    },
    /// A person brought a task back that had failed.
    Again {
        /// The task.
        task: &'a TaskId,
    },
    /// Somebody asked for a cancel.
    Cancel {
        /// What they said.
        reason: Option<String>,
    },
    /// Somebody asked that no new attempt starts.
    Pause {
        /// What they said.
        reason: Option<String>,
    },
    /// Somebody asked that attempts start again.
    Resume {
        /// What they said.
        reason: Option<String>,
    },
    /// A deadline may have passed.
    Due,
    /// Somebody asked to do another run again, which has ended, as this one.
    Repeat(&'a State),
    /// Somebody asked to forget it.
    Delete,
}

/// What an input decides.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// Append this event.
    Append(Box<Event>),
    /// Nothing: it was decided before, or does not concern the run any more.
    Ignore,
}

/// Decides.
#[must_use]
pub fn decide(state: Option<&State>, input: Input<'_>, context: Context) -> Decision {
    let event = match (state, input) {
        (None, Input::Submit(submit, team)) => Some(begin(submit, team, context)),
        (None, Input::Repeat(old)) => repeat(old, context),
        (None, _) | (Some(_), Input::Submit(..) | Input::Repeat(_)) => None,
        (Some(state), Input::Delete) => delete(state, context),
        (Some(state), _) if state.phase.is_terminal() => None,
        (
            Some(state),
            Input::TaskEnded {
                task,
                attempt,
                answer,
            },
        ) => task_ended(state, task, attempt, answer, context),
        (
            Some(state),
            Input::TaskSuspended {
                task,
                attempt,
                suspended,
            },
        ) => task_suspended(state, task, attempt, suspended, context),
        (
            Some(state),
            Input::Decide {
                approval,
                call_sha256,
                decision,
                reason,
            },
        ) => decide_call(state, approval, call_sha256, decision, reason, context),
        (Some(state), Input::Message { to, text }) => message(state, to, text, context),
        (Some(state), Input::Again { task }) => again(state, task, context),
        (Some(state), Input::Cancel { reason }) => cancel(state, reason, context),
        (Some(state), Input::Pause { reason }) => pause(state, reason, context),
        (Some(state), Input::Resume { reason }) => resume(state, reason, context),
        (Some(state), Input::Due) => due(state, context),
    };
    let event = event.map(|event| within_limits(state, event));
    event.map_or(Decision::Ignore, |event| Decision::Append(Box::new(event)))
}

/// The last event that a run may have is its end.
fn within_limits(state: Option<&State>, event: Event) -> Event {
    let Some(state) = state.filter(|state| !state.phase.is_terminal()) else {
        return event;
    };
    let is_last = event.n >= MAX_EVENTS || state.bytes >= MAX_LOG_BYTES;
    if event.body.result().is_some() || !is_last {
        return event;
    }
    let message = format!(
        "the run has {MAX_EVENTS} events or {} MiB of texts, and takes no more",
        MAX_LOG_BYTES / 1024 / 1024
    );
    let mut after = state.clone();
    after.n = event.n;
    let ending = Ending::failed(ErrorBody::new(Code::Limit, message), None);
    let context = Context {
        run: event.run,
        at: event.at,
        by: event.by,
        cause: event.cause,
    };
    let mut ended = end(&after, ending, context);
    ended.effects.extend(end_live(state));
    ended
}

fn begin(submit: &Submit, team: &Team, context: Context) -> Event {
    let compiled = submit.submission.clone().and_then(|submission| {
        let definition = compile(&submission, submit.target.as_deref(), team)?;
        Ok((submission, definition))
    });
    let (submission, definition) = match compiled {
        Ok(compiled) => compiled,
        Err(reason) => return reject(submit, reason, context),
    };
    let effects = definition
        .steps
        .iter()
        .filter(|step| is_ready_at_once(step))
        .map(|step| dispatch(&step.id, 1))
        .collect();
    let deadline = submit
        .submitted_at
        .after(total_timeout(submission.timeout, team));
    let accepted = Accepted {
        budget: submission.budget.unwrap_or_default().or(team.budget),
        submission,
        target: submit.target.clone(),
        content_sha256: submit.content_sha256.clone(),
        submitted_at: submit.submitted_at,
        deadline,
        definition,
        retries: team.retries,
        retry_of: None,
        taken_over: Vec::new(),
        reply: submit.reply.clone(),
        traceparent: submit.traceparent,
    };
    event(1, context, Body::Accepted(Box::new(accepted)), effects)
}

fn reject(submit: &Submit, reason: ErrorBody, context: Context) -> Event {
    let result = result::rejected(context.run, reason, context.at.since(submit.submitted_at));
    let rejected = Rejected {
        result,
        content_sha256: submit.content_sha256.clone(),
        task: submit.excerpt.chars().take(SUMMARY_TASK_CHARS).collect(),
        traceparent: submit.traceparent,
    };
    let effects = reply_effect(submit.reply.as_ref());
    event(1, context, Body::Rejected(Box::new(rejected)), effects)
}

fn is_ready_at_once(step: &Step) -> bool {
    matches!(step.action, Action::Agent { .. })
}

/// A live task ended. The event is what follows from that: the step's end, or, when it was the last one, the run's.
fn task_ended(
    state: &State,
    task: &TaskId,
    attempt: u32,
    answer: &Answer,
    context: Context,
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
        Next::End(ending) => Some(end(&after, ending, context)),
    }
}

/// A live attempt waits for a person.
fn task_suspended(
    state: &State,
    task: &TaskId,
    attempt: u32,
    suspended: &Suspended,
    context: Context,
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
        Next::End(ending) => Some(end(&after, ending, context)),
        Next::Wait | Next::Dispatch(_) => Some(requested),
    }
}

/// A person decided about a call; when all is decided that its task waits for, it goes on.
fn decide_call(
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
    let decided = state.decided();
    decided
        .map(|(task, attempt)| dispatch(task, attempt))
        .collect()
}

fn message(state: &State, to: &AgentName, text: &str, context: Context) -> Option<Event> {
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
fn again(state: &State, task: &TaskId, context: Context) -> Option<Event> {
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
fn is_won(state: &State) -> bool {
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

/// Has all live tasks ended, and their workers told.
fn end_live(state: &State) -> Vec<Effect> {
    let live = state.live().map(|(task, attempt)| Effect::EndTask {
        task: task.clone(),
        attempt,
    });
    live.chain([Effect::SignalCancel]).collect()
}

fn cancel(state: &State, reason: Option<String>, context: Context) -> Option<Event> {
    if state.phase == RunState::Canceling {
        return None;
    }
    if state.live().next().is_none() {
        let mut after = state.clone();
        after.cancel_reason = reason;
        after.n += 1;
        let ending = Ending::canceled(&after);
        return Some(end(&after, ending, context));
    }
    let body = Body::Canceling(Canceling { reason });
    Some(event(state.n + 1, context, body, end_live(state)))
}

fn pause(state: &State, reason: Option<String>, context: Context) -> Option<Event> {
    let body = Body::Paused(Paused { reason });
    state
        .phase
        .starts_attempts()
        .then(|| event(state.n + 1, context, body, Vec::new()))
}

fn resume(state: &State, reason: Option<String>, context: Context) -> Option<Event> {
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

/// What is to be done because of the time. The attempts that are live at the end of the run's time are ended in their
/// journals: nothing is decided before that.
fn due(state: &State, context: Context) -> Option<Event> {
    if let Some(reason) = overdue(state, context.at) {
        let mut after = state.clone();
        after.n += 1;
        let ending = Ending::failed(reason, None);
        let nobody_works = state.live().next().is_none();
        return nobody_works.then(|| end(&after, ending, context));
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

fn due_attempts(state: &State, at: Timestamp) -> Vec<Effect> {
    let due = state.retrying().filter(|(_, _, due)| *due <= at);
    due.map(|(task, attempt, _)| dispatch(task, attempt))
        .collect()
}

/// The same again as a new run: what has completed is taken over, the rest is done.
fn repeat(old: &State, context: Context) -> Option<Event> {
    if !matches!(old.phase, RunState::Failed | RunState::Canceled) {
        return None;
    }
    let accepted = old.accepted()?;
    let steps = &accepted.definition.steps;
    let answer_of = |step: &Step| {
        // The end of the task that ended last is the end of the run, and stands in its result alone.
        let in_result = || {
            let answers = &old.result.as_ref()?.answers;
            answers.iter().find(|answer| answer.task == step.id)
        };
        old.answer(&step.id).or_else(in_result)
    };
    let completed = |step: &&Step| {
        answer_of(step).is_some_and(|answer| answer.status == AnswerStatus::Completed)
    };
    let agents = || steps.iter().filter(|step| is_ready_at_once(step));
    let all_are_done = agents().all(|step| completed(&step));
    // Something has to be done for the run to go on.
    let taken_over: Vec<Answer> = if all_are_done {
        Vec::new()
    } else {
        let done = agents().filter(completed);
        done.filter_map(|step| answer_of(step).cloned()).collect()
    };
    let left = agents().filter(|step| all_are_done || !completed(step));
    let effects = left.map(|step| dispatch(&step.id, 1)).collect();
    let total = accepted.deadline.since(accepted.submitted_at);
    let again = Accepted {
        submitted_at: context.at,
        deadline: context.at.after(total),
        retry_of: Some(old.run),
        taken_over,
        reply: None,
        ..accepted.clone()
    };
    Some(event(1, context, Body::Accepted(Box::new(again)), effects))
}

fn delete(state: &State, context: Context) -> Option<Event> {
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

fn end(state: &State, ending: Ending, context: Context) -> Event {
    let result = Box::new(result::of_run(state, ending, context.at));
    let body = match result.status {
        RunState::Completed => Body::Completed(result),
        RunState::Canceled => Body::Canceled(result),
        _ => Body::Failed(result),
    };
    let reply = state
        .accepted()
        .and_then(|accepted| accepted.reply.as_ref());
    event(state.n, context, body, reply_effect(reply))
}

fn reply_effect(reply: Option<&String>) -> Vec<Effect> {
    reply
        .map(|subject| Effect::Reply {
            subject: subject.clone(),
        })
        .into_iter()
        .collect()
}

fn dispatch(task: &TaskId, attempt: u32) -> Effect {
    Effect::Dispatch {
        task: task.clone(),
        attempt,
    }
}

fn event(n: u64, context: Context, body: Body, effects: Vec<Effect>) -> Event {
    let Context { run, at, by, cause } = context;
    Event {
        v: Version,
        run,
        n,
        at,
        by,
        cause,
        body,
        effects,
    }
}
