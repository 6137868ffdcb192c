//! `swarm runs approve` and `deny`: what a run asks a person, and the answer.

use swarm_client::Client;
use swarm_protocol::endpoint::DecideRequest;
use swarm_protocol::journal::{Approval, CallDecision};
use swarm_protocol::{Code, RunId};

use crate::args::ApprovalArgs;
use crate::exit::{FAILED, Failure};
use crate::output::{self, Format};
use crate::runs::show_state;

/// Characters of a call's arguments that are shown.
const INPUT_WIDTH: usize = 400;

/// Decides about what a run asks: the one thing that is named, or the only one there is.
pub(crate) async fn decide(
    client: &Client,
    decision: CallDecision,
    answer: ApprovalArgs,
    format: Format,
) -> Result<(), Failure> {
    let ApprovalArgs {
        run,
        approval,
        reason,
    } = answer;
    let run = client.resolve(&run).await?;
    let open = client.approvals(run).await?;
    let named = match (&approval, open.as_slice()) {
        (Some(name), open) => open.iter().find(|asked| asked.approval == *name),
        (None, [only]) => Some(only),
        (None, []) => None,
        (None, several) => {
            let names: Vec<&str> = several.iter().map(|a| a.approval.as_str()).collect();
            let message = format!(
                "the run asks several things: name one of {}",
                names.join(", ")
            );
            return Err(Failure::usage(message));
        }
    };
    let Some(asked) = named else {
        return Err(nothing_asked(run, approval.as_deref()));
    };
    if format == Format::Text {
        output::note(&line(asked));
    }
    let request = DecideRequest {
        run: run.to_string(),
        approval: asked.approval.clone(),
        call_sha256: asked.call_sha256.clone(),
        reason,
    };
    show_state(&client.decide(decision, &request).await?, format);
    Ok(())
}

fn nothing_asked(run: RunId, approval: Option<&str>) -> Failure {
    let what = approval.map_or_else(
        || "asks nothing".to_owned(),
        |name| format!("does not ask {name}, or not any more"),
    );
    let message = format!("run {run} {what}: `swarm runs explain {}`", run.short());
    Failure::new(FAILED, Code::ApprovalUnknown, message)
}

/// What a run asks, for a person who looks at it.
pub(crate) fn describe(open: &[Approval], run: RunId) {
    for asked in open {
        output::data(&format!("asks       {}", line(asked)));
        output::data(&format!("because    {}", asked.reason));
    }
    if !open.is_empty() {
        output::data(&format!("answer     {}", commands(run)));
    }
}

/// The commands that answer.
pub(crate) fn commands(run: RunId) -> String {
    let run = run.short();
    format!("`swarm runs approve {run}` runs it again, `swarm runs deny {run}` takes it as failed")
}

fn line(asked: &Approval) -> String {
    let input = output::line(&asked.call.input.to_string(), INPUT_WIDTH);
    format!("{}: {} {input}", asked.approval, asked.call.name)
}
