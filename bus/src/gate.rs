//! A gate before a work loop: how many deliveries may be taken now.

use tokio::sync::watch;

/// Says how many deliveries may be taken; its loop follows.
#[derive(Debug, Clone)]
pub struct Keeper(watch::Sender<usize>);

/// What a work loop looks at before it takes a delivery.
#[derive(Debug, Clone)]
pub struct Gate(watch::Receiver<usize>);

/// A gate that is open without bounds, and its keeper.
#[must_use]
pub fn gate() -> (Keeper, Gate) {
    let (sender, receiver) = watch::channel(usize::MAX);
    (Keeper(sender), Gate(receiver))
}

impl Keeper {
    /// So many deliveries may be taken now; none closes the gate.
    pub fn set(&self, room: usize) {
        self.0
            .send_if_modified(|known| std::mem::replace(known, room) != room);
    }
}

impl Gate {
    /// Waits until the gate is open. How many may be taken.
    pub(crate) async fn opened(&mut self) -> usize {
        // A keeper that is gone leaves its gate as it was; one that was closed stays so.
        match self.0.wait_for(|room| *room > 0).await {
            Ok(room) => *room,
            Err(_gone) => std::future::pending().await,
        }
    }

    /// Waits until the gate is closed.
    pub(crate) async fn closed(&mut self) {
        if self.0.wait_for(|room| *room == 0).await.is_err() {
            std::future::pending().await
        }
    }
}
