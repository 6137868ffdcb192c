//! What no delivery brings back: effects of commands whose coordinator died before it could publish them.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use swarm_bus::work_loop::Shutdown;
use swarm_protocol::error::chain;
use swarm_protocol::{RunId, Timestamp};
use tracing::Instrument as _;

use crate::Shared;
use crate::runs::TransitionError;

const PERIOD: Duration = Duration::from_secs(1);

/// How long one run may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// An unconfirmed event that has been a run's last for this long has its effects published again.
const UNCONFIRMED: Duration = Duration::from_secs(5);

/// Sweeps until the stop.
pub(crate) async fn run(shared: Arc<Shared>, shutdown: Shutdown) {
    let mut swept: HashMap<RunId, u64> = HashMap::new();
    while shutdown
        .stop
        .run_until_cancelled(tokio::time::sleep(PERIOD))
        .await
        .is_some()
    {
        let retention = shared.options.topology.retention;
        shared.index.forget_before(Timestamp::now(), retention);
        let sweeping = sweep(&shared, &mut swept);
        if shutdown.stop.run_until_cancelled(sweeping).await.is_none() {
            return;
        }
    }
}

async fn sweep(shared: &Shared, swept: &mut HashMap<RunId, u64>) {
    let unconfirmed = shared.index.unconfirmed();
    swept.retain(|run, seq| {
        unconfirmed
            .iter()
            .any(|entry| entry.stored.summary.run == *run && entry.seq == *seq)
    });
    for entry in unconfirmed {
        let run = entry.stored.summary.run;
        if swept.contains_key(&run) || Timestamp::now().since(entry.stored.at) < UNCONFIRMED {
            continue;
        }
        let confirming = shared.confirm(run);
        let span = tracing::error_span!("sweep", %run);
        // A stream that is full for one run holds up no other.
        let confirmed = tokio::time::timeout(PATIENCE, confirming.instrument(span)).await;
        match confirmed {
            Ok(Ok(())) => {
                swept.insert(run, entry.seq);
            }
            Err(_elapsed) => tracing::warn!(%run, "effects were not published again yet"),
            Ok(Err(error)) => {
                tracing::warn!(%run, error = chain(&error), "effects were not published again")
            }
        }
    }
}

impl Shared {
    /// Publishes the effects of a run's last event again.
    pub(crate) async fn confirm(&self, run: RunId) -> Result<(), TransitionError> {
        let Some(state) = self.load(run).await?.state else {
            return Ok(());
        };
        let Some(event) = self.last_event(run).await? else {
            return Ok(());
        };
        match event.n.cmp(&state.n) {
            Ordering::Equal => self.publish_effects(&state, &event).await,
            // Read from a replica that is behind.
            Ordering::Greater => Err(TransitionError::Contended),
            Ordering::Less => Ok(()),
        }
    }
}
