//! The run log: EVENT on `swarm.run.<run>.ev`, republished on `swarm.event.<run>`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::answer::{Answer, RunResult};
use crate::blob::BlobRef;
use crate::definition::Definition;
use crate::ids::{AgentName, InstanceId, RunId, TaskId};
use crate::journal::{PeerMessage, Suspended};
use crate::submission::{Budget, Submission};
use crate::summary::RunState;
use crate::time::Timestamp;
use crate::trace::TraceParent;
use crate::version::Version;

/// What made a coordinator decide.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Cause {
    /// A stored message.
    Message {
        /// Its stream.
        stream: String,
        /// Its sequence.
        seq: u64,
    },
    /// A command.
    Endpoint {
        /// The endpoint's name.
        endpoint: String,
    },
    /// A deadline that passed.
    Deadline {
        /// Which.
        deadline: String,
    },
}

/// One whole transition of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// Wire version.
    pub v: Version,
    /// The run.
    pub run: RunId,
    /// Position in the log, from 1, gapless.
    pub n: u64,
    /// When it was decided.
    pub at: Timestamp,
    /// The coordinator that decided.
    pub by: InstanceId,
    /// Why.
    pub cause: Cause,
    /// What happened: `type` and `data`.
    #[serde(flatten)]
    pub body: Body,
    /// What is to be done because of it. Effect `k` (from 1) is published with `Nats-Msg-Id` `<run>:<n>:<k>`.
    pub effects: Vec<Effect>,
}

impl Event {
    /// The message that the event is, and to whom.
    #[must_use]
    pub fn message(&self) -> Option<(&AgentName, PeerMessage)> {
        let Body::Message(message) = &self.body else {
            return None;
        };
        let sent = PeerMessage {
            n: self.n,
            from: message.from.clone(),
            text: message.text.clone(),
        };
        Some((&message.to, sent))
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub enum Body {
    /// The submission became a run.
    Accepted(Box<Accepted>),
    /// The submission became no run.
    Rejected(Box<Rejected>),
    /// A step ended with an answer.
    StepCompleted(Box<StepEnded>),
    /// A step ended without an answer.
    StepFailed(Box<StepEnded>),
    /// An attempt failed, and another one follows at a time.
    Retrying(Box<Retrying>),
    /// Attempts whose time has come were dispatched.
    Dispatched(Dispatched),
    /// An attempt was suspended: a person has to decide about calls.
    ApprovalRequested(Box<ApprovalRequested>),
    /// A person had a call run.
    Approved(Decided),
    /// A person had a call taken as failed.
    Denied(Decided),
    /// A message to an agent of the run.
    Message(Message),
    /// No new attempt starts from now on.
    Paused(Paused),
    /// Attempts start again.
    Unpaused(Unpaused),
    /// A cancel was asked for; open tasks are being ended.
    Canceling(Canceling),
    /// The run ended with an answer.
    Completed(Box<RunResult>),
    /// The run ended without an answer.
    Failed(Box<RunResult>),
    /// The run ended by a cancel.
    Canceled(Box<RunResult>),
    /// The run was forgotten: its log is this event alone, which keeps its number.
    Deleted(Deleted),
}

impl Body {
    /// The name of the type on the wire.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Accepted(_) => "accepted",
            Self::Rejected(_) => "rejected",
            Self::StepCompleted(_) => "step_completed",
            Self::StepFailed(_) => "step_failed",
            Self::Retrying(_) => "retrying",
            Self::Dispatched(_) => "dispatched",
            Self::ApprovalRequested(_) => "approval_requested",
            Self::Approved(_) => "approved",
            Self::Denied(_) => "denied",
            Self::Message(_) => "message",
            Self::Paused(_) => "paused",
            Self::Unpaused(_) => "unpaused",
            Self::Canceling(_) => "canceling",
            Self::Completed(_) => "completed",
            Self::Failed(_) => "failed",
            Self::Canceled(_) => "canceled",
            Self::Deleted(_) => "deleted",
        }
    }

    /// The result that a terminal event carries.
    #[must_use]
    pub fn result(&self) -> Option<&RunResult> {
        match self {
            Self::Completed(result) | Self::Failed(result) | Self::Canceled(result) => Some(result),
            Self::Rejected(rejected) => Some(&rejected.result),
            _ => None,
        }
    }
}

/// Data of `accepted`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Accepted {
    /// What was submitted, without a context that is too large to stand here.
    pub submission: Submission,
    /// Where that context is.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub context_ref: Option<BlobRef>,
    /// The target its subject named.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub target: Option<String>,
    /// SHA-256 of payload and target: the same id with another hash is another submission.
    pub content_sha256: String,
    /// When it was submitted.
    pub submitted_at: Timestamp,
    /// When the run must have ended.
    pub deadline: Timestamp,
    /// What all its attempts together may use.
    #[serde(skip_serializing_if = "Budget::is_unbounded", default)]
    pub budget: Budget,
    /// What the run does.
    pub definition: Definition,
    /// How often a task may be tried again after it failed.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub retries: u32,
    /// The run that this one repeats.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub retry_of: Option<RunId>,
    /// Answers that are taken over from that run: their tasks are not done again.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub taken_over: Vec<Answer>,
    /// Where the answer of the `ask` that submitted it goes.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reply: Option<String>,
    /// The span of whoever submitted it, when that one had a trace: the run's spans are in the same one, beneath it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub traceparent: Option<TraceParent>,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// Data of `rejected`: a RESULT, and the hash that tells the submission from another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Rejected {
    /// The result.
    #[serde(flatten)]
    pub result: RunResult,
    /// SHA-256 of payload and target.
    pub content_sha256: String,
    /// The first characters of the payload, when it is text.
    pub task: String,
    /// The span of whoever submitted it, when that one had a trace.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub traceparent: Option<TraceParent>,
}

/// Data of `step_completed` and `step_failed`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StepEnded {
    /// The step's task.
    pub task: TaskId,
    /// The attempt that ended it.
    pub attempt: u32,
    /// Its answer.
    pub answer: Answer,
}

/// Data of `retrying`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Retrying {
    /// The task.
    pub task: TaskId,
    /// The attempt that failed.
    pub attempt: u32,
    /// How it failed.
    pub answer: Answer,
    /// How often the task has failed by now.
    pub failures: u32,
    /// When the next attempt is dispatched.
    pub due: Timestamp,
}

/// Data of `dispatched`: the effects say which attempts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Dispatched {
    /// The tasks.
    pub tasks: Vec<TaskId>,
}

/// Data of `approval_requested`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ApprovalRequested {
    /// The task.
    pub task: TaskId,
    /// The attempt that was suspended.
    pub attempt: u32,
    /// What it waits for, and what it used.
    #[serde(flatten)]
    pub suspended: Suspended,
}

/// Data of `approved` and `denied`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Decided {
    /// What was decided about.
    pub approval: String,
    /// The task.
    pub task: TaskId,
    /// What the person said.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
}

/// Data of `message`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Message {
    /// To whom.
    pub to: AgentName,
    /// Who sent it; nothing when it was a person.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub from: Option<AgentName>,
    /// What it says.
    pub text: String,
}

/// Data of `paused`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Paused {
    /// What the person who paused said.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
}

/// Data of `unpaused`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Unpaused {
    /// What the person who resumed said.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
}

/// Data of `canceling`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Canceling {
    /// What the person who canceled said.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
}

/// Data of `deleted`: nothing of what the run was about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Deleted {
    /// How the run had ended.
    pub state: RunState,
    /// When it was submitted.
    pub submitted_at: Timestamp,
    /// SHA-256 of payload and target.
    pub content_sha256: String,
}

/// What an event asks the coordinator to do; doing it twice changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Effect {
    /// Publish the work of an attempt.
    Dispatch {
        /// The task.
        task: TaskId,
        /// The attempt, from 1.
        attempt: u32,
    },
    /// End a live attempt as canceled in its journal, unless it has ended by itself.
    EndTask {
        /// The task.
        task: TaskId,
        /// The attempt, from 1.
        attempt: u32,
    },
    /// Tell running workers that the run is canceled.
    SignalCancel,
    /// Tell workers of an agent about the message that the event is.
    Wake {
        /// The agent.
        agent: AgentName,
    },
    /// Answer the `ask` that submitted the run.
    Reply {
        /// Its inbox.
        subject: String,
    },
}
