//! How full the store is, looked at every few seconds.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use swarm_bus::store::Fill;
use swarm_bus::topology::{self, TopologyError};
use swarm_bus::work_loop::Shutdown;
use swarm_protocol::error::chain;
use swarm_protocol::metrics as names;

use crate::Shared;

/// Between two looks.
const PERIOD: Duration = Duration::from_secs(2);

/// How full the streams are, as last seen.
#[derive(Debug, Default)]
pub(crate) struct Store {
    fills: RwLock<Vec<Fill>>,
}

impl Store {
    /// How full a stream is, in percent; nothing before the first look.
    pub(crate) fn percent(&self, stream: &str) -> Option<u64> {
        let fills = self.fills.read().unwrap_or_else(PoisonError::into_inner);
        fills
            .iter()
            .find(|fill| fill.stream == stream)
            .map(Fill::percent)
    }
}

/// Looks until the stop.
pub(crate) async fn watch(shared: Arc<Shared>, shutdown: Shutdown) {
    loop {
        if let Err(error) = shared.look_at_store().await {
            tracing::debug!(error = chain(&error), "the store was not looked at");
        }
        shared.admit();
        let pause = tokio::time::sleep(PERIOD);
        if shutdown.stop.run_until_cancelled(pause).await.is_none() {
            return;
        }
    }
}

impl Shared {
    async fn look_at_store(&self) -> Result<(), TopologyError> {
        let mut fills = Vec::new();
        for stream in topology::STREAMS {
            fills.push(self.bus.fill(stream).await?);
        }
        fills.iter().for_each(measure);
        *self
            .store
            .fills
            .write()
            .unwrap_or_else(PoisonError::into_inner) = fills;
        for agent in &self.roster.team().known {
            let backlog = self.bus.work_backlog(agent).await?.unwrap_or_default();
            let agent = agent.to_string();
            metrics::gauge!(names::WORK_PENDING, "agent" => agent.clone())
                .set(backlog.pending as f64);
            metrics::gauge!(names::WORK_UNACKNOWLEDGED, "agent" => agent)
                .set(backlog.unacknowledged as f64);
        }
        Ok(())
    }
}

fn measure(fill: &Fill) {
    let stream = fill.stream.clone();
    metrics::gauge!(names::STREAM_MESSAGES, "stream" => stream.clone()).set(fill.messages as f64);
    metrics::gauge!(names::STREAM_BYTES, "stream" => stream.clone()).set(fill.bytes as f64);
    if let Some(max) = fill.max_bytes {
        metrics::gauge!(names::STREAM_MAX_BYTES, "stream" => stream).set(max as f64);
    }
    if fill.stream == topology::DEAD {
        metrics::gauge!(names::DEAD_LETTERS).set(fill.messages as f64);
    }
}
