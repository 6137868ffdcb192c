//! `cancel`: ends an open run. Repeated, it answers with the state as it is.

use swarm_bus::service::Call;
use swarm_protocol::endpoint::{RunRequest, StateReply};
use swarm_protocol::event::Cause;
use swarm_protocol::{Code, ErrorBody, RunId, RunRef, RunState};
use swarm_workflow::Input;
use tracing::Instrument as _;

use crate::Shared;
use crate::index::unknown;
use crate::runs::Outcome;

pub(super) async fn answer(shared: &Shared, call: Call) {
    match cancel(shared, &call).await {
        Ok(reply) => call.reply_json(&reply).await,
        Err(error) => call.fail(&error).await,
    }
}

async fn cancel(shared: &Shared, call: &Call) -> Result<StateReply, ErrorBody> {
    let request = RunRequest::parse(call.request.payload())?;
    let run = shared.resolve(&request.run, None).await?;
    let cause = Cause::Endpoint {
        endpoint: "cancel".to_owned(),
    };
    let input = Input::Cancel {
        reason: request.reason,
    };
    let outcome = shared
        .transition(run, input, &cause)
        .instrument(tracing::error_span!("cancel", %run))
        .await;
    match outcome.map_err(|error| error.to_body())? {
        Outcome::Applied(state) => Ok(StateReply {
            run,
            state: state.phase,
        }),
        Outcome::Ignored(None) => Err(unknown(&RunRef::Id(run))),
        Outcome::Ignored(Some(state)) => {
            if state.unconfirmed() {
                shared.confirm(run).await.map_err(|error| error.to_body())?;
            }
            already(run, state.phase)
        }
    }
}

fn already(run: RunId, state: RunState) -> Result<StateReply, ErrorBody> {
    match state {
        RunState::Completed | RunState::Failed | RunState::Rejected => {
            let message = format!(
                "run {run} is {state}: only an open run can be canceled; `swarm runs show {}` has its result",
                run.short()
            );
            Err(ErrorBody::new(Code::RunEnded, message))
        }
        state => Ok(StateReply { run, state }),
    }
}
