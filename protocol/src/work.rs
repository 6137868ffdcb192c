//! One attempt at a task, as an agent takes it: WORK on `swarm.work.<agent>`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::{AgentName, RunId, TaskId};
use crate::journal::{CallDecision, PeerMessage};
use crate::submission::Budget;
use crate::time::Timestamp;
use crate::version::Version;

/// One attempt: WORK. What was done before it stands in the task's journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Work {
    /// Wire version.
    pub v: Version,
    /// The run.
    pub run: RunId,
    /// The task.
    pub task: TaskId,
    /// The attempt, from 1.
    pub attempt: u32,
    /// The agent.
    pub agent: AgentName,
    /// What is to be done.
    pub input: String,
    /// More text beside it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub context: Option<String>,
    /// What the attempt may use.
    pub budget: Budget,
    /// When the run must have ended.
    pub deadline: Timestamp,
    /// What a person decided about calls of earlier attempts, by the call's id. It holds for the first delivery.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub decisions: BTreeMap<String, CallDecision>,
    /// Messages to the task, oldest first; those that its journal has already are among them.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub messages: Vec<PeerMessage>,
}
