//! A tool that can be called.

use std::time::Duration;

use futures_util::future::BoxFuture;
use serde_json::Value;
use swarm_protocol::journal::ToolContent;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::spec::Spec;

/// A tool that can be called. Call it by [`crate::invoke()`], which checks the arguments and keeps the deadline.
pub trait Tool: Send + Sync {
    /// What it says of itself; the same each time.
    fn spec(&self) -> &Spec;

    /// Does it. `input` satisfies the schema of [`Tool::spec`].
    ///
    /// The future is dropped at the deadline and on a cancel; what must be tidied up then watches [`CallContext::cancel`] or
    /// is done on drop.
    ///
    /// # Errors
    ///
    /// When it could not be done, with a text that helps a model to do better.
    fn call(
        &self,
        input: Value,
        context: CallContext,
    ) -> BoxFuture<'_, Result<Vec<ToolContent>, ToolError>>;
}

/// What a tool knows of its call.
#[derive(Debug, Clone)]
pub struct CallContext {
    /// The id of the call, unique in the task. [`crate::invoke()`] sets it.
    pub call_id: String,
    /// The run.
    pub run: String,
    /// The task.
    pub task: String,
    /// When the call has to be done.
    pub deadline: Instant,
    /// Is cancelled when nobody wants the result any more.
    pub cancel: CancellationToken,
}

impl CallContext {
    /// A call of this task that may take `limit` from now.
    #[must_use]
    pub fn new(
        run: impl Into<String>,
        task: impl Into<String>,
        limit: Duration,
        cancel: CancellationToken,
    ) -> Self {
        Self {
            call_id: String::new(),
            run: run.into(),
            task: task.into(),
            deadline: Instant::now() + limit,
            cancel,
        }
    }
}

/// Why a tool could not do it, in words for the model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ToolError(String);

impl ToolError {
    /// An error with this text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}
