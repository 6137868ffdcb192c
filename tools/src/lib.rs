//! What a tool is: its spec, the check and repair of its arguments, its call, and the built-in ones.
//!
//! This crate owns the [`Tool`] trait and everything between a call as a model wrote it and a result as the model reads it:
//! a tool never runs on arguments that do not satisfy its schema. It must not know who calls: no agents, models, NATS or HTTP.
//!
//! Reading order: [`spec`], [`tool`], [`check`], [`mod@repair`], [`mod@invoke`], [`toolset`], [`builtin`]; `measures` says
//! which of it is there because models are small.

pub mod builtin;
pub mod check;
#[cfg(test)]
mod failures;
pub mod invoke;
mod measures;
#[cfg(test)]
mod probe;
pub mod repair;
pub mod spec;
pub mod tool;
pub mod toolset;

pub use check::{Checker, Problem};
pub use invoke::{Failure, Outcome, invoke};
pub use repair::{Change, Repair, Repaired, repair};
pub use spec::{Effects, Spec, SpecError};
pub use swarm_protocol::journal::{ToolContent as Content, ToolResult, ToolStatus};
pub use tool::{CallContext, Tool, ToolError};
pub use toolset::{Toolset, ToolsetError};
