//! What tasks wait for: a time, or a value.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::{Happening, Millis, Sim};

impl Sim {
    /// Waits.
    pub fn sleep(&self, span: Millis) -> Sleep {
        Sleep {
            sim: self.clone(),
            until: self.now() + span,
            armed: false,
        }
    }
}

/// Waits for a time.
pub struct Sleep {
    sim: Sim,
    until: Millis,
    armed: bool,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        // A process that is stopped right now goes on when it is continued, with a step in between.
        if self.armed && self.sim.now() >= self.until {
            return Poll::Ready(());
        }
        if !self.armed {
            self.armed = true;
            let after = self.until.saturating_sub(self.sim.now());
            let waker = context.waker().clone();
            self.sim.schedule(after, Happening::Wake(waker));
        }
        Poll::Pending
    }
}

/// A place for one value that somebody waits for.
pub struct Slot<T>(Rc<RefCell<(Option<T>, Option<Waker>)>>);

impl<T> Clone for Slot<T> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<T> Slot<T> {
    /// An empty one.
    pub fn new() -> Self {
        Self(Rc::new(RefCell::new((None, None))))
    }

    /// Puts the value there.
    pub fn fill(&self, value: T) {
        let mut slot = self.0.borrow_mut();
        slot.0 = Some(value);
        if let Some(waker) = slot.1.take() {
            waker.wake();
        }
    }

    /// The value, once it is there.
    pub async fn take(&self) -> T {
        std::future::poll_fn(|context| {
            let mut slot = self.0.borrow_mut();
            match slot.0.take() {
                Some(value) => Poll::Ready(value),
                None => {
                    slot.1 = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }
}
