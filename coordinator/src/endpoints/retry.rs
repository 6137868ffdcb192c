//! `retry`: a run that has failed or was canceled, again as a new one. What had completed is taken over.

use swarm_bus::service::Call;
use swarm_protocol::endpoint::{RetryReply, RunRequest};
use swarm_protocol::{Code, ErrorBody, RunId, RunRef, RunState};
use swarm_workflow::{Input, State};

use super::command::Commanded;
use crate::Shared;
use crate::index::unknown;

pub(super) async fn answer(shared: &Shared, call: Call) {
    match retry(shared, &call).await {
        Ok(reply) => call.reply_json(&reply).await,
        Err(error) => call.fail(&error).await,
    }
}

async fn retry(shared: &Shared, call: &Call) -> Result<RetryReply, ErrorBody> {
    let request = RunRequest::parse(call.request.payload())?;
    let old = shared.resolve(&request.run, None).await?;
    let known = shared.load(old).await.map_err(|error| error.to_body())?;
    let state = known.state.ok_or_else(|| unknown(&RunRef::Id(old)))?;
    again(shared, old, &state)
        .await
        .map(|run| RetryReply { run })
}

/// A run again that has ended, as a new one: which.
pub(super) async fn again(shared: &Shared, old: RunId, state: &State) -> Result<RunId, ErrorBody> {
    if !matches!(state.phase, RunState::Failed | RunState::Canceled) || state.is_deleted() {
        return Err(not_again(old, state.phase));
    }
    // The same each time, so that a command that is repeated makes no second run.
    let run = RunId::from_retry(old);
    match shared.command(run, Input::Repeat(state), "retry").await? {
        Commanded::Done(_) | Commanded::Nothing(_) => Ok(run),
    }
}

fn not_again(run: RunId, state: RunState) -> ErrorBody {
    let (code, hint) = match state {
        RunState::Completed => (Code::RunEnded, "submit the task anew"),
        RunState::Rejected => (Code::RunEnded, "submit it anew, without what was wrong"),
        RunState::Failed | RunState::Canceled => (Code::RunEnded, "it is deleted"),
        _ => (Code::RunOpen, "wait for its end, or cancel it"),
    };
    let message = format!(
        "run {run} is {state}: only a run that failed or was canceled is done again; {hint}"
    );
    ErrorBody::new(code, message)
}
