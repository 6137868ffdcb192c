//! `approve` and `deny`: what a person decides about a call that was interrupted. Repeated, they answer the same.

use swarm_bus::service::Call;
use swarm_protocol::endpoint::{DecideRequest, StateReply, check_reason, read_about_run};
use swarm_protocol::journal::CallDecision;
use swarm_protocol::{Code, ErrorBody};
use swarm_workflow::{Input, State};

use super::command::{Commanded, reply};
use crate::Shared;

pub(super) async fn answer(shared: &Shared, decision: CallDecision, call: Call) {
    match decide(shared, decision, call.request.payload()).await {
        Ok(reply) => call.reply_json(&reply).await,
        Err(error) => call.fail(&error).await,
    }
}

async fn decide(
    shared: &Shared,
    decision: CallDecision,
    payload: &[u8],
) -> Result<StateReply, ErrorBody> {
    let (reference, request) = read_about_run(payload, |body: &DecideRequest| &body.run)?;
    check_reason(request.reason.as_deref())?;
    let run = shared.resolve(&reference, None).await?;
    let endpoint = match decision {
        CallDecision::Approved => "approve",
        CallDecision::Denied => "deny",
    };
    let input = Input::Decide {
        approval: &request.approval,
        call_sha256: &request.call_sha256,
        decision,
        reason: request.reason.clone(),
    };
    match shared.command(run, input, endpoint).await? {
        Commanded::Done(state) => Ok(reply(&state)),
        Commanded::Nothing(state) => {
            check_decided(&state, &request, decision)?;
            Ok(reply(&state))
        }
    }
}

/// Whether just this was decided already, while the run is open.
fn check_decided(
    state: &State,
    request: &DecideRequest,
    decision: CallDecision,
) -> Result<(), ErrorBody> {
    let DecideRequest {
        approval,
        call_sha256,
        ..
    } = request;
    let run = state.run;
    let used = |message: String| Err(ErrorBody::new(Code::ApprovalUsed, message));
    if state.phase.is_terminal() {
        let message = format!("run {run} is {}: it is too late to decide", state.phase);
        return used(message);
    }
    let Some((_, asked)) = state.asked(approval) else {
        let open: Vec<&str> = state
            .undecided()
            .map(|(_, asked)| asked.approval.approval.as_str())
            .collect();
        let waits = match open.as_slice() {
            [] => "it waits for no decision".to_owned(),
            open => format!("it waits for {}", open.join(", ")),
        };
        let message = format!("nothing in run {run} is named {approval}: {waits}");
        return Err(ErrorBody::new(Code::ApprovalUnknown, message).field("approval"));
    };
    if asked.approval.call_sha256 != *call_sha256 {
        let message = format!("{approval} is about another call: look at it again");
        return Err(ErrorBody::new(Code::ApprovalUsed, message).field("call_sha256"));
    }
    match asked.decision {
        Some(known) if known == decision => Ok(()),
        Some(CallDecision::Approved) => used(format!("{approval} was approved before")),
        Some(CallDecision::Denied) => used(format!("{approval} was denied before")),
        None => used(format!(
            "run {run} is {}: nothing is decided now",
            state.phase
        )),
    }
}
