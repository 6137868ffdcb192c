//! Names of message headers.

/// W3C trace context.
pub const TRACEPARENT: &str = "traceparent";
/// The run that a submission names, and that a reply is about.
pub const RUN_ID: &str = "Swarm-Run-Id";
/// The state of the run in a reply.
pub const STATUS: &str = "Swarm-Status";
/// `true` on replies whose text was made by a simulated model.
pub const SIMULATED: &str = "Swarm-Simulated";
/// The [`Summary`](crate::summary::Stored) of the run after an event, as ASCII JSON.
pub const SUMMARY: &str = "Swarm-Summary";
/// Where the answer of an `ask` goes; travels with its submission through the inbox.
pub const REPLY_TO: &str = "Swarm-Reply-To";
/// De-duplication id of JetStream.
pub const MESSAGE_ID: &str = "Nats-Msg-Id";
/// CAS: the last sequence on a subject that the publisher expects.
pub const EXPECTED_LAST: &str = "Nats-Expected-Last-Subject-Sequence";
/// CAS: the subject, or wildcard, that [`EXPECTED_LAST`] is about.
pub const EXPECTED_LAST_SUBJECT: &str = "Nats-Expected-Last-Subject-Sequence-Subject";
/// Status of a service error.
pub const ERROR_CODE: &str = "Nats-Service-Error-Code";
/// One line about a service error.
pub const ERROR: &str = "Nats-Service-Error";

/// On answers of `ask`: why new submissions stay in the inbox now.
pub const HELD: &str = "Swarm-Held";

/// On answers of `ask` whose text is only the beginning: the name of the blob in `swarm_blobs` that has all of it.
pub const BLOB: &str = "Swarm-Blob";

/// What a message replaces: `sub` for all that stands on its subject.
pub const ROLLUP: &str = "Nats-Rollup";

/// The stream of a stored message, as the server says it of one that it hands out or republishes.
pub const STREAM: &str = "Nats-Stream";
/// The subject of such a message.
pub const SUBJECT: &str = "Nats-Subject";
/// The sequence of such a message.
pub const SEQUENCE: &str = "Nats-Sequence";
/// The sequence of the message before it on its subject, of one that is republished.
pub const LAST_SEQUENCE: &str = "Nats-Last-Sequence";
