//! The run engine as pure values: what a submission compiles to, how events fold into a state, what an input decides.
//!
//! This crate owns the rules of runs. It must not know about NATS, clocks, models or files: time, ids and the team come in
//! as arguments, events and work go out as values.
//!
//! Reading order: [`mod@compile`], [`state`], [`mod@decide`] with `next`, [`aggregate`] and [`retry`], [`blobs`], [`result`],
//! [`work`]; [`deadline`], [`ended_by`].

pub mod aggregate;
pub mod blobs;
pub mod compile;
pub mod deadline;
pub mod decide;
pub mod ended_by;
mod next;
pub mod result;
pub mod retry;
pub mod state;
pub mod work;

pub use blobs::{Blob, Contents, Source};
pub use compile::{Team, compile};
pub use deadline::{Due, Queued};
pub use decide::{Context, Decision, Input, Submit, decide};
pub use ended_by::EndedBy;
pub use state::{FoldError, State, fold, replay};
pub use work::{texts_for, work_for};

#[cfg(test)]
mod test_support;
#[cfg(test)]
mod tests;
