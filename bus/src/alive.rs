//! Signs of life for deliveries that are being worked on: one task says them all.
//!
//! Most work is done long before its first sign is due, so a sign costs an entry in a map, and no task or timer of its own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::connection::Bus;

/// The signs that a process gives.
#[derive(Debug, Default)]
pub(crate) struct Signs {
    book: Mutex<Book>,
    /// A sign is due before the one that is waited for.
    earlier: Notify,
}

#[derive(Debug, Default)]
struct Book {
    signs: HashMap<u64, Sign>,
    made: u64,
    /// Until when the task sleeps; none while there is no task.
    asleep_until: Option<Instant>,
}

#[derive(Debug)]
struct Sign {
    subject: String,
    period: Duration,
    due: Instant,
}

/// Says that a delivery is being worked on, until it is dropped.
#[derive(Debug)]
pub(crate) struct KeptAlive {
    signs: Arc<Signs>,
    id: u64,
}

impl Drop for KeptAlive {
    fn drop(&mut self) {
        self.signs.lock().signs.remove(&self.id);
    }
}

impl Bus {
    /// Says on `subject` every `period` from now on that a delivery is being worked on.
    pub(crate) fn keep_alive(&self, subject: String, period: Duration) -> KeptAlive {
        let due = Instant::now() + period;
        let sign = Sign {
            subject,
            period,
            due,
        };
        let mut book = self.signs.lock();
        book.made += 1;
        let id = book.made;
        book.signs.insert(id, sign);
        match book.asleep_until {
            None => {
                book.asleep_until = Some(due);
                tokio::spawn(say_signs(self.clone(), due));
            }
            Some(until) if due < until => self.signs.earlier.notify_one(),
            Some(_) => {}
        }
        drop(book);
        KeptAlive {
            signs: Arc::clone(&self.signs),
            id,
        }
    }
}

/// Says signs when they are due, as long as there are any.
async fn say_signs(bus: Bus, mut next: Instant) {
    loop {
        tokio::select! {
            () = tokio::time::sleep_until(next) => {}
            () = bus.signs.earlier.notified() => {}
        }
        let (subjects, upcoming) = bus.signs.lock().take_due(Instant::now());
        for subject in subjects {
            if let Err(error) = bus.say(subject, "+WPI".to_owned()).await {
                tracing::debug!(%error, "progress was not sent");
            }
        }
        match upcoming {
            Some(upcoming) => next = upcoming,
            None => return,
        }
    }
}

impl Signs {
    fn lock(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    /// Where signs are due, and when the next one will be.
    fn take_due(&mut self, now: Instant) -> (Vec<String>, Option<Instant>) {
        let mut subjects = Vec::new();
        for sign in self.signs.values_mut().filter(|sign| sign.due <= now) {
            sign.due = now + sign.period;
            subjects.push(sign.subject.clone());
        }
        self.asleep_until = self.signs.values().map(|sign| sign.due).min();
        (subjects, self.asleep_until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn book(periods: &[u64], now: Instant) -> Book {
        let signs = periods.iter().map(|seconds| {
            let period = SECOND * u32::try_from(*seconds).unwrap();
            let sign = Sign {
                subject: format!("ack.{seconds}"),
                period,
                due: now + period,
            };
            (*seconds, sign)
        });
        Book {
            signs: signs.collect(),
            ..Book::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_sign_has_its_period() {
        let began = Instant::now();
        let mut book = book(&[2, 5], began);
        let mut said = Vec::new();
        let mut now = began;
        while now < began + SECOND * 10 {
            let (subjects, next) = book.take_due(now);
            said.extend(
                subjects
                    .into_iter()
                    .map(|subject| (subject, (now - began).as_secs())),
            );
            now = next.unwrap();
        }
        let expected = [(2, 2), (2, 4), (5, 5), (2, 6), (2, 8)];
        let expected = expected.map(|(sign, at)| (format!("ack.{sign}"), at));
        assert_eq!(said, expected);
    }

    #[tokio::test(start_paused = true)]
    async fn without_signs_there_is_nothing_to_wait_for() {
        let now = Instant::now();
        let mut book = book(&[2], now);
        assert_eq!(book.take_due(now), (vec![], Some(now + SECOND * 2)));
        book.signs.clear();
        assert_eq!(book.take_due(now + SECOND * 2), (vec![], None));
        assert_eq!(book.asleep_until, None);
    }
}
