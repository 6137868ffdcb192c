//! What agents and runs give back.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::blob::BlobRef;
use crate::error::ErrorBody;
use crate::ids::{AgentName, RunId, TaskId};
use crate::submission::Aggregate;
use crate::summary::RunState;
use crate::version::Version;

/// What was used, in tokens and calls.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Usage {
    /// Tokens read by models.
    pub input_tokens: u64,
    /// Tokens written by models.
    pub output_tokens: u64,
    /// Finished model calls.
    pub model_calls: u64,
    /// Finished tool calls.
    pub tool_calls: u64,
}

impl Usage {
    /// The sum of both.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            input_tokens: self.input_tokens.saturating_add(other.input_tokens),
            output_tokens: self.output_tokens.saturating_add(other.output_tokens),
            model_calls: self.model_calls.saturating_add(other.model_calls),
            tool_calls: self.tool_calls.saturating_add(other.tool_calls),
        }
    }
}

/// How a task ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AnswerStatus {
    /// With an answer.
    Completed,
    /// With an error.
    Failed,
    /// By a cancel.
    Canceled,
}

/// The answer of one task: ANSWER.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Answer {
    /// The task.
    pub task: TaskId,
    /// The agent that did it.
    pub agent: AgentName,
    /// The model it used; empty when it came to none.
    pub model: String,
    /// How it ended.
    pub status: AnswerStatus,
    /// The text of a completed task.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub text: Option<String>,
    /// Where the whole text is, when `text` is its beginning.
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none", default)]
    pub blob: Option<BlobRef>,
    /// Why the task did not complete.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub error: Option<ErrorBody>,
    /// What it used, over all its attempts.
    pub usage: Usage,
    /// From the first attempt's start to its end, in milliseconds.
    pub elapsed_ms: u64,
    /// Whether a simulated model wrote any of it.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub simulated: bool,
}

/// The result of a run: RESULT.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunResult {
    /// Wire version.
    pub v: Version,
    /// The run.
    pub run: RunId,
    /// How it ended: completed, failed, canceled or rejected.
    pub status: RunState,
    /// The answer for a person; of a run that failed, what there is of it.
    pub text: String,
    /// Where the whole text is, when `text` is its beginning.
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none", default)]
    pub blob: Option<BlobRef>,
    /// Structured answer of some aggregations.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub data: Option<Value>,
    /// Why it did not complete.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<ErrorBody>,
    /// How the answers were put together.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub aggregate: Option<Aggregate>,
    /// One per agent step, in their order; the aggregate step is not among them.
    pub answers: Vec<Answer>,
    /// The sum over all tasks.
    pub usage: Usage,
    /// From submission to end, in milliseconds.
    pub elapsed_ms: u64,
    /// Whether a simulated model wrote any of it.
    pub simulated: bool,
    /// Every blob of the result: whole texts that have only their beginning here; of a run with more answers than a message
    /// holds, also one of type `application/vnd.swarm.answers+json` with all of them.
    pub refs: Vec<BlobRef>,
}
