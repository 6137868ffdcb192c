//! Waiting for a slot of a host, and holding it. Dropping either gives it back.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::pool::{Moment, Pick, Pool, Ticket};

/// The pool with its clock, and who sleeps until it changes.
#[derive(Debug)]
pub struct Slots {
    inner: Mutex<Inner>,
    began: Instant,
}

#[derive(Debug)]
struct Inner {
    pool: Pool,
    asleep: HashMap<Ticket, Arc<Notify>>,
}

impl Inner {
    fn wake(&mut self, ticket: Ticket) {
        if let Some(bell) = self.asleep.remove(&ticket) {
            bell.notify_one();
        }
    }

    /// Whatever they wait for may be different now.
    fn wake_all(&mut self) {
        self.asleep.drain().for_each(|(_, bell)| bell.notify_one());
    }

    /// Wakes those whose turn it is. The others would look in vain, all of them, for every call that ends.
    fn wake_next(&mut self, now: Moment) {
        if !self.asleep.is_empty() {
            let called = self.pool.called(now).into_iter();
            called.for_each(|ticket| self.wake(ticket));
        }
    }
}

impl Slots {
    /// So many hosts with so many slots each.
    #[must_use]
    pub fn new(hosts: usize, slots: u32) -> Self {
        Self {
            inner: Mutex::new(Inner {
                pool: Pool::new(hosts, slots),
                asleep: HashMap::new(),
            }),
            began: Instant::now(),
        }
    }

    /// Looks at the pool.
    pub fn read<T>(&self, look: impl FnOnce(&Pool, Moment) -> T) -> T {
        look(&self.lock().pool, self.now())
    }

    /// Changes what is known of the hosts, and wakes all who wait for one.
    pub fn change<T>(&self, change: impl FnOnce(&mut Pool, Moment) -> T) -> T {
        let mut inner = self.lock();
        let outcome = change(&mut inner.pool, self.now());
        inner.wake_all();
        outcome
    }

    /// The moment.
    pub fn now(&self) -> Moment {
        self.began.elapsed()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in the line.
#[derive(Debug)]
pub struct Place {
    slots: Arc<Slots>,
    model: String,
    ticket: Ticket,
    /// Rung when it is to look again.
    bell: Arc<Notify>,
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
            ticket: slots.lock().pool.join(model, excluded, since),
            bell: Arc::default(),
        }
    }

    /// A slot if it is this one's turn; waits for a change otherwise.
    pub async fn turn(&self) -> Turn {
        let until = match self.ask() {
            Pick::Go { host, loaded } => {
                return Turn::Go(Lease {
                    slots: Arc::clone(&self.slots),
                    model: self.model.clone(),
                    host,
                    loaded,
                });
            }
            Pick::Nobody => return Turn::Nobody,
            Pick::Wait(until) => until,
        };
        let rung = self.bell.notified();
        match until {
            None => rung.await,
            Some(moment) => tokio::select! {
                () = rung => {}
                () = sleep_until(self.slots.began + moment) => {}
            },
        }
        Turn::Again
    }

    /// What it is told now; who is to wait is asleep from here on, so that no change is missed.
    fn ask(&self) -> Pick {
        let mut inner = self.slots.lock();
        let pick = inner.pool.pick(self.ticket, self.slots.now());
        if let Pick::Wait(_) = pick {
            inner.asleep.insert(self.ticket, Arc::clone(&self.bell));
        }
        pick
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut inner = self.slots.lock();
        inner.asleep.remove(&self.ticket);
        inner.pool.leave(self.ticket);
        // Who is behind may now choose; also when this one leaves with a slot, for nobody wants its model any more.
        inner.wake_next(self.slots.now());
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
        let mut inner = self.slots.lock();
        if inner.pool.hosts.answered(self.host, &self.model) {
            inner.wake_all();
        }
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
        let mut inner = self.slots.lock();
        inner.pool.hosts.release(self.host);
        inner.wake_next(self.slots.now());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

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
    async fn only_those_look_again_whose_turn_it_is() {
        const WAITING: usize = 20;
        let slots = slots(1);
        let held = lease(&place(&slots)).await;
        let asked = Arc::new(AtomicUsize::new(0));
        let waiting: Vec<_> = std::iter::repeat_with(|| {
            let (place, asked) = (place(&slots), Arc::clone(&asked));
            tokio::spawn(async move {
                loop {
                    asked.fetch_add(1, Ordering::Relaxed);
                    if let Turn::Go(lease) = place.turn().await {
                        return lease.answered();
                    }
                }
            })
        })
        .take(WAITING)
        .collect();
        // All of them ask, and sleep.
        tokio::task::yield_now().await;
        assert_eq!(asked.load(Ordering::Relaxed), WAITING);
        held.answered();
        tokio::task::yield_now().await;
        // That the model is loaded now is news to all. From here on each asks once more, when it has the slot.
        assert_eq!(asked.load(Ordering::Relaxed), 2 * WAITING);
        drop(held);
        for waiting in waiting {
            waiting.await.unwrap();
        }
        assert_eq!(asked.load(Ordering::Relaxed), 3 * WAITING);
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
