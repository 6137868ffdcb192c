//! Mends arguments as small models write them, guided by the tool's schema. Pure; every repair is told, and no value is invented.
//!
//! The validator says where a value does not satisfy the schema, and only there something is done.

mod edit;
#[cfg(test)]
mod tests;
mod ways;

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::check::Problem;
use crate::measures::Measure;
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

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Parsed => "JSON in a string was read",
            Self::Unwrapped => "the arguments were taken out of what stood around them",
            Self::Emptied => "no arguments became {}",
            Self::ToText => "a number or boolean became text",
            Self::Listed => "a single value became a list",
            Self::DroppedEmpty => "an empty property was dropped",
            Self::DroppedUnknown => "an unknown property was dropped",
            Self::Renamed { from } => return write!(f, "renamed from {from}"),
            Self::Recased => "the case of letters was changed",
        };
        f.write_str(text)
    }
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
/// What satisfies the schema is returned as it came, whatever else it looks like.
///
/// # Errors
///
/// What is wrong with the arguments as they came, when they cannot be mended so that they satisfy the schema.
pub fn repair(spec: &Spec, input: Value) -> Result<Repaired, Vec<Problem>> {
    let problems = match spec.checker().check(&input) {
        Ok(()) => {
            return Ok(Repaired {
                value: input,
                repairs: Vec::new(),
            });
        }
        Err(problems) if !Measure::Repair.is_on() => return Err(problems),
        Err(problems) => problems,
    };
    let mut search = Search {
        spec,
        looks: MAX_LOOKS,
    };
    search
        .mend(&input, MAX_STEPS)
        .map(|(value, mut repairs)| {
            repairs.reverse();
            Repaired { value, repairs }
        })
        .ok_or(problems)
}

/// Most times that arguments are checked while they are mended.
const MAX_LOOKS: u32 = 200;

/// Most steps to a mended value; a step mends all places with the same fault.
const MAX_STEPS: u32 = 24;

/// Looks for edits after which the arguments satisfy the schema: mends the first fault that is left, in each way that there is.
struct Search<'a> {
    spec: &'a Spec,
    looks: u32,
}

impl Search<'_> {
    /// The mended value and its repairs, last one first.
    fn mend(&mut self, value: &Value, steps: u32) -> Option<(Value, Vec<Repair>)> {
        self.looks = self.looks.checked_sub(1)?;
        let ways = {
            let mut faults = self
                .spec
                .checker()
                .validator()
                .iter_errors(value)
                .peekable();
            if faults.peek().is_none() {
                return Some((value.clone(), Vec::new()));
            }
            ways::ways(self.spec, value, &faults.collect::<Vec<_>>())
        };
        let steps = steps.checked_sub(1)?;
        ways.into_iter().find_map(|way| {
            let mut next = value.clone();
            let done: Vec<Repair> = way
                .into_iter()
                .filter_map(|edit| edit.apply(&mut next))
                .collect();
            if done.is_empty() {
                return None;
            }
            let (mended, mut repairs) = self.mend(&next, steps)?;
            repairs.extend(done.into_iter().rev());
            Some((mended, repairs))
        })
    }
}
