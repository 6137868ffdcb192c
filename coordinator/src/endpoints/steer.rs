//! `cancel`, `pause` and `resume`: what a person asks of an open run. Repeated, they answer with the state as it is.

use swarm_bus::service::Call;
use swarm_protocol::endpoint::{RunRequest, StateReply};
use swarm_protocol::{Code, ErrorBody, RunId, RunState};
use swarm_workflow::Input;

use super::command::{Commanded, reply};
use crate::Shared;

/// What may be asked of an open run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    Cancel,
    Pause,
    Resume,
}

impl Command {
    const fn name(self) -> &'static str {
        match self {
            Self::Cancel => "cancel",
            Self::Pause => "pause",
            Self::Resume => "resume",
        }
    }

    const fn input(self, reason: Option<String>) -> Input<'static> {
        match self {
            Self::Cancel => Input::Cancel { reason },
            Self::Pause => Input::Pause { reason },
            Self::Resume => Input::Resume { reason },
        }
    }

    /// Whether a run in this state is as the command wants it.
    const fn is_done(self, state: RunState) -> bool {
        match self {
            Self::Cancel => matches!(state, RunState::Canceling | RunState::Canceled),
            Self::Pause => matches!(state, RunState::Paused),
            Self::Resume => matches!(
                state,
                RunState::Submitted | RunState::Working | RunState::InputRequired
            ),
        }
    }
}

pub(super) async fn answer(shared: &Shared, command: Command, call: Call) {
    match run(shared, command, &call).await {
        Ok(reply) => call.reply_json(&reply).await,
        Err(error) => call.fail(&error).await,
    }
}

async fn run(shared: &Shared, command: Command, call: &Call) -> Result<StateReply, ErrorBody> {
    let request = RunRequest::parse(call.request.payload())?;
    let run = shared.resolve(&request.run, None).await?;
    let input = command.input(request.reason);
    match shared.command(run, input, command.name()).await? {
        Commanded::Done(state) => Ok(reply(&state)),
        Commanded::Nothing(state) => already(command, run, state.phase),
    }
}

fn already(command: Command, run: RunId, state: RunState) -> Result<StateReply, ErrorBody> {
    if command.is_done(state) {
        return Ok(StateReply { run, state });
    }
    let what = command.name();
    let short = run.short();
    let (code, hint) = if state.is_terminal() {
        (
            Code::RunEnded,
            format!("`swarm runs show {short}` has its result"),
        )
    } else {
        (
            Code::RunState,
            format!("`swarm runs explain {short}` says what it does"),
        )
    };
    let message = format!("run {run} is {state}, and a {what} would change nothing: {hint}");
    Err(ErrorBody::new(code, message))
}
