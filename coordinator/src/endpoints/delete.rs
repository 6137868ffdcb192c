//! `delete`: forgets a run that has ended. Repeated, it answers the same.

use swarm_bus::service::Call;
use swarm_protocol::endpoint::{DeleteReply, RunRequest};
use swarm_protocol::error::chain;
use swarm_protocol::{Code, ErrorBody, RunRef, subjects};
use swarm_workflow::Input;

use super::command::Commanded;
use crate::Shared;
use crate::index::unknown;

pub(super) async fn answer(shared: &Shared, call: Call) {
    match delete(shared, &call).await {
        Ok(reply) => call.reply_json(&reply).await,
        Err(error) => call.fail(&error).await,
    }
}

async fn delete(shared: &Shared, call: &Call) -> Result<DeleteReply, ErrorBody> {
    let request = RunRequest::parse(call.request.payload())?;
    let run = shared.resolve(&request.run, None).await?;
    let known = shared.load(run).await.map_err(|error| error.to_body())?;
    let state = known.state.ok_or_else(|| unknown(&RunRef::Id(run)))?;
    if !state.phase.is_terminal() {
        let message = format!(
            "run {run} is {}: cancel it first, `swarm runs cancel {run}`",
            state.phase
        );
        return Err(ErrorBody::new(Code::RunOpen, message));
    }
    // Journals and blobs first: a run that is still listed can be deleted again, one that is gone could not.
    let purged = shared.bus.purge_runs(&subjects::journals_of(run)).await;
    purged.map_err(|error| ErrorBody::new(Code::Unavailable, chain(&error)))?;
    let purged = shared.bus.delete_blobs(run).await;
    purged.map_err(|error| ErrorBody::new(Code::Unavailable, chain(&error)))?;
    match shared.command(run, Input::Delete, "delete").await? {
        Commanded::Done(_) | Commanded::Nothing(_) => Ok(DeleteReply { run }),
    }
}
