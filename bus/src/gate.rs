//! A gate before a work loop: how many deliveries may be at work now.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::watch;

/// Says how many deliveries may be at work; its loop follows.
#[derive(Debug, Clone)]
pub struct Keeper {
    room: watch::Sender<usize>,
    inside: Arc<AtomicUsize>,
}

/// What a work loop looks at before it takes a delivery.
#[derive(Debug, Clone)]
pub struct Gate {
    keeper: Keeper,
    room: watch::Receiver<usize>,
}

/// A delivery that has passed the gate, until it is settled.
#[derive(Debug)]
pub(crate) struct Pass(Arc<AtomicUsize>);

/// A gate that is open without bounds, and its keeper.
#[must_use]
pub fn gate() -> (Keeper, Gate) {
    let (sender, room) = watch::channel(usize::MAX);
    let keeper = Keeper {
        room: sender,
        inside: Arc::default(),
    };
    let gate = Gate {
        keeper: keeper.clone(),
        room,
    };
    (keeper, gate)
}

impl Keeper {
    /// So many deliveries may be at work, those that are counted; with as many or more the gate is closed.
    pub fn set(&self, most: usize) {
        let room = most.saturating_sub(self.inside.load(Ordering::Relaxed));
        self.room
            .send_if_modified(|known| std::mem::replace(known, room) != room);
    }
}

impl Gate {
    /// Waits until the gate is open. How many may be taken.
    pub(crate) async fn opened(&mut self) -> usize {
        // A gate holds its own keeper: the channel is never closed.
        match self.room.wait_for(|room| *room > 0).await {
            Ok(room) => *room,
            Err(_closed) => std::future::pending().await,
        }
    }

    /// Waits until the gate is closed.
    pub(crate) async fn closed(&mut self) {
        if self.room.wait_for(|room| *room == 0).await.is_err() {
            std::future::pending().await
        }
    }

    /// Lets one delivery through; there is room for one less until the keeper says otherwise.
    pub(crate) fn pass(&self) -> Pass {
        self.keeper.inside.fetch_add(1, Ordering::Relaxed);
        self.keeper
            .room
            .send_modify(|room| *room = room.saturating_sub(usize::from(*room != usize::MAX)));
        Pass(Arc::clone(&self.keeper.inside))
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn room_counts_what_is_inside() {
        let (keeper, mut gate) = gate();
        assert_eq!(gate.opened().await, usize::MAX);
        keeper.set(2);
        let first = gate.pass();
        assert_eq!(gate.opened().await, 1);
        let _second = gate.pass();
        gate.closed().await;
        keeper.set(2);
        gate.closed().await;
        drop(first);
        keeper.set(2);
        assert_eq!(gate.opened().await, 1);
    }
}
