//! How many entries of journals a worker has on their way at once.
//!
//! A server takes all that waits for a stream, stores one message after the other, and sends what follows from them, words
//! and deliveries, when the last one is stored (nats-server `server/stream.go`, `internalLoop`). Where each message is
//! written to the disk first, as with `sync_interval: always`, 64 entries that come together are all answered some 16 ms
//! later, and so is whatever comes meanwhile: runs that began together stay together, and wait for each other at every
//! step. With fewer at a time they pass each other by. It is enough to hold back the ends: what follows from them comes as
//! they were let through.
//!
//! Many messages at once are less work than one by one, so a fast stream, where nobody waits, gets as many as there are. How
//! fast a stream is, the server's own times tell: those of two messages that follow each other are never closer than one
//! takes to be stored. When words come tells nothing, as they come together in either case. All streams of a server are
//! written alike, so whatever is pulled is looked at.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

/// So long a stream may be at work on what one worker sends at once. A simulation of 64 runs on one stream says: with half of
/// it, runs of a model of 200 ms are a hundredth faster, and under full load the server begins anew twice as often.
const SHARE: Duration = Duration::from_millis(4);

/// Between two messages, in seconds. A disk that is slower than the longest is not spared more.
const SHORTEST: f64 = 2e-6;
const LONGEST: f64 = 250e-6;

/// The share of intervals that are shorter than the estimate. Not the mean: most of the time there is no next message.
const QUANTILE: f64 = 0.25;

/// How far one interval moves the estimate: some 40 messages tell a fast stream from a slow one.
const STEP: f64 = 0.1;

/// Where a message stands in its stream, and when the server stored it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) seq: u64,
    pub(crate) nanos: i64,
}

/// Lets entries through.
#[derive(Debug)]
pub(crate) struct Pace {
    turns: Semaphore,
    road: Mutex<Road>,
}

#[derive(Debug)]
struct Road {
    interval: Interval,
    /// Turns that there are, those that are taken among them.
    made: usize,
    /// So many of the taken ones are not given back.
    surplus: usize,
}

/// An estimate of what a stream needs for a message, in seconds.
#[derive(Debug)]
struct Interval(f64);

/// An entry that is on its way, until it is dropped.
#[derive(Debug)]
pub(crate) struct UnderWay<'a> {
    pace: &'a Pace,
    turn: Option<SemaphorePermit<'a>>,
}

impl Default for Pace {
    /// Fast, until it turns out otherwise.
    fn default() -> Self {
        let interval = Interval(SHORTEST);
        let made = interval.most();
        Self {
            turns: Semaphore::new(made),
            road: Mutex::new(Road {
                interval,
                made,
                surplus: 0,
            }),
        }
    }
}

impl Pace {
    /// Waits for a turn, in the order of the calls.
    pub(crate) async fn turn(&self) -> UnderWay<'_> {
        UnderWay {
            pace: self,
            // Nobody closes it.
            turn: self.turns.acquire().await.ok(),
        }
    }

    /// Learns from two messages of a stream, the later one second.
    pub(crate) fn learn(&self, first: Mark, second: Mark) {
        let Some(interval) = per_message(first, second) else {
            return;
        };
        let mut road = self.lock();
        road.interval.learn(interval);
        let most = road.interval.most();
        let more = most.saturating_sub(road.made);
        let kept = more.min(road.surplus);
        self.turns.add_permits(more - kept);
        let fewer = road.made.saturating_sub(most);
        let still_taken = fewer - self.turns.forget_permits(fewer);
        road.surplus = road.surplus + still_taken - kept;
        road.made = most;
    }

    fn lock(&self) -> MutexGuard<'_, Road> {
        self.road.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let mut road = self.pace.lock();
        if road.surplus > 0
            && let Some(turn) = self.turn.take()
        {
            road.surplus -= 1;
            turn.forget();
        }
    }
}

/// The time for each message from the first to the second.
fn per_message(first: Mark, second: Mark) -> Option<Duration> {
    let messages = second.seq.checked_sub(first.seq)?;
    let nanos = u64::try_from(second.nanos.checked_sub(first.nanos)?).ok()?;
    nanos.checked_div(messages).map(Duration::from_nanos)
}

impl Interval {
    /// Moves the estimate by a fixed step, whatever the length: it comes to rest where that share of intervals is shorter.
    fn learn(&mut self, interval: Duration) {
        let step = if interval.as_secs_f64() > self.0 {
            1.0 + STEP * QUANTILE
        } else {
            1.0 - STEP * (1.0 - QUANTILE)
        };
        self.0 = (self.0 * step).clamp(SHORTEST, LONGEST);
    }

    /// How many may be on their way at once: between 16 and 2000, by the bounds of the estimate.
    fn most(&self) -> usize {
        (SHARE.as_secs_f64() / self.0).round() as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FEWEST: usize = 16;
    const MOST: usize = 2000;

    /// Messages were stored at these intervals, over and over, in microseconds.
    fn learn(pace: &Pace, intervals: &[i64], times: usize) {
        let mut last = Mark { seq: 7, nanos: 0 };
        for micros in intervals.iter().cycle().take(times) {
            let next = Mark {
                seq: last.seq + 1,
                nanos: last.nanos + micros * 1000,
            };
            pace.learn(last, next);
            last = next;
        }
    }

    fn most(intervals: &[i64], times: usize) -> usize {
        let pace = Pace::default();
        learn(&pace, intervals, times);
        pace.lock().made
    }

    #[test]
    fn a_stream_that_is_slow_gets_few_at_once_and_a_fast_one_many() {
        assert_eq!(most(&[200_000], 300), FEWEST);
        assert_eq!(most(&[260], 300), FEWEST);
        assert!((35..=45).contains(&most(&[100], 300)));
        assert!((180..=220).contains(&most(&[20], 300)));
        assert_eq!(most(&[1], 300), MOST);
    }

    #[test]
    fn a_fast_stream_may_have_nothing_to_do() {
        assert!(most(&[15, 15, 3000, 15, 9000], 500) > 100);
        assert!(most(&[15, 3000], 500) > 100);
        assert_eq!(most(&[260, 280, 3000], 500), FEWEST);
    }

    #[test]
    fn messages_between_two_deliveries_count() {
        let marks = |seq, nanos| {
            per_message(
                Mark {
                    seq: 5,
                    nanos: 1000,
                },
                Mark { seq, nanos },
            )
        };
        assert_eq!(marks(9, 5000), Some(Duration::from_micros(1)));
        assert_eq!(marks(5, 5000), None);
        assert_eq!(marks(4, 5000), None);
        assert_eq!(marks(9, 999), None);
    }

    #[tokio::test]
    async fn turns_are_as_many_as_the_stream_may_have() {
        let pace = Pace::default();
        let mut taken = Vec::new();
        for _ in 0..MOST {
            taken.push(pace.turn().await);
        }
        // It turns out to be slow while all turns are taken: most of them are not given back.
        learn(&pace, &[300], 300);
        assert_eq!(pace.turns.available_permits(), 0);
        taken.truncate(FEWEST);
        assert_eq!(pace.turns.available_permits(), 0);
        taken.pop();
        assert_eq!(pace.turns.available_permits(), 1);
        // And fast again.
        learn(&pace, &[1], 300);
        taken.clear();
        assert_eq!(pace.turns.available_permits(), MOST);
    }
}
