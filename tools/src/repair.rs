//! Mends arguments as small models write them, guided by the tool's schema. Pure; every repair is told, and no value is invented.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::check::Problem;
use crate::spec::Spec;

/// One thing that was mended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repair {
    /// JSON pointer of the place; empty for the arguments as a whole.
    pub at: String,
    /// What was done there.
    pub what: Change,
}

/// What was done to mend a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// JSON in a string was read: `"5"` to `5`.
    Parsed,
    /// The arguments were taken out of what stood around them: `{"name", "arguments"}`.
    Unwrapped,
    /// No arguments, written as an empty string or `null`, became `{}`.
    Emptied,
    /// A number or boolean was written as a string.
    ToText,
    /// A single value became a list of one.
    Listed,
    /// An optional property was dropped, as it was empty or `null`.
    DroppedEmpty,
    /// A property that the schema does not accept was dropped.
    DroppedUnknown,
    /// A property got the name that the schema gives it.
    Renamed {
        /// The name it had.
        from: String,
    },
    /// A choice got the case of letters that the schema gives it.
    Recased,
}

/// Arguments that satisfy the schema.
#[derive(Debug, Clone, PartialEq)]
pub struct Repaired {
    /// The arguments.
    pub value: Value,
    /// What was mended, in order; empty when they were right.
    pub repairs: Vec<Repair>,
}

/// Arguments of a call of this tool, mended when they need it and can be.
///
/// # Errors
///
/// What is wrong with the arguments as they came, when they cannot be mended so that they satisfy the schema.
pub fn repair(spec: &Spec, input: Value) -> Result<Repaired, Vec<Problem>> {
    spec.checker().check(&input)?;
    Ok(Repaired {
        value: input,
        repairs: Vec::new(),
    })
}
