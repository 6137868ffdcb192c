//! From the inbox to a run: every submission becomes one, accepted or rejected.

use std::sync::Arc;

use swarm_bus::Delivery;
use swarm_bus::delivery::DeadContext;
use swarm_bus::topology::{self, TopologyError};
use swarm_protocol::error::chain;
use swarm_protocol::event::Cause;
use swarm_protocol::limits::{MAX_ENCODED, MAX_SUBMISSION, SUMMARY_TASK_CHARS};
use swarm_protocol::submission::content_hash;
use swarm_protocol::trace::TraceParent;
use swarm_protocol::{AgentName, Code, ErrorBody, RunId, Submission, Timestamp, headers, subjects};
use swarm_workflow::{Input, State, Submit};
use tracing::Instrument as _;

use crate::Shared;
use crate::runs::{Outcome, TROUBLE_PAUSE, TransitionError, submission_cause};

/// Largest submission without its context, in bytes: its run's log holds it whole.
const MAX_BESIDE: usize = 256 * 1024;

/// What a submission is whose run exists.
enum Repeated {
    /// The same one again, or its redelivery.
    Done,
    /// The same one again, by an `ask` that waits.
    Join(String),
    /// Another one under the same id.
    Conflict(ErrorBody),
}

/// Where a submission belongs.
pub(crate) struct Identity {
    /// Its run.
    pub(crate) run: RunId,
    /// What is wrong with the id it names.
    problem: Option<ErrorBody>,
}

/// The run of a submission: the one it names, the one of its message id, or the one of its place in the inbox.
pub(crate) fn identify(
    run_header: Option<&str>,
    message_id: Option<&str>,
    swarm_id: uuid::Uuid,
    seq: u64,
) -> Identity {
    let derived = || RunId::from_sequence(swarm_id, seq);
    match (run_header, message_id) {
        (Some(text), _) => match RunId::parse(text) {
            Some(run) => Identity { run, problem: None },
            None => Identity {
                run: derived(),
                problem: Some(bad_run_id()),
            },
        },
        (None, Some(id)) => Identity {
            run: RunId::from_message_id(id),
            problem: None,
        },
        (None, None) => Identity {
            run: derived(),
            problem: None,
        },
    }
}

fn bad_run_id() -> ErrorBody {
    let message = format!("the header {} is no UUID of 36 characters", headers::RUN_ID);
    ErrorBody::new(Code::RunId, message).field(headers::RUN_ID)
}

/// Turns a delivered submission into a run, and settles the delivery.
pub(crate) async fn accept(shared: Arc<Shared>, mut delivery: Delivery) {
    delivery.keep_alive(topology::SIGN_OF_LIFE);
    let trace = delivery.trace();
    let identity = identify(
        delivery.header(headers::RUN_ID),
        delivery.header(headers::MESSAGE_ID),
        shared.swarm_id,
        delivery.position().seq,
    );
    // Of the highest level, so that whatever is logged says which run it is about.
    let span = tracing::error_span!("submission", run = %identity.run);
    take(&shared, delivery, identity, trace)
        .instrument(span)
        .await;
}

async fn take(shared: &Arc<Shared>, delivery: Delivery, identity: Identity, trace: TraceParent) {
    let run = identity.run;
    let position = delivery.position();
    let cause = submission_cause(position.seq);
    let submit = read(&delivery, run, identity.problem, position.stored_at);
    if let Err(error) = shared.learn_strangers(&submit).await {
        tracing::warn!(
            error = chain(&error),
            "a submission is put off: work consumers could not be listed"
        );
        return delivery.retry(TROUBLE_PAUSE).await;
    }
    let team = shared.roster.team();
    let outcome = shared
        .transition(run, Input::Submit(&submit, &team), &cause)
        .await;
    let settled = match outcome {
        Ok(Outcome::Applied(_)) => Ok(Repeated::Done),
        Ok(Outcome::Ignored(state)) => {
            shared
                .repeated(run, state.as_deref(), &submit, &cause)
                .await
        }
        Err(error) => Err(error),
    };
    match settled {
        Ok(Repeated::Done) => delivery.ack().await,
        Ok(Repeated::Join(inbox)) => {
            join(shared, run, inbox, trace);
            delivery.ack().await;
        }
        Ok(Repeated::Conflict(problem)) => {
            refuse(shared, delivery, run, &problem, submit.reply.as_deref()).await
        }
        Err(error @ TransitionError::Log { .. }) => {
            refuse(
                shared,
                delivery,
                run,
                &error.to_body(),
                submit.reply.as_deref(),
            )
            .await;
        }
        Err(error) => {
            tracing::warn!(error = chain(&error), "a submission is put off");
            delivery.retry(error.pause()).await;
        }
    }
}

fn read(
    delivery: &Delivery,
    run: RunId,
    problem: Option<ErrorBody>,
    stored_at: Timestamp,
) -> Submit {
    let payload = delivery.payload();
    let target = subjects::submit_target(delivery.subject())
        .flatten()
        .map(str::to_owned);
    let submission = match problem {
        Some(problem) => Err(problem),
        None if payload.len() > MAX_SUBMISSION => Err(too_large(payload.len())),
        None => Submission::parse(payload).and_then(|read| fitting(read, payload.len())),
    };
    let reply = delivery
        .header(headers::REPLY_TO)
        .filter(|reply| subjects::is_inbox(reply))
        .map(str::to_owned);
    Submit {
        submission,
        excerpt: String::from_utf8_lossy(payload)
            .chars()
            .take(SUMMARY_TASK_CHARS)
            .collect(),
        content_sha256: content_hash(payload, target.as_deref()),
        target,
        // A clock that is ahead of this one must not make a run end before it began.
        submitted_at: stored_at.min(Timestamp::now()),
        reply,
        traceparent: TraceParent::of_submitter(run, delivery.header(headers::TRACEPARENT)),
    }
}

/// A submission whose event can hold it, without a context that is a blob. JSON may write one character as six.
fn fitting(submission: Submission, payload: usize) -> Result<Submission, ErrorBody> {
    let apart = submission.context_apart();
    let raw = payload.saturating_sub(apart.as_ref().map_or(0, String::len));
    let beside = match &apart {
        Some(_) => &Submission {
            context: None,
            ..submission.clone()
        },
        None => &submission,
    };
    match serde_json::to_vec(beside) {
        Ok(json) if json.len() > MAX_ENCODED || (raw > MAX_BESIDE && json.len() > MAX_BESIDE) => {
            let message = format!(
                "the submission has {} KiB, and {} as JSON, beside its context: at most {} and {} are taken",
                raw / 1024,
                json.len() / 1024,
                MAX_BESIDE / 1024,
                MAX_ENCODED / 1024
            );
            Err(ErrorBody::new(Code::TooLarge, message))
        }
        Ok(_) => Ok(submission),
        Err(error) => Err(ErrorBody::new(Code::Internal, error.to_string())),
    }
}

/// A payload of so many bytes is larger than is taken.
pub(crate) fn too_large(bytes: usize) -> ErrorBody {
    let message = format!(
        "the submission has {} KiB, at most {} are taken",
        bytes / 1024,
        MAX_SUBMISSION / 1024,
    );
    ErrorBody::new(Code::TooLarge, message)
}

/// The same id with other content.
pub(crate) fn conflict(run: RunId) -> ErrorBody {
    ErrorBody::new(
        Code::Conflict,
        format!("run {run} exists with other content: use another id"),
    )
}

/// The id of a run that was deleted.
pub(crate) fn deleted(run: RunId) -> ErrorBody {
    let message = format!("run {run} was deleted: use another id");
    ErrorBody::new(Code::Conflict, message)
}

async fn refuse(
    shared: &Shared,
    delivery: Delivery,
    run: RunId,
    problem: &ErrorBody,
    reply: Option<&str>,
) {
    tracing::warn!(%problem, "a submission was refused");
    if let Some(inbox) = reply {
        shared.reply_error(inbox, problem, delivery.trace()).await;
        return delivery.ack().await;
    }
    let context = DeadContext {
        run: Some(run),
        ..DeadContext::default()
    };
    if let Err(error) = delivery
        .dead_letter(subjects::dead_inbox(), problem, context)
        .await
    {
        tracing::warn!(%error, "the dead letter was not stored; the submission comes back");
    }
}

/// Has an `ask` wait for a run that exists. The wait is in memory: lost with this process.
pub(crate) fn join(shared: &Arc<Shared>, run: RunId, inbox: String, trace: TraceParent) {
    let waiting = Arc::clone(shared);
    shared.background.spawn(async move {
        if let Err(error) = waiting.answer_ended(run, &inbox, trace).await {
            tracing::warn!(%run, error = chain(&error), "a repeated ask was not answered");
        }
    });
}

impl Shared {
    /// An agent that registered with another coordinator has a consumer: looked up when somebody names it.
    async fn learn_strangers(&self, submit: &Submit) -> Result<(), TopologyError> {
        let Ok(submission) = &submit.submission else {
            return Ok(());
        };
        let target = submit.target.as_deref();
        let target: Option<AgentName> = target.and_then(|target| target.parse().ok());
        let team = self.roster.team();
        let mut wanted = (submission.agents.iter().flatten())
            .chain(&target)
            .chain(&team.default_agents)
            .chain([&team.summarizer]);
        if wanted.all(|agent| team.known.contains(agent)) {
            return Ok(());
        }
        let names = self.bus.work_consumers().await?;
        let agents = names.iter().filter_map(|name| name.parse().ok());
        agents.for_each(|agent| self.roster.add(agent));
        Ok(())
    }

    async fn repeated(
        &self,
        run: RunId,
        state: Option<&State>,
        submit: &Submit,
        cause: &Cause,
    ) -> Result<Repeated, TransitionError> {
        let Some(state) = state else {
            return Ok(Repeated::Done);
        };
        if state.is_deleted() {
            return Ok(Repeated::Conflict(deleted(run)));
        }
        if state.content_sha256() != submit.content_sha256 {
            return Ok(Repeated::Conflict(conflict(run)));
        }
        let is_redelivery = self.repeat_effects(run, cause).await?;
        Ok(match &submit.reply {
            Some(inbox) if !is_redelivery => Repeated::Join(inbox.clone()),
            _ => Repeated::Done,
        })
    }

    async fn reply_error(&self, inbox: &str, problem: &ErrorBody, trace: TraceParent) {
        match swarm_bus::Outgoing::json(inbox, problem, trace) {
            Ok(message) => {
                if let Err(error) = self
                    .bus
                    .send(swarm_bus::service::with_error(message, problem))
                    .await
                {
                    tracing::warn!(%error, "an answer was not sent");
                }
            }
            Err(error) => tracing::error!(%error, "an answer could not be written as JSON"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_does_not_count_to_what_a_log_holds() {
        let taken = |task: usize, context: usize| {
            let submission = Submission {
                context: Some("c".repeat(context)),
                ..Submission::of_task("t".repeat(task))
            };
            let payload = serde_json::to_vec(&submission).unwrap();
            fitting(submission, payload.len()).map_err(|error| error.code)
        };
        let too_large = || Some("SW-TOO-LARGE".to_owned());
        assert!(taken(1, 1_000_000).is_ok());
        assert!(taken(250 * 1024, 700 * 1024).is_ok());
        assert_eq!(taken(257 * 1024, 1).err(), too_large());
        assert_eq!(taken(257 * 1024, 700 * 1024).err(), too_large());
    }

    #[test]
    fn a_submission_is_identified_by_its_header_its_message_id_or_its_place() {
        let swarm = uuid::Uuid::from_u128(9);
        let named = RunId::random();
        let run = |header: Option<&str>, id| identify(header, id, swarm, 4).run;
        assert_eq!(
            run(Some(&named.to_string().to_uppercase()), Some("x")),
            named
        );
        assert_eq!(run(None, Some("x")), RunId::from_message_id("x"));
        assert_eq!(run(None, None), RunId::from_sequence(swarm, 4));
        let wrong = identify(Some("seven"), None, swarm, 4);
        assert_eq!(wrong.run, RunId::from_sequence(swarm, 4));
        assert_eq!(
            wrong.problem.map(|problem| problem.code),
            Some("SW-RUN-ID".to_owned())
        );
    }
}
