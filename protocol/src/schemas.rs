//! JSON Schemas of the wire shapes, written to `docs/schemas/` by `make schemas`.

use schemars::{JsonSchema, Schema, SchemaGenerator};

use crate::{
    answer, card, chunk, dead, endpoint, error, event, journal, submission, summary, work,
};

fn schema<T: JsonSchema>() -> Schema {
    SchemaGenerator::default().into_root_schema_for::<T>()
}

/// Every published schema by its file name without `.json`.
#[must_use]
pub fn all() -> Vec<(&'static str, Schema)> {
    vec![
        ("submission", schema::<submission::Submission>()),
        ("error", schema::<error::ErrorBody>()),
        ("result", schema::<answer::RunResult>()),
        ("answer", schema::<answer::Answer>()),
        ("event", schema::<event::Event>()),
        ("summary", schema::<summary::Summary>()),
        ("journal", schema::<journal::Entry>()),
        ("work", schema::<work::Work>()),
        ("chunk", schema::<chunk::Chunk>()),
        ("dead", schema::<dead::Dead>()),
        ("card", schema::<card::Card>()),
        ("run-request", schema::<endpoint::RunRequestBody>()),
        ("runs-request", schema::<endpoint::RunsRequest>()),
        ("runs", schema::<endpoint::RunsReply>()),
        ("explain", schema::<endpoint::Explanation>()),
        ("delete", schema::<endpoint::DeleteReply>()),
        ("retry", schema::<endpoint::RetryReply>()),
        ("decide-request", schema::<endpoint::DecideRequest>()),
        ("message-request", schema::<endpoint::MessageRequest>()),
        ("dead-request", schema::<endpoint::DeadsRequest>()),
        ("dead-letters", schema::<endpoint::DeadsReply>()),
        ("dead-requeue-request", schema::<endpoint::DeadRequest>()),
        ("dead-requeue", schema::<endpoint::DeadReply>()),
        ("state", schema::<endpoint::StateReply>()),
        ("agents-request", schema::<endpoint::AgentsRequest>()),
        ("agents", schema::<endpoint::AgentsReply>()),
        ("register", schema::<endpoint::RegisterReply>()),
    ]
}
