//! What clients ask of a coordinator. See `coordinator/src/endpoints/`.

use std::rc::Rc;

use swarm_protocol::event::Cause;
use swarm_protocol::journal::CallDecision;
use swarm_protocol::{AgentName, RunId, RunState, TaskId};
use swarm_workflow::{Input, State};

use super::Coordinator;
use super::transition::{Outcome, Trouble};
use crate::bus::Call;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// End the run.
    Cancel,
    /// Start no new attempt.
    Pause,
    /// Start attempts again.
    Resume,
    /// Decide about a call.
    Decide {
        /// What was asked.
        approval: String,
        /// About which call.
        call_sha256: String,
        /// What is decided.
        decision: CallDecision,
    },
    /// Tell an agent something.
    Message {
        /// Whom.
        to: AgentName,
        /// What.
        text: String,
    },
    /// Bring a task back that has failed.
    Again {
        /// Which.
        task: TaskId,
    },
    /// Do a run again that has ended.
    Retry,
}

/// The answer of a coordinator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// It is done.
    Done,
    /// It cannot be done.
    Refused,
    /// Not now: ask again.
    Trouble,
}

impl Command {
    const fn name(&self) -> &'static str {
        match self {
            Self::Cancel => "cancel",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Decide {
                decision: CallDecision::Approved,
                ..
            } => "approve",
            Self::Decide {
                decision: CallDecision::Denied,
                ..
            } => "deny",
            Self::Message { .. } => "message",
            Self::Again { .. } => "dead.requeue",
            Self::Retry => "retry",
        }
    }

    fn input(&self) -> Input<'_> {
        match self {
            Self::Cancel => Input::Cancel { reason: None },
            Self::Pause => Input::Pause { reason: None },
            Self::Resume => Input::Resume { reason: None },
            Self::Decide {
                approval,
                call_sha256,
                decision,
            } => Input::Decide {
                approval,
                call_sha256,
                decision: *decision,
                reason: None,
            },
            Self::Message { to, text } => Input::Message { to, text },
            Self::Again { task } => Input::Again { task },
            Self::Retry => unreachable!("a retry is about another run"),
        }
    }

    /// Whether a run in this state is as the command wants it.
    fn is_done(&self, state: &State) -> bool {
        match self {
            Self::Cancel => matches!(state.phase, RunState::Canceling | RunState::Canceled),
            Self::Pause => state.phase == RunState::Paused,
            Self::Resume => state.phase.starts_attempts(),
            Self::Decide {
                approval, decision, ..
            } => {
                let asked = state.asked(approval);
                asked.is_some_and(|(_, asked)| asked.decision == Some(*decision))
            }
            Self::Again { .. } | Self::Message { .. } | Self::Retry => false,
        }
    }
}

impl Coordinator {
    /// Answers a call.
    pub async fn answer(self: Rc<Self>, call: Call) {
        let reply = match self.command(call.run, &call.command).await {
            Ok(true) => Reply::Done,
            Ok(false) => Reply::Refused,
            Err(_) => Reply::Trouble,
        };
        self.net.reply(&call.reply, reply);
    }

    async fn command(&self, run: RunId, command: &Command) -> Result<bool, Trouble> {
        let cause = Cause::Endpoint {
            endpoint: command.name().to_owned(),
        };
        let (run, outcome) = if *command == Command::Retry {
            let Some(old) = self.load(run).await?.state else {
                return Ok(false);
            };
            if !matches!(old.phase, RunState::Failed | RunState::Canceled) {
                return Ok(false);
            }
            let again = RunId::from_retry(run);
            (
                again,
                self.transition(again, Input::Repeat(&old), &cause).await?,
            )
        } else {
            (run, self.transition(run, command.input(), &cause).await?)
        };
        match outcome {
            Outcome::Applied => Ok(true),
            Outcome::Ignored(None) => Ok(false),
            Outcome::Ignored(Some(state)) => {
                if state.unconfirmed() && !matches!(command, Command::Message { .. }) {
                    self.confirm(run).await?;
                }
                Ok(*command == Command::Retry || command.is_done(&state))
            }
        }
    }
}
