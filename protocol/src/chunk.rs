//! Streamed output of a task: CHUNK on `swarm.out.<run>.<task>`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::version::Version;

/// What a chunk carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A piece of the answer; data is text.
    Text,
    /// A piece of the model's thinking, never part of the answer; data is text.
    Thinking,
    /// A tool call; data is the call.
    ToolCall,
    /// A tool result; data is the result.
    ToolResult,
    /// What the task is doing; data is text.
    Status,
}

/// A piece of streamed output.
///
/// A higher (attempt, delivery) voids the text of earlier ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Chunk {
    /// Wire version.
    pub v: Version,
    /// The attempt that writes, from 1.
    pub attempt: u32,
    /// Its delivery, from 1.
    pub delivery: u64,
    /// Position in this delivery, from 1, gapless: a gap shows loss.
    pub seq: u64,
    /// What data is.
    pub kind: Kind,
    /// The piece.
    pub data: Value,
}
