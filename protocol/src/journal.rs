//! The journal of a task: JOURNAL on `swarm.run.<run>.task.<task>.{log,msg,end}`, three leaves under one CAS.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::answer::{Answer, Usage};
use crate::ids::{AgentName, InstanceId, RunId, TaskId, hex};
use crate::subjects::Leaf;
use crate::time::Timestamp;
use crate::version::Version;

/// One entry of a task's journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Entry {
    /// Wire version.
    pub v: Version,
    /// The run.
    pub run: RunId,
    /// The task.
    pub task: TaskId,
    /// The attempt, from 1.
    pub attempt: u32,
    /// Sequence of the work in SWARM_WORK; of entries that a worker writes.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub work_seq: Option<u64>,
    /// Delivery of that work, from 1; of entries that a worker writes.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub delivery: Option<u64>,
    /// The process that writes.
    pub instance: InstanceId,
    /// When.
    pub at: Timestamp,
    /// Of an entry that ends an attempt with an answer: how long its last turn took, which has no entry of its own, in
    /// milliseconds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub turn_ms: Option<u64>,
    /// What: `type` and `data`.
    #[serde(flatten)]
    pub body: Body,
}

impl Entry {
    /// Whether an attempt has ended when this is its journal's last entry: by it, or because a higher one exists.
    #[must_use]
    pub fn has_ended(&self, attempt: u32) -> bool {
        self.attempt > attempt || (self.attempt == attempt && self.body.is_end())
    }
}

/// What an entry records.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub enum Body {
    /// A finished turn of the model that the agent goes on from.
    ModelTurn(ModelTurn),
    /// A finished tool call.
    ToolResult(ToolReturn),
    /// A call begins that a person has approved: work that was published twice begins it once.
    CallBegun {
        /// The call.
        tool_use_id: String,
    },
    /// A message to the task that its agent takes into account from now on.
    MessageReceived(PeerMessage),
    /// The attempt ended with an answer.
    Completed(Box<Answer>),
    /// The attempt ended without one.
    Failed(Box<Answer>),
    /// The attempt was ended by a cancel.
    Canceled(Box<Answer>),
    /// The attempt was ended by a deadline that a coordinator keeps.
    TimedOut(Box<Answer>),
    /// The attempt waits for something, and has given its slot back: another one goes on from here.
    Suspended(Box<Suspended>),
}

impl Body {
    /// The names of all types on the wire.
    pub const TYPES: [&'static str; 9] = [
        "model_turn",
        "tool_result",
        "call_begun",
        "message_received",
        "completed",
        "failed",
        "canceled",
        "timed_out",
        "suspended",
    ];

    /// The leaf that it is written to.
    #[must_use]
    pub fn leaf(&self) -> Leaf {
        match self {
            Self::ModelTurn(_)
            | Self::ToolResult(_)
            | Self::CallBegun { .. }
            | Self::MessageReceived(_) => Leaf::Log,
            Self::Completed(_)
            | Self::Failed(_)
            | Self::Canceled(_)
            | Self::TimedOut(_)
            | Self::Suspended(_) => Leaf::End,
        }
    }

    /// Whether it ends an attempt.
    #[must_use]
    pub fn is_end(&self) -> bool {
        self.leaf() == Leaf::End
    }

    /// The answer that an attempt ends with.
    #[must_use]
    pub fn answer(&self) -> Option<&Answer> {
        match self {
            Self::Completed(answer)
            | Self::Failed(answer)
            | Self::Canceled(answer)
            | Self::TimedOut(answer) => Some(answer),
            Self::ModelTurn(_)
            | Self::ToolResult(_)
            | Self::CallBegun { .. }
            | Self::MessageReceived(_)
            | Self::Suspended(_) => None,
        }
    }
}

/// What a suspended attempt waits for, and what it used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Suspended {
    /// The agent.
    pub agent: AgentName,
    /// The calls that a person has to decide about.
    pub approvals: Vec<Approval>,
    /// What the attempt used.
    pub usage: Usage,
    /// How long it was at work, in milliseconds.
    pub elapsed_ms: u64,
}

/// A call that waits for a person's decision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Approval {
    /// Its name in the run: `<task>.<attempt>.<n>`. Another attempt asks under another name.
    pub approval: String,
    /// The call.
    pub call: ToolCall,
    /// SHA-256 of the call: who decides says which call that is about.
    pub call_sha256: String,
    /// Why somebody is asked.
    pub reason: String,
}

impl Approval {
    /// The `n`th call, from 1, that an attempt asks a person about.
    #[must_use]
    pub fn of(task: &TaskId, attempt: u32, n: usize, call: ToolCall, reason: String) -> Self {
        Self {
            approval: format!("{task}.{attempt}.{n}"),
            call_sha256: call.sha256(),
            call,
            reason,
        }
    }
}

/// What a person decided about a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CallDecision {
    /// It is run.
    Approved,
    /// It is taken as failed.
    Denied,
}

/// A message to a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PeerMessage {
    /// Number of the event that it is in the run's log.
    pub n: u64,
    /// Who sent it; nothing when it was a person.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub from: Option<AgentName>,
    /// What it says.
    pub text: String,
}

/// A finished turn of the model.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ModelTurn {
    /// The model.
    pub model: String,
    /// What it wrote for the reader.
    pub text: String,
    /// The tools it called, in order.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub tool_calls: Vec<ToolCall>,
    /// What the turn used.
    pub usage: Usage,
    /// How long it took, in milliseconds.
    pub elapsed_ms: u64,
    /// How tools were offered; nothing when none were.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub mode: Option<ToolMode>,
    /// What was wrong with it. Such a turn is no answer and calls nothing.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub problem: Option<TurnProblem>,
    /// Whether the calls were found in the text, where the model had written them.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub salvaged: bool,
    /// Whether a simulated model wrote it.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub simulated: bool,
}

/// How a model is given tools.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ToolMode {
    /// By the host's tools API.
    Native,
    /// By a JSON Schema that every answer satisfies: the call of a tool, or the final answer.
    Structured,
    /// Not at all.
    Plain,
}

/// What is wrong with a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TurnProblem {
    /// There is no text and no call.
    Empty,
    /// The model thought and did not come to an answer.
    OnlyThinking,
    /// The host could not read the call that the model wrote, or swallowed it.
    CallUnreadable,
    /// The model announced a call and made none.
    CallAnnounced,
    /// The answer is not the JSON that was asked for.
    NotJson,
    /// The answer ended at the bound on its length.
    Cut,
    /// The model repeated itself without end.
    Looping,
    /// The model takes no tools, other than its host had said.
    ToolsUnsupported,
    /// The host found the chat too long.
    TooLong,
    /// A tool was called where none was offered.
    CallAtTheEnd,
}

impl fmt::Display for TurnProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "it is empty",
            Self::OnlyThinking => "it thought, and did not answer",
            Self::CallUnreadable => "its call of a tool could not be read",
            Self::CallAnnounced => "it announced a call of a tool, and made none",
            Self::NotJson => "it is not the JSON that was asked for",
            Self::Cut => "it was cut off at the bound on its length",
            Self::Looping => "it repeated itself without end",
            Self::ToolsUnsupported => "the model takes no tools",
            Self::TooLong => "the chat was too long for the model",
            Self::CallAtTheEnd => "it calls a tool where it was to answer without",
        })
    }
}

/// A tool call in the Strands form.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ToolCall {
    /// Its id, unique in the task.
    pub tool_use_id: String,
    /// The tool.
    pub name: String,
    /// The arguments.
    pub input: Value,
}

impl ToolCall {
    /// SHA-256 of tool and arguments, in hexadecimal: of the JSON `[name, input]`.
    #[must_use]
    pub fn sha256(&self) -> String {
        let document = serde_json::json!([self.name, self.input]);
        hex(&Sha256::digest(document.to_string()))
    }
}

/// A tool result in the Strands form.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ToolResult {
    /// The call it answers.
    pub tool_use_id: String,
    /// `success` or `error`.
    pub status: ToolStatus,
    /// What the model gets to see.
    pub content: Vec<ToolContent>,
}

/// A tool result as the journal holds it: what the model gets to see, and how it came about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ToolReturn {
    /// The result.
    #[serde(flatten)]
    pub result: ToolResult,
    /// The tool.
    pub name: String,
    /// What was mended in the arguments before the call.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub repairs: Vec<Repair>,
    /// Whether the tool was not run, because the same call had a result already.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub repeated: bool,
    /// How long it took, in milliseconds.
    #[serde(default)]
    pub elapsed_ms: u64,
}

/// Something that was mended in the arguments of a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Repair {
    /// Where, as a JSON pointer; empty for the whole.
    pub at: String,
    /// What was done.
    pub what: String,
}

/// How a tool call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ToolStatus {
    /// With a result.
    Success,
    /// With an error that the model may mend.
    Error,
}

/// A part of a tool result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ToolContent {
    /// Text.
    Text(String),
    /// A JSON value.
    Json(Value),
}
