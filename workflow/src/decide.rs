//! What an input decides: the next event of a run, or nothing.

use swarm_protocol::definition::{Action, Step};
use swarm_protocol::event::{
    Accepted, Body, Canceling, Cause, Deleted, Effect, Event, Rejected, StepEnded,
};
use swarm_protocol::limits::SUMMARY_TASK_CHARS;
use swarm_protocol::trace::TraceParent;
use swarm_protocol::{
    Aggregate, Answer, AnswerStatus, Code, ErrorBody, InstanceId, RunId, RunState, Submission,
    TaskId, Timestamp, Version,
};

use crate::compile::{Team, compile, total_timeout};
use crate::result;
use crate::state::{Progress, State, fold};

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
    /// Somebody asked for a cancel.
    Cancel {
        /// What they said.
        reason: Option<String>,
    },
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
        (None, _) | (Some(_), Input::Submit(..)) => None,
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
        (Some(state), Input::Cancel { reason }) => cancel(state, reason, context),
    };
    event.map_or(Decision::Ignore, |event| Decision::Append(Box::new(event)))
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
        .map(|step| dispatch(&step.id))
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
    let ended = StepEnded {
        task: task.clone(),
        attempt,
        answer: answer.clone(),
    };
    let body = if answer.status == AnswerStatus::Completed {
        Body::StepCompleted(Box::new(ended))
    } else {
        Body::StepFailed(Box::new(ended))
    };
    let step_event = event(state.n + 1, context.clone(), body, Vec::new());
    let after = fold(Some(state.clone()), &step_event).ok()?;
    match next(&after) {
        Next::Wait => Some(step_event),
        Next::Dispatch(task) => Some(Event {
            effects: vec![dispatch(&task)],
            ..step_event
        }),
        Next::End(status, text, reason) => Some(end(&after, status, text, reason, context)),
    }
}

fn cancel(state: &State, reason: Option<String>, context: Context) -> Option<Event> {
    if state.phase == RunState::Canceling {
        return None;
    }
    let mut effects: Vec<Effect> = state
        .live()
        .map(|(task, attempt)| Effect::EndTask {
            task: task.clone(),
            attempt,
        })
        .collect();
    if effects.is_empty() {
        let mut after = state.clone();
        after.cancel_reason = reason;
        after.n += 1;
        return Some(end(
            &after,
            RunState::Canceled,
            None,
            canceled_reason(&after),
            context,
        ));
    }
    effects.push(Effect::SignalCancel);
    Some(event(
        state.n + 1,
        context,
        Body::Canceling(Canceling { reason }),
        effects,
    ))
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

/// What follows when a task has ended.
enum Next {
    /// Others are at work.
    Wait,
    /// The aggregate step's task is to be done.
    Dispatch(TaskId),
    /// The run is over: state, text when not the answers under their names, reason when not completed.
    End(RunState, Option<String>, Option<ErrorBody>),
}

fn next(state: &State) -> Next {
    if state.live().next().is_some() {
        return Next::Wait;
    }
    if state.phase == RunState::Canceling {
        return Next::End(RunState::Canceled, None, canceled_reason(state));
    }
    let aggregate = state.steps().iter().find_map(|step| match &step.action {
        Action::Aggregate {
            mode,
            needs,
            min_answers,
            ..
        } => Some((step, *mode, needs, *min_answers)),
        Action::Agent { .. } => None,
    });
    match aggregate {
        None => after_single(state),
        Some((step, mode, needs, min_answers)) => {
            after_join(state, &step.id, mode, needs, min_answers)
        }
    }
}

fn after_single(state: &State) -> Next {
    let answer = state
        .steps()
        .first()
        .and_then(|step| state.answer(&step.id));
    let Some(answer) = answer else {
        return Next::End(
            RunState::Failed,
            None,
            Some(ErrorBody::new(Code::Internal, "the run has no step")),
        );
    };
    match end_by(answer) {
        // A single agent's partial text is what there is of a result.
        Next::End(state, None, reason) => Next::End(state, answer.text.clone(), reason),
        next => next,
    }
}

fn after_join(
    state: &State,
    id: &TaskId,
    mode: Aggregate,
    needs: &[TaskId],
    min_answers: u32,
) -> Next {
    if let Some(answer) = state.answer(id) {
        return end_by(answer);
    }
    let completed = needs
        .iter()
        .filter_map(|task| state.answer(task))
        .filter(|a| a.status == AnswerStatus::Completed);
    let completed = u32::try_from(completed.count()).unwrap_or(u32::MAX);
    if completed < min_answers {
        return Next::End(
            RunState::Failed,
            None,
            Some(too_few(state, needs, completed, min_answers)),
        );
    }
    match mode {
        Aggregate::Concat => Next::End(RunState::Completed, None, None),
        Aggregate::Summarize => Next::Dispatch(id.clone()),
    }
}

/// The run ends as the task did that gives its answer.
fn end_by(answer: &Answer) -> Next {
    match (&answer.status, &answer.text) {
        (AnswerStatus::Completed, Some(text)) => {
            Next::End(RunState::Completed, Some(text.clone()), None)
        }
        _ => {
            let reason = answer.error.clone();
            let unnamed = || {
                ErrorBody::new(
                    Code::Internal,
                    format!("{} ended without an answer", answer.task),
                )
            };
            Next::End(RunState::Failed, None, Some(reason.unwrap_or_else(unnamed)))
        }
    }
}

fn too_few(state: &State, needs: &[TaskId], completed: u32, min_answers: u32) -> ErrorBody {
    let failures = needs
        .iter()
        .filter_map(|task| state.answer(task))
        .filter_map(|answer| {
            answer
                .error
                .as_ref()
                .map(|error| format!("{}: {}", answer.task, error.message))
        });
    let failures = failures.collect::<Vec<_>>().join("; ");
    let message = format!(
        "{completed} of {} agents answered, {min_answers} needed; {failures}",
        needs.len()
    );
    ErrorBody::new(Code::TooFewAnswers, message)
}

fn canceled_reason(state: &State) -> Option<ErrorBody> {
    let said = state
        .cancel_reason
        .as_ref()
        .map(|reason| format!(": {reason}"))
        .unwrap_or_default();
    Some(ErrorBody::new(
        Code::Canceled,
        format!("canceled on request{said}"),
    ))
}

fn end(
    state: &State,
    status: RunState,
    text: Option<String>,
    reason: Option<ErrorBody>,
    context: Context,
) -> Event {
    let result = Box::new(result::of_run(state, status, text, reason, context.at));
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

fn dispatch(task: &TaskId) -> Effect {
    Effect::Dispatch {
        task: task.clone(),
        attempt: 1,
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
