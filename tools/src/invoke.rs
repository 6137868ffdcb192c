//! One call of a tool, from the arguments as a model wrote them to the result as the model reads it.

mod cap;
#[cfg(test)]
mod tests;

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use swarm_protocol::journal::{ToolCall, ToolContent, ToolResult, ToolStatus};
use tokio::time::Instant;

use crate::check::Problem;
use crate::measures::Measure;
use crate::repair::{Repair, repair};
use crate::spec::MAX_NAME;
use crate::tool::{CallContext, Tool};
use crate::toolset::Toolset;

pub use cap::MAX_RESULT_BYTES;

/// What came of a call.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// What the model gets to see.
    pub result: ToolResult,
    /// How the arguments were mended before.
    pub repairs: Vec<Repair>,
    /// How long it took.
    pub elapsed: Duration,
    /// Why there is no success.
    pub failure: Option<Failure>,
}

/// Why a call has no success.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Failure {
    /// There is no such tool. Nothing ran.
    UnknownTool,
    /// The arguments do not satisfy the schema. Nothing ran.
    BadArguments,
    /// The tool says that it could not do it.
    Refused,
    /// The tool panicked, which is a defect of the tool.
    Panicked,
    /// It was not done in time.
    Deadline,
    /// Nobody wants the result any more.
    Canceled,
}

impl Failure {
    /// The failure in a word, as traces name it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnknownTool => "unknown_tool",
            Self::BadArguments => "bad_arguments",
            Self::Refused => "refused",
            Self::Panicked => "panicked",
            Self::Deadline => "deadline",
            Self::Canceled => "canceled",
        }
    }

    /// Whether the model wrote a call that could not be run.
    #[must_use]
    pub fn is_of_the_model(self) -> bool {
        matches!(self, Self::UnknownTool | Self::BadArguments)
    }
}

/// Runs one call. It ends at the deadline of `context` at the latest, and at once when it is cancelled.
///
/// The call id in `context` is replaced by that of `call`.
pub async fn invoke(tools: &Toolset, call: &ToolCall, mut context: CallContext) -> Outcome {
    let begun = Instant::now();
    context.call_id.clone_from(&call.tool_use_id);
    let mut repairs = Vec::new();
    let done = match tools.get(&call.name) {
        None => Err((Failure::UnknownTool, unknown_tool(&call.name, tools))),
        Some(tool) => match repair(tool.spec(), call.input.clone()) {
            Err(problems) => Err((
                Failure::BadArguments,
                bad_arguments(tool.as_ref(), &problems),
            )),
            Ok(repaired) => {
                repairs = repaired.repairs;
                run(tool.as_ref(), repaired.value, context).await
            }
        },
    };
    let (failure, content) = match done {
        Ok(content) => (None, content),
        Err((failure, text)) => (Some(failure), vec![ToolContent::Text(text)]),
    };
    Outcome {
        result: ToolResult {
            tool_use_id: call.tool_use_id.clone(),
            status: match failure {
                None => ToolStatus::Success,
                Some(_) => ToolStatus::Error,
            },
            content: cap::cap(content, MAX_RESULT_BYTES),
        },
        repairs,
        elapsed: begun.elapsed(),
        failure,
    }
}

async fn run(
    tool: &dyn Tool,
    input: serde_json::Value,
    context: CallContext,
) -> Result<Vec<ToolContent>, (Failure, String)> {
    let name = tool.spec().name();
    let (deadline, cancel) = (context.deadline, context.cancel.clone());
    let limit = deadline.saturating_duration_since(Instant::now());
    let call = AssertUnwindSafe(async { tool.call(input, context).await }).catch_unwind();
    tokio::select! {
        biased;
        () = cancel.cancelled() => Err((Failure::Canceled, format!("The call of {name} was canceled."))),
        done = call => match done {
            Ok(Ok(content)) => Ok(content),
            Ok(Err(error)) => Err((Failure::Refused, error.to_string())),
            Err(_panic) => {
                tracing::error!(tool = name, "a tool panicked");
                Err((Failure::Panicked, format!("{name} failed by a defect of its own. Do without it.")))
            }
        },
        () = tokio::time::sleep_until(deadline) => {
            Err((Failure::Deadline, format!("{name} was not done within {} ms.", limit.as_millis())))
        }
    }
}

fn unknown_tool(name: &str, tools: &Toolset) -> String {
    let name: String = name.chars().take(MAX_NAME).collect();
    let names: Vec<&str> = tools.names().collect();
    if !Measure::ValidNames.is_on() {
        return format!("There is no tool {name:?}.");
    }
    if names.is_empty() {
        return format!("There is no tool {name:?}, and no other. Answer without tools.");
    }
    format!(
        "There is no tool {name:?}. The tools are: {}.",
        names.join(", ")
    )
}

fn bad_arguments(tool: &dyn Tool, problems: &[Problem]) -> String {
    let spec = tool.spec();
    let list: String = problems
        .iter()
        .map(|problem| format!("- {problem}\n"))
        .collect();
    format!(
        "{} was not run, because its arguments are wrong:\n{list}They must satisfy this JSON Schema: {}",
        spec.name(),
        spec.input_schema()
    )
}
