//! How a run begins: with a submission, or as another run done again.

use swarm_protocol::definition::{Action, Step};
use swarm_protocol::event::{Accepted, Body, Event, Rejected};
use swarm_protocol::limits::SUMMARY_TASK_CHARS;
use swarm_protocol::{Answer, AnswerStatus, BlobRef, ErrorBody, RunState, Submission, blob};

use super::{Context, Submit, dispatch, event, reply_effect};
use crate::blobs::Ledger;
use crate::compile::{Team, compile, total_timeout};
use crate::result;
use crate::state::State;

pub(super) fn begin(
    submit: &Submit,
    team: &Team,
    context: Context,
    ledger: &mut Ledger<'_>,
) -> Event {
    let compiled = submit.submission.clone().and_then(|submission| {
        let definition = compile(&submission, submit.target.as_deref(), team)?;
        Ok((submission, definition))
    });
    let (mut submission, definition) = match compiled {
        Ok(compiled) => compiled,
        Err(reason) => return reject(submit, reason, context),
    };
    let effects = definition
        .steps
        .iter()
        .filter(|step| is_ready_at_once(step))
        .map(|step| dispatch(&step.id, 1))
        .collect();
    let context_ref = take_context(&mut submission, ledger);
    let deadline = submit
        .submitted_at
        .after(total_timeout(submission.timeout, team));
    let accepted = Accepted {
        budget: submission.budget.unwrap_or_default().or(team.budget),
        submission,
        context_ref,
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

/// Takes a context out of a submission that is too large to stand in an event.
fn take_context(submission: &mut Submission, ledger: &mut Ledger<'_>) -> Option<BlobRef> {
    let context = submission.context_apart()?;
    submission.context = None;
    Some(ledger.put(context, blob::TEXT))
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

/// Whether an agent makes one answer of the others.
fn is_summary(step: &Step) -> bool {
    matches!(&step.action, Action::Aggregate { agent, .. } if agent.is_some())
}

/// The same again as a new run: what has completed is taken over, the rest is done.
pub(super) fn repeat(old: &State, context: Context, ledger: &mut Ledger<'_>) -> Option<Event> {
    if !matches!(old.phase, RunState::Failed | RunState::Canceled) {
        return None;
    }
    let accepted = old.accepted()?;
    let steps = &accepted.definition.steps;
    let answer_of = |step: &Step| {
        // The end of the task that ended last is the end of the run, and stands in its result alone.
        let in_result = || {
            let result = old.result.as_ref()?;
            // Where one blob has all answers, only their beginnings stand there.
            let are_whole = (result.refs.iter()).all(|blob| blob.media_type != blob::ANSWERS);
            let mut answers = result.answers.iter().filter(|_| are_whole);
            answers.find(|answer| answer.task == step.id)
        };
        old.answer(&step.id).or_else(in_result)
    };
    let completed = |step: &&Step| {
        answer_of(step).is_some_and(|answer| answer.status == AnswerStatus::Completed)
    };
    let agents = || steps.iter().filter(|step| is_ready_at_once(step));
    let all_are_done = agents().all(|step| completed(&step));
    let summary = steps.iter().find(|step| is_summary(step));
    let mut submission = accepted.submission.clone();
    let context_ref = match &accepted.context_ref {
        Some(blob) => {
            ledger.copy(blob, old.run);
            Some(blob.clone())
        }
        None => take_context(&mut submission, ledger),
    };
    // Something has to be done for the run to go on: where all answers are there, what an agent makes of them.
    let taken_over: Vec<Answer> = if all_are_done && summary.is_none() {
        Vec::new()
    } else {
        let done = agents().filter(completed);
        let done = done.filter_map(|step| answer_of(step).cloned());
        result::taken_over(done.collect(), &submission, old.run, ledger)
    };
    let is_taken = |step: &&Step| taken_over.iter().any(|answer| answer.task == step.id);
    let mut left: Vec<&Step> = agents().filter(|step| !is_taken(step)).collect();
    if left.is_empty() {
        left.extend(summary);
    }
    let effects = left.iter().map(|step| dispatch(&step.id, 1)).collect();
    let total = accepted.deadline.since(accepted.submitted_at);
    let again = Accepted {
        submission,
        context_ref,
        submitted_at: context.at,
        deadline: context.at.after(total),
        retry_of: Some(old.run),
        taken_over,
        reply: None,
        ..accepted.clone()
    };
    Some(event(1, context, Body::Accepted(Box::new(again)), effects))
}
