//! When work is taken for poison: each of its workers ends without a word. Pure.

use std::time::Duration;

use swarm_bus::fence::Claim;
use swarm_protocol::Timestamp;
use swarm_protocol::journal::Entry;

/// Deliveries without an entry of the journal between them.
const MOST_DELIVERIES: u64 = 10;

/// Whether more deliveries of the claimed work than may be have ended without a word since its attempt's last entry.
#[must_use]
pub fn is_poison(
    claim: &Claim,
    entries: &[Entry],
    stored_at: Timestamp,
    now: Timestamp,
    ack_wait: Duration,
) -> bool {
    let own =
        |entry: &&Entry| entry.attempt == claim.attempt && entry.work_seq == Some(claim.work_seq);
    let last = entries.last().filter(own);
    let recorded = last.and_then(|entry| entry.delivery).unwrap_or_default();
    let since = last.map_or(stored_at, |entry| entry.at);
    were_silent(
        claim.delivery.saturating_sub(recorded),
        now.since(since),
        ack_wait,
    )
}

/// Whether so many deliveries in this time have ended their workers.
///
/// The server brings work back that nobody has a word for after `ack_wait`, and work that was handed back (by a worker that
/// was stopped, or that does not read it) at once. So deliveries that came faster than the former were not all of that kind;
/// a fifth of the time is left to inexact clocks.
fn were_silent(deliveries: u64, time: Duration, ack_wait: Duration) -> bool {
    let silent = deliveries.saturating_sub(1);
    let needed = ack_wait.as_secs_f64() * 0.8 * (silent as f64);
    deliveries > MOST_DELIVERIES && time.as_secs_f64() >= needed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_deliveries_without_a_word_are_poison() {
        let ack_wait = Duration::from_secs(30);
        let is =
            |deliveries, seconds| were_silent(deliveries, Duration::from_secs(seconds), ack_wait);
        assert!(is(11, 300));
        assert!(is(11, 3000), "it also waited in the queue");
        assert!(!is(10, 300));
        assert!(!is(11, 55), "handed back every 5 s by an older agent");
        assert!(!is(60, 300));
        assert!(
            is(16, 360),
            "three times handed back, twelve times without a word"
        );
    }
}
