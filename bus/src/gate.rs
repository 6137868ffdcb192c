//! A gate before a work loop: how many deliveries may be at work now.

use tokio::sync::watch;

#[derive(Debug, Clone, Copy)]
struct Room {
    most: usize,
    inside: usize,
}

impl Room {
    const fn free(&self) -> usize {
        self.most.saturating_sub(self.inside)
    }

    /// Changes it. Whether that opened or closed the gate: nothing else is worth waking a loop for.
    fn opened_or_closed(&mut self, change: impl FnOnce(&mut Self)) -> bool {
        let was_open = self.free() > 0;
        change(self);
        (self.free() > 0) != was_open
    }
}

/// Says how many deliveries may be at work; its loop follows.
#[derive(Debug, Clone)]
pub struct Keeper(watch::Sender<Room>);

/// What a work loop looks at before it takes a delivery.
#[derive(Debug, Clone)]
pub struct Gate {
    keeper: Keeper,
    room: watch::Receiver<Room>,
}

/// A delivery that has passed the gate, until it is settled.
#[derive(Debug)]
pub(crate) struct Pass(Keeper);

/// A gate that is open without bounds, and its keeper.
#[must_use]
pub fn gate() -> (Keeper, Gate) {
    let (sender, room) = watch::channel(Room {
        most: usize::MAX,
        inside: 0,
    });
    let keeper = Keeper(sender);
    let gate = Gate {
        keeper: keeper.clone(),
        room,
    };
    (keeper, gate)
}

impl Keeper {
    /// So many deliveries may be at work, those that are counted; with as many or more the gate is closed.
    pub fn set(&self, most: usize) {
        self.0
            .send_if_modified(|room| room.opened_or_closed(|room| room.most = most));
    }
}

impl Gate {
    /// Waits until the gate is open. How many may be taken.
    pub(crate) async fn opened(&mut self) -> usize {
        // A gate holds its own keeper: the channel is never closed.
        match self.room.wait_for(|room| room.free() > 0).await {
            Ok(room) => room.free(),
            Err(_closed) => std::future::pending().await,
        }
    }

    /// Waits until the gate is closed.
    pub(crate) async fn closed(&mut self) {
        if self.room.wait_for(|room| room.free() == 0).await.is_err() {
            std::future::pending().await
        }
    }

    /// Lets one delivery through.
    pub(crate) fn pass(&self) -> Pass {
        self.keeper
            .0
            .send_if_modified(|room| room.opened_or_closed(|room| room.inside += 1));
        Pass(self.keeper.clone())
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.0.0.send_if_modified(|room| {
            room.opened_or_closed(|room| room.inside = room.inside.saturating_sub(1))
        });
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
        drop(first);
        assert_eq!(gate.opened().await, 1);
    }
}
