//! Agent cards: what an instance says of itself, in the bucket `swarm_agents` under `<agent>.<instance>`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::{AgentName, InstanceId, RunId, TaskId};
use crate::time::Timestamp;

/// What an instance is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It has a free slot.
    Ready,
    /// All its slots are taken.
    Busy,
    /// It finishes what it has and takes nothing new.
    Draining,
    /// It takes nothing for now; `reason` says why.
    Paused,
}

/// A task that an instance works on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Running {
    /// The run.
    pub run: RunId,
    /// The task.
    pub task: TaskId,
    /// The attempt, from 1.
    pub attempt: u32,
}

/// An agent card: CARD.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Card {
    /// The agent.
    pub agent: AgentName,
    /// The process.
    pub instance: InstanceId,
    /// What the agent is good for.
    pub description: String,
    /// The model it thinks with.
    pub model: String,
    /// What it can do, in words that tasks may ask for.
    pub capabilities: Vec<String>,
    /// The tools it has.
    pub tools: Vec<String>,
    /// What it is doing.
    pub state: State,
    /// Why it is paused.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
    /// The model hosts that do not answer, while it is paused because of that.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub unreachable: Option<String>,
    /// Tasks it can do at once.
    pub slots: u32,
    /// Slots that are taken.
    pub busy: u32,
    /// What it works on.
    pub tasks: Vec<Running>,
    /// The machine it runs on.
    pub host: String,
    /// Its process id there.
    pub pid: u32,
    /// The version of Swarm.
    pub version: String,
    /// Whether its model host is a simulator.
    pub simulated: bool,
    /// When it started.
    pub started_at: Timestamp,
    /// When it wrote this card.
    pub at: Timestamp,
}

impl Card {
    /// The key of this card in the bucket.
    #[must_use]
    pub fn key(&self) -> String {
        key(&self.agent, &self.instance)
    }
}

/// The key of an instance's card in the bucket.
#[must_use]
pub fn key(agent: &AgentName, instance: &InstanceId) -> String {
    format!("{agent}.{instance}")
}
