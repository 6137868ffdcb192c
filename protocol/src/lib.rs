//! Everything that crosses a process boundary in Swarm: wire types, ids, subjects and error codes.
//!
//! This crate owns the shapes of messages and the names of subjects, and checks what comes in from outside. It must not
//! know how anything is sent or stored: no I/O, no tokio. Subjects are built here and nowhere else.
//!
//! Reading order: [`ids`], [`subjects`], [`submission`], [`event`], [`work`], [`journal`], [`answer`], [`blob`], [`summary`],
//! [`endpoint`], [`chunk`], [`card`], [`dead`], [`error`]; [`time`], [`trace`], [`headers`], [`limits`] and [`metrics`]
//! serve them all. [`mod@measures`] crosses nothing: it is here as three crates make their switches by it.

pub mod answer;
pub mod blob;
pub mod card;
pub mod chunk;
pub mod dead;
pub mod definition;
pub mod endpoint;
pub mod error;
pub mod event;
pub mod headers;
pub mod ids;
pub mod journal;
pub mod limits;
pub mod measures;
pub mod metrics;
pub mod schemas;
pub mod subjects;
pub mod submission;
pub mod summary;
pub mod time;
pub mod trace;
pub mod version;
pub mod work;

pub use answer::{Answer, AnswerStatus, RunResult, Usage};
pub use blob::BlobRef;
pub use error::{Code, ErrorBody};
pub use ids::{AgentName, InstanceId, RunId, RunRef, TaskId};
pub use submission::{Aggregate, Submission};
pub use summary::{RunState, Summary};
pub use time::{Span, Timestamp};
pub use version::Version;
