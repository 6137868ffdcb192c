//! Waiting for a slot of a host, and holding it. Dropping either gives it back.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::pool::{Moment, Pick, Pool, Ticket};

/// The pool with its clock, and who is told when it changes.
#[derive(Debug)]
pub struct Slots {
    pool: Mutex<Pool>,
    changed: Notify,
    began: Instant,
}

impl Slots {
    /// So many hosts with so many slots each.
    #[must_use]
    pub fn new(hosts: usize, slots: u32) -> Self {
        Self {
            pool: Mutex::new(Pool::new(hosts, slots)),
            changed: Notify::new(),
            began: Instant::now(),
        }
    }

    /// Looks at the pool.
    pub fn read<T>(&self, look: impl FnOnce(&Pool, Moment) -> T) -> T {
        let pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        look(&pool, self.began.elapsed())
    }

    /// Changes the pool, and wakes all who wait for that.
    pub fn change<T>(&self, change: impl FnOnce(&mut Pool, Moment) -> T) -> T {
        let outcome = self.quietly(change);
        self.changed.notify_waiters();
        outcome
    }

    /// The moment.
    pub fn now(&self) -> Moment {
        self.began.elapsed()
    }

    fn quietly<T>(&self, change: impl FnOnce(&mut Pool, Moment) -> T) -> T {
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut pool, self.began.elapsed())
    }
}

/// A place in the line.
#[derive(Debug)]
pub struct Place {
    slots: Arc<Slots>,
    model: String,
    ticket: Ticket,
}

/// What a turn in the line brings.
#[derive(Debug)]
pub enum Turn {
    /// A slot.
    Go(Lease),
    /// Something has changed, or may have by now: look again.
    Again,
    /// No host is usable.
    Nobody,
}

impl Place {
    /// Takes a place in the line for this model, by its canonical name.
    #[must_use]
    pub fn take(slots: &Arc<Slots>, model: &str, excluded: Vec<usize>, since: Moment) -> Self {
        Self {
            slots: Arc::clone(slots),
            model: model.to_owned(),
            ticket: slots.quietly(|pool, _| pool.join(model, excluded, since)),
        }
    }

    /// A slot if it is this one's turn; waits for a change otherwise.
    pub async fn turn(&self) -> Turn {
        let changed = self.slots.changed.notified();
        tokio::pin!(changed);
        // From here on, so that no change is missed between the look and the wait.
        changed.as_mut().enable();
        let pick = self.slots.quietly(|pool, now| pool.pick(self.ticket, now));
        match pick {
            Pick::Go { host, loaded } => Turn::Go(Lease {
                slots: Arc::clone(&self.slots),
                model: self.model.clone(),
                host,
                loaded,
            }),
            Pick::Nobody => Turn::Nobody,
            Pick::Wait(None) => {
                changed.await;
                Turn::Again
            }
            Pick::Wait(Some(moment)) => {
                tokio::select! {
                    () = changed => {}
                    () = sleep_until(self.slots.began + moment) => {}
                }
                Turn::Again
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Who is behind may now choose.
        self.slots.change(|pool, _| pool.leave(self.ticket));
    }
}

/// A slot of a host.
pub struct Lease {
    slots: Arc<Slots>,
    model: String,
    host: usize,
    loaded: bool,
}

impl Lease {
    /// The host.
    #[must_use]
    pub fn host(&self) -> usize {
        self.host
    }

    /// Whether the host had the model loaded when the slot was given.
    #[must_use]
    pub fn loaded(&self) -> bool {
        self.loaded
    }

    /// The host has answered.
    pub fn answered(&self) {
        self.slots
            .change(|pool, _| pool.hosts.answered(self.host, &self.model));
    }

    /// The host cannot be reached, or went away.
    pub fn lost(&self, trouble: String) {
        let jitter = fastrand::f64();
        self.slots
            .change(|pool, now| pool.hosts.failed(self.host, trouble, jitter, now));
    }

    /// The host passed the prompt on to a cloud.
    pub fn quarantine(&self) {
        self.slots
            .change(|pool, now| pool.hosts.quarantine(self.host, now));
    }

    /// The model runs in a cloud behind this host.
    pub fn is_remote(&self) {
        self.slots
            .change(|pool, _| pool.hosts.is_remote(self.host, &self.model));
    }

    /// The model is not on the host.
    pub fn is_gone(&self) {
        self.slots
            .change(|pool, _| pool.hosts.is_gone(self.host, &self.model));
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("Lease");
        shown.field("host", &self.host).finish_non_exhaustive()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.slots.change(|pool, _| pool.hosts.release(self.host));
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::super::pool::{SWITCH_AFTER, Standing, Told};
    use super::*;

    fn slots(hosts: usize) -> Arc<Slots> {
        let slots = Slots::new(hosts, 1);
        for host in 0..hosts {
            let models = [("a".to_owned(), Standing::Local(String::new()))].into();
            let told = Told {
                models,
                ..Told::default()
            };
            slots.change(|pool, now| pool.hosts.learn(host, told, now));
        }
        Arc::new(slots)
    }

    fn place(slots: &Arc<Slots>) -> Place {
        Place::take(slots, "a", vec![], slots.now())
    }

    async fn lease(place: &Place) -> Lease {
        loop {
            match place.turn().await {
                Turn::Go(lease) => return lease,
                Turn::Again => {}
                Turn::Nobody => panic!("nobody"),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_for_longer_is_served_first() {
        let slots = slots(1);
        let held = lease(&place(&slots)).await;
        let (first, second) = (place(&slots), place(&slots));
        let (one, two) = (lease(&first), lease(&second));
        tokio::pin!(one, two);
        assert!(two.as_mut().now_or_never().is_none());
        assert!(one.as_mut().now_or_never().is_none());
        drop(held);
        assert!(two.as_mut().now_or_never().is_none(), "not its turn");
        let held = one.await;
        assert!(two.as_mut().now_or_never().is_none());
        drop(held);
        assert_eq!(two.await.host(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_leaves_the_line() {
        let slots = slots(1);
        let held = lease(&place(&slots)).await;
        let first = place(&slots);
        assert!(first.turn().now_or_never().is_none());
        let second = place(&slots);
        drop((first, held));
        assert_eq!(lease(&second).await.host(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_at_its_moment_without_any_change() {
        let slots = slots(1);
        let _held = lease(&place(&slots)).await;
        let waiting = place(&slots);
        let began = Instant::now();
        assert!(matches!(waiting.turn().await, Turn::Again));
        assert!(began.elapsed() >= SWITCH_AFTER);
    }
}
