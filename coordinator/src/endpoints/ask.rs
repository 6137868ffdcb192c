//! `ask[.<target>]`: a submission that is answered with its text. It goes through the inbox, so that any coordinator answers.

use std::sync::Arc;
use std::time::Duration;

use swarm_bus::service::Call;
use swarm_bus::{Outgoing, PublishError};
use swarm_protocol::error::chain;
use swarm_protocol::limits::MAX_SUBMISSION;
use swarm_protocol::submission::content_hash;
use swarm_protocol::trace::TraceParent;
use swarm_protocol::{Code, ErrorBody, RunId, headers, subjects};

use crate::Shared;
use crate::runs::TransitionError;
use crate::submissions::{conflict, deleted, identify, join, too_large};

/// A joined run is waited for this long: longer than any run may take by default.
const JOIN_PATIENCE: Duration = Duration::from_secs(2 * 3600);

pub(super) async fn answer(shared: &Arc<Shared>, call: Call) {
    let bytes = call.request.payload().len();
    if bytes > MAX_SUBMISSION {
        return call.fail(&too_large(bytes)).await;
    }
    let inbox = call.inbox().map(str::to_owned);
    let target = subjects::ask_target(call.request.subject()).map(str::to_owned);
    let subject = subjects::submit_as_asked(target.as_deref());
    let trace = call.request.trace();
    let run_header = call.request.header(headers::RUN_ID).map(str::to_owned);
    let message_id = call.request.header(headers::MESSAGE_ID).map(str::to_owned);
    let mut submission = Outgoing::untraced(subject, call.request.payload().clone());
    if let Some(submitter) = call.request.header(headers::TRACEPARENT) {
        submission = submission.header(headers::TRACEPARENT, submitter);
    }
    if let Some(inbox) = &inbox {
        submission = submission.header(headers::REPLY_TO, inbox);
    }
    if let Some(run) = &run_header {
        submission = submission.header(headers::RUN_ID, run);
    }
    if let Some(id) = &message_id {
        submission = submission.message_id(id);
    }
    match shared.bus.store(submission).await {
        Ok(stored) if stored.duplicate => {
            // The inbox dropped it, and with it where the answer goes: this coordinator joins the run itself.
            let run = identify(
                run_header.as_deref(),
                message_id.as_deref(),
                shared.swarm_id,
                stored.seq,
            )
            .run;
            let content = content_hash(call.request.payload(), target.as_deref());
            match shared.check_content(run, &content).await {
                Ok(()) => inbox
                    .into_iter()
                    .for_each(|inbox| join(shared, run, inbox, trace)),
                Err(error) => call.fail(&error).await,
            }
        }
        Ok(_) => {}
        Err(error) => call.fail(&not_stored(&error)).await,
    }
}

fn not_stored(error: &PublishError) -> ErrorBody {
    ErrorBody::new(
        Code::Unavailable,
        format!("the submission was not stored: {}", chain(error)),
    )
}

impl Shared {
    /// Checks that a repeated `ask` has the content of its run, once that is accepted, and that the run was not deleted.
    async fn check_content(&self, run: RunId, content: &str) -> Result<(), ErrorBody> {
        let known = self.load(run).await.map_err(|error| error.to_body())?;
        match known.state {
            Some(state) if state.is_deleted() => Err(deleted(run)),
            Some(state) if state.content_sha256() != content => Err(conflict(run)),
            Some(_) | None => Ok(()),
        }
    }

    /// Answers an inbox with a run's result, once it has ended.
    pub(crate) async fn answer_ended(
        &self,
        run: RunId,
        inbox: &str,
        trace: TraceParent,
    ) -> Result<(), TransitionError> {
        self.index.ended(run, JOIN_PATIENCE).await;
        if let Some(result) = self
            .last_event(run)
            .await?
            .and_then(|event| event.body.result().cloned())
        {
            self.reply(inbox, &result, trace).await;
        }
        Ok(())
    }
}
