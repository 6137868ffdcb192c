//! What a run does: its steps. Stored whole in the `accepted` event, so that a run never changes under way.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::{AgentName, TaskId};
use crate::submission::Aggregate;

/// The steps of a run, each after the ones it needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Definition {
    /// The steps.
    pub steps: Vec<Step>,
}

/// One node of a definition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Step {
    /// Its id, which is also its task's.
    pub id: TaskId,
    /// What it does.
    #[serde(flatten)]
    pub action: Action,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Action {
    /// One agent works on the submission's task.
    Agent {
        /// The agent.
        agent: AgentName,
    },
    /// The answers of `needs` become the run's answer.
    Aggregate {
        /// How.
        mode: Aggregate,
        /// The agent that does it, when one is needed.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        agent: Option<AgentName>,
        /// The steps it waits for, to their end, whichever.
        needs: Vec<TaskId>,
        /// How many of them must have completed.
        min_answers: u32,
    },
}
