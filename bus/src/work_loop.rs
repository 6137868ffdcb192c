//! The work loop: permit -> pull -> decode -> work -> settle, and the drain at the end.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use swarm_protocol::metrics as names;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::connection::{Bus, RequestError};
use crate::delivery::Delivery;
use crate::gate::Gate;
use crate::pull::Puller;

/// What a loop works on, and how much at once.
#[derive(Debug, Clone)]
pub struct Options {
    /// The stream.
    pub stream: &'static str,
    /// The durable consumer.
    pub consumer: String,
    /// Deliveries at work at once.
    pub slots: usize,
    /// How long running work may go on after the stop.
    pub drain: Duration,
    /// How many deliveries may be taken now.
    pub gate: Gate,
}

/// How a loop is stopped.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    /// No new work.
    pub stop: CancellationToken,
    /// The drain has passed: running work is handed back.
    pub hand_back: CancellationToken,
}

/// Work that is handed back gets this long to settle.
const HAND_BACK_PATIENCE: Duration = Duration::from_secs(3);

/// Works on deliveries until the stop, then drains. Whether all work ended by itself.
///
/// `work` settles its delivery; when `hand_back` is cancelled it gives it back and returns.
///
/// # Errors
/// When the connection is closed for good.
pub async fn run<W, F>(
    bus: &Bus,
    options: Options,
    shutdown: Shutdown,
    work: W,
) -> Result<bool, RequestError>
where
    W: Fn(Delivery) -> F + Send + Sync + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let slots = Arc::new(Semaphore::new(options.slots));
    let running = TaskTracker::new();
    let mut gate = options.gate.clone();
    while let Some(puller) = open_when_allowed(bus, &options, &mut gate, &shutdown).await? {
        take_while_open(puller, &slots, &running, &mut gate, &shutdown, &work).await?;
    }
    running.close();
    Ok(drain(&running, &options, &shutdown).await)
}

/// A puller, once the gate is open; none after the stop.
async fn open_when_allowed(
    bus: &Bus,
    options: &Options,
    gate: &mut Gate,
    shutdown: &Shutdown,
) -> Result<Option<Puller>, RequestError> {
    if shutdown
        .stop
        .run_until_cancelled(gate.opened())
        .await
        .is_none()
    {
        return Ok(None);
    }
    let puller = Puller::open(bus, options.stream, &options.consumer).await?;
    Ok(Some(puller))
}

/// Takes deliveries until the gate is closed or the stop.
async fn take_while_open<W, F>(
    mut puller: Puller,
    slots: &Arc<Semaphore>,
    running: &TaskTracker,
    gate: &mut Gate,
    shutdown: &Shutdown,
    work: &W,
) -> Result<(), RequestError>
where
    W: Fn(Delivery) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let mut closed = gate.clone();
    loop {
        // Closed semaphores do not occur: nothing closes this one.
        let permit = tokio::select! {
            permit = Arc::clone(slots).acquire_owned() => permit.ok(),
            () = closed.closed() => None,
            () = shutdown.stop.cancelled() => None,
        };
        let Some(permit) = permit else { break };
        let free = slots.available_permits() + 1;
        let delivery = tokio::select! {
            delivery = async { puller.next(free.min(gate.opened().await)).await } => delivery?,
            () = closed.closed() => break,
            () = shutdown.stop.cancelled() => break,
        };
        count(&delivery);
        let pass = gate.pass();
        // On the heap at once: as part of the task it would be copied there several times.
        let worked = Box::pin(work(delivery));
        running.spawn(async move {
            worked.await;
            drop((permit, pass));
        });
    }
    puller.close().await;
    Ok(())
}

fn count(delivery: &Delivery) {
    let position = delivery.position();
    if position.delivery > 1 {
        let consumer = position.consumer.clone();
        metrics::counter!(names::REDELIVERIES, "consumer" => consumer).increment(1);
    }
}

async fn drain(running: &TaskTracker, options: &Options, shutdown: &Shutdown) -> bool {
    if tokio::time::timeout(options.drain, running.wait())
        .await
        .is_ok()
    {
        return true;
    }
    tracing::warn!(
        consumer = options.consumer,
        running = running.len(),
        "the drain has passed; handing work back"
    );
    shutdown.hand_back.cancel();
    if tokio::time::timeout(HAND_BACK_PATIENCE, running.wait())
        .await
        .is_err()
    {
        tracing::warn!(
            consumer = options.consumer,
            running = running.len(),
            "work did not settle; it comes back by itself"
        );
    }
    false
}
