//! What all commands about a run have in common: the engine decides, and its word is in the log before anybody hears it.

use std::sync::Arc;

use swarm_protocol::endpoint::StateReply;
use swarm_protocol::event::Cause;
use swarm_protocol::{ErrorBody, RunId, RunRef};
use swarm_workflow::{Input, State};
use tracing::Instrument as _;

use crate::Shared;
use crate::index::unknown;
use crate::runs::Outcome;

/// What a command came to, and the run's state then.
pub(super) enum Commanded {
    /// It is done.
    Done(Arc<State>),
    /// It changes nothing: it was done before, or means nothing now.
    Nothing(Arc<State>),
}

impl Shared {
    /// Has the engine decide about a command. What an earlier one left unpublished is published on the way.
    ///
    /// # Errors
    /// When there is no such run, or it cannot be decided now.
    pub(super) async fn command(
        &self,
        run: RunId,
        input: Input<'_>,
        endpoint: &str,
    ) -> Result<Commanded, ErrorBody> {
        let cause = cause(endpoint);
        let outcome = self
            .transition(run, input, &cause)
            .instrument(tracing::error_span!("command", name = endpoint, %run))
            .await;
        match outcome.map_err(|error| error.to_body())? {
            Outcome::Applied(state) => Ok(Commanded::Done(state)),
            Outcome::Ignored(None) => Err(unknown(&RunRef::Id(run))),
            Outcome::Ignored(Some(state)) => {
                if state.unconfirmed() {
                    self.confirm(run).await.map_err(|error| error.to_body())?;
                }
                Ok(Commanded::Nothing(state))
            }
        }
    }

    /// Whether a command stands in the log already that says by its endpoint which one it is: it was asked for again, as its
    /// answer was lost.
    pub(super) async fn is_repeated(&self, run: RunId, endpoint: &str) -> Result<bool, ErrorBody> {
        let repeated = self.repeat_effects(run, &cause(endpoint)).await;
        repeated.map_err(|error| error.to_body())
    }
}

fn cause(endpoint: &str) -> Cause {
    Cause::Endpoint {
        endpoint: endpoint.to_owned(),
    }
}

/// The state of a run, as commands answer it.
pub(super) fn reply(state: &State) -> StateReply {
    StateReply {
        run: state.run,
        state: state.phase,
    }
}
