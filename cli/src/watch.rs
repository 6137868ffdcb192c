//! Following a run: live progress on a terminal, lines elsewhere, documents as JSON, the answer at the end.

use std::time::Duration;

use serde_json::json;
use swarm_client::{Client, Update, Watch};
use swarm_protocol::event::{Body, Effect, Event};
use swarm_protocol::{Answer, AnswerStatus, Code, RunId, RunRef, RunResult, RunState};

use crate::approvals;
use crate::exit::{FAILED, Failure, INTERRUPTED, WAITS};
use crate::output::{self, Format};
use crate::progress::Progress;
use crate::runs::{coarse, describe_wait, succeeded};

/// After so long without an event or a chunk it is asked what the run waits for.
const QUIET: Duration = Duration::from_secs(2);

/// Follows a run to its end, and prints its result. Ctrl-C leaves the run alone.
pub(crate) async fn to_the_end(client: &Client, run: RunId, format: Format) -> Result<(), Failure> {
    let mut watch = client.watch(run).await?;
    let followed = tokio::select! {
        followed = follow(client, run, &mut watch, format) => followed?,
        interrupted = tokio::signal::ctrl_c() => {
            if interrupted.is_ok() {
                output::note(&format!("\nrun {run} goes on: `swarm runs watch {}` follows it, `swarm runs cancel` ends it", run.short()));
            }
            return Err(Failure::silent(INTERRUPTED));
        }
    };
    let Some(result) = followed else {
        return Err(Failure::from(anyhow::anyhow!(
            "the run's events ended before the run did"
        )));
    };
    match format {
        Format::Json => output::document(&result),
        Format::Text => print_result(&result),
    }
    if succeeded(result.status) {
        Ok(())
    } else {
        Err(Failure::silent(FAILED))
    }
}

async fn follow(
    client: &Client,
    run: RunId,
    watch: &mut Watch,
    format: Format,
) -> Result<Option<RunResult>, Failure> {
    let mut progress = (format == Format::Text).then(Progress::new);
    let mut result = None;
    let mut waits_for = None;
    loop {
        let update = tokio::select! {
            update = watch.next() => update?,
            () = tokio::time::sleep(QUIET), if progress.is_some() => {
                if let Some(progress) = &mut progress {
                    say_what_it_waits_for(client, run, &mut waits_for, progress).await;
                }
                continue;
            }
        };
        let Some(update) = update else { break };
        match (&update, &mut progress) {
            (Update::Event(event), None) => output::document(event),
            (Update::Chunk { task, chunk }, None) => {
                output::document(&json!({ "chunk": chunk, "task": task }))
            }
            (Update::Event(event), Some(progress)) => show(progress, event),
            (Update::Chunk { task, chunk }, Some(progress)) => progress.chunk(task, chunk),
        }
        if let Update::Event(event) = &update {
            result = event.body.result().cloned().or(result);
            if matches!(event.body, Body::ApprovalRequested(_)) && !is_watched() {
                return Err(waits_for_a_person(client, run).await);
            }
        }
    }
    if let Some(progress) = progress {
        progress.finish();
    }
    Ok(result)
}

/// Whether a person looks on, and may answer what the run asks.
fn is_watched() -> bool {
    std::io::IsTerminal::is_terminal(&std::io::stderr())
}

/// A script does not wait for a person.
async fn waits_for_a_person(client: &Client, run: RunId) -> Failure {
    let open = client.approvals(run).await.unwrap_or_default();
    let names: Vec<&str> = open.iter().map(|asked| asked.approval.as_str()).collect();
    let message = format!(
        "run {run} waits for a person's decision about {}: {}",
        names.join(", "),
        approvals::commands(run)
    );
    Failure::new(WAITS, Code::InputRequired, message)
}

/// Says why nothing happens, when somebody could mend that, once for each reason.
async fn say_what_it_waits_for(
    client: &Client,
    run: RunId,
    said: &mut Option<String>,
    progress: &mut Progress,
) {
    // No answer is no reason to stop watching: the next look may have one.
    let Ok(explanation) = client.explain(&RunRef::Id(run)).await else {
        return;
    };
    let waiting = explanation.waiting_for.as_ref().map(describe_wait);
    if waiting != *said {
        if let Some(waiting) = &waiting {
            progress.say(&format!("waits for {waiting}"));
        }
        *said = waiting;
    }
}

fn show(progress: &mut Progress, event: &Event) {
    match &event.body {
        Body::Accepted(_) => progress.say(&format!("run {} accepted", event.run)),
        Body::StepCompleted(ended) | Body::StepFailed(ended) => {
            progress.end(&ended.task, ended.answer.status, &outcome(&ended.answer));
        }
        Body::Retrying(retrying) => {
            let error = retrying.answer.error.as_ref();
            let why = error.map_or("failed", |error| error.message.as_str());
            let pause = coarse(retrying.due.since(event.at));
            progress.say(&format!("{}: {why}; tried again in {pause}", retrying.task));
        }
        Body::ApprovalRequested(requested) => {
            for asked in &requested.suspended.approvals {
                progress.say(&format!("{} asks: {}", asked.approval, asked.reason));
            }
            progress.say(&approvals::commands(event.run));
        }
        Body::Approved(decided) => progress.say(&format!("{} approved", decided.approval)),
        Body::Denied(decided) => progress.say(&format!("{} denied", decided.approval)),
        Body::Message(message) => progress.say(&format!("message to {}", message.to)),
        Body::Paused(_) => {
            let resume = format!("paused: `swarm runs resume {}`", event.run.short());
            progress.say(&resume);
        }
        Body::Unpaused(_) => progress.say("goes on"),
        Body::Dispatched(_) => {}
        Body::Canceling(_) => progress.say("canceling"),
        Body::Deleted(_) => progress.say("deleted"),
        Body::Rejected(_) | Body::Completed(_) | Body::Failed(_) | Body::Canceled(_) => {}
    }
    if let Some(result) = event.body.result() {
        end_rest(progress, result);
    }
    for effect in &event.effects {
        if let Effect::Dispatch { task, .. } = effect
            && !progress.is_open(task)
        {
            progress.begin(task);
        }
    }
}

/// One event is a whole transition: the one that ends the last task is the one that ends the run.
fn end_rest(progress: &mut Progress, result: &RunResult) {
    for answer in &result.answers {
        if progress.is_open(&answer.task) {
            progress.end(&answer.task, answer.status, &outcome(answer));
        }
    }
    if result.status == RunState::Completed {
        progress.end_all();
    }
}

/// How a task ended, in words.
fn outcome(answer: &Answer) -> String {
    let took = coarse(Duration::from_millis(answer.elapsed_ms));
    match (&answer.status, &answer.error) {
        (AnswerStatus::Completed, _) => format!(
            "answered in {took}, {} tokens, by {}",
            answer.usage.output_tokens, answer.model
        ),
        (AnswerStatus::Canceled, _) => "canceled".to_owned(),
        (AnswerStatus::Failed, Some(error)) => format!("failed after {took}: {}", error.message),
        (AnswerStatus::Failed, None) => format!("failed after {took}"),
    }
}

/// The answer for a person: the text on stdout, what is to be said about it on stderr.
pub(crate) fn print_result(result: &RunResult) {
    if result.simulated && !result.text.is_empty() {
        output::data("SIMULATED: no real model wrote this answer.\n");
    }
    if !result.text.is_empty() {
        output::data(result.text.trim_end());
    }
    let took = coarse(Duration::from_millis(result.elapsed_ms));
    let answered = result
        .answers
        .iter()
        .filter(|answer| answer.status == AnswerStatus::Completed)
        .count();
    let simulated = if result.simulated { ", SIMULATED" } else { "" };
    let about = format!(
        "{answered} of {} agents answered, {} tokens{simulated}",
        result.answers.len(),
        result.usage.output_tokens
    );
    match (&result.reason, result.status) {
        (_, RunState::Completed) => output::note(&format!(
            "\nrun {} completed in {took}: {about}",
            result.run.short()
        )),
        (Some(reason), status) => output::note(&format!(
            "\nrun {} {status} after {took}: {reason}",
            result.run.short()
        )),
        (None, status) => output::note(&format!(
            "\nrun {} {status} after {took}",
            result.run.short()
        )),
    }
}
