//! The tools that an agent has, and which of them it is offered for a task.

use std::fmt;
use std::sync::Arc;

use crate::spec::Spec;
use crate::tool::Tool;

/// Most tools that are offered in one turn: small models get lost among more.
pub const MAX_OFFERED: usize = 5;

/// The tools that an agent has, in the order of its configuration. Cheap to clone.
#[derive(Clone, Default)]
pub struct Toolset(Vec<Arc<dyn Tool>>);

/// Why tools cannot be together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the tools {0} and {1} have names that differ by no more than - and _")]
pub struct ToolsetError(String, String);

impl Toolset {
    /// These tools.
    ///
    /// # Errors
    ///
    /// When two have the same name, or names that differ only by `-` and `_`: models mix those up.
    pub fn new(tools: Vec<Arc<dyn Tool>>) -> Result<Self, ToolsetError> {
        let mut set = Self::default();
        for tool in tools {
            let name = tool.spec().name();
            if let Some(other) = set.names().find(|other| same(other, name)) {
                return Err(ToolsetError(other.to_owned(), name.to_owned()));
            }
            set.0.push(tool);
        }
        Ok(set)
    }

    /// The tool of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<dyn Tool>> {
        self.0.iter().find(|tool| tool.spec().name() == name)
    }

    /// The names of all, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|tool| tool.spec().name())
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The tools to offer for this task, in the order of the configuration: all, or the [`MAX_OFFERED`] that suit the task best.
    #[must_use]
    pub fn offers(&self, _task: &str) -> Vec<&Spec> {
        self.0
            .iter()
            .map(|tool| tool.spec())
            .take(MAX_OFFERED)
            .collect()
    }
}

fn same(one: &str, other: &str) -> bool {
    let plain = |name: &str| name.replace('-', "_");
    plain(one) == plain(other)
}

impl fmt::Debug for Toolset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}
