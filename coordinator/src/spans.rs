//! Spans of runs and attempts, told when they have ended.

use swarm_protocol::journal::Entry;
use swarm_telemetry::{EndedAttempt, EndedRun, invoke_agent, invoke_workflow};
use swarm_workflow::State;

/// Tells the span of a run, when that has ended. A run that was deleted has none.
pub(crate) fn of_run(state: &State) {
    if !swarm_telemetry::is_on() {
        return;
    }
    let Some(result) = &state.result else {
        return;
    };
    let submission = state.accepted().map(|accepted| &accepted.submission);
    invoke_workflow(&EndedRun {
        trace: state.trace(),
        submitter: state.submitter(),
        task: submission.and_then(|submission| submission.task.as_deref()),
        submitted_at: state.submitted_at(),
        ended_at: state.at,
        result,
    });
}

/// Tells the span of an attempt, which an entry ends.
pub(crate) fn of_attempt(state: &State, entry: &Entry) {
    if swarm_telemetry::is_on() && !state.is_deleted() {
        invoke_agent(&EndedAttempt {
            trace: state.trace(),
            dispatched_at: state.dispatched_at(&entry.task),
            entry,
        });
    }
}
