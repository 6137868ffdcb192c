//! Load: so many tasks, so many at once, each timed from its submission to its answer.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use swarm_protocol::RunId;
use tokio::sync::oneshot;

/// An answer is waited for this long.
const PATIENCE: Duration = Duration::from_secs(60);

/// Who waits for which answer.
#[derive(Debug, Clone, Default)]
pub struct Waiting {
    by_id: Arc<Mutex<HashMap<RunId, oneshot::Sender<()>>>>,
}

impl Waiting {
    /// Waits for the answer with this id, from now on.
    pub fn expect(&self, id: RunId) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        self.lock().insert(id, sender);
        receiver
    }

    /// The answer with this id is there.
    pub fn answered(&self, id: RunId) {
        if let Some(sender) = self.lock().remove(&id) {
            // Whoever waited has given up.
            sender.send(()).unwrap_or_default();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<RunId, oneshot::Sender<()>>> {
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for an answer.
pub async fn answer(receiver: oneshot::Receiver<()>) -> Result<()> {
    match tokio::time::timeout(PATIENCE, receiver).await {
        Ok(answered) => answered.context("the answers are no longer listened to"),
        Err(_elapsed) => bail!("no answer within {PATIENCE:?}"),
    }
}

/// What a load took.
#[derive(Debug, Clone)]
pub struct Timing {
    /// Of each task, ascending.
    pub latencies: Vec<Duration>,
    /// Of all.
    pub elapsed: Duration,
}

impl Timing {
    /// The latency below which this share of the tasks stayed.
    pub fn percentile(&self, share: f64) -> Duration {
        let last = self.latencies.len().saturating_sub(1);
        let at = (last as f64 * share).round() as usize;
        self.latencies.get(at).copied().unwrap_or_default()
    }

    /// Tasks a second.
    pub fn rate(&self) -> f64 {
        self.latencies.len() as f64 / self.elapsed.as_secs_f64()
    }
}

/// Runs `total` tasks, `at_once` of them at a time.
pub async fn run<F>(total: usize, at_once: usize, task: impl Fn() -> F) -> Result<Timing>
where
    F: Future<Output = Result<()>>,
{
    let began = Instant::now();
    let timed = || {
        let task = task();
        async move {
            let began = Instant::now();
            task.await?;
            anyhow::Ok(began.elapsed())
        }
    };
    let mut latencies: Vec<Duration> = stream::iter(0..total)
        .map(|_| timed())
        .buffer_unordered(at_once)
        .try_collect()
        .await?;
    let elapsed = began.elapsed();
    latencies.sort_unstable();
    Ok(Timing { latencies, elapsed })
}
