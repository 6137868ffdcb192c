//! Replacing and purging.

use swarm_bus::topology::RUNS;
use swarm_bus::{Outgoing, PublishError};
use swarm_protocol::subjects::{self, Leaf};
use swarm_protocol::{RunId, headers};
use swarm_tests::server::Release;

use super::{Nats, entry, event, on_each_server};

on_each_server!(
    a_rollup_leaves_itself_alone_on_its_subject,
    a_rollup_is_refused_by_a_stale_sequence,
    a_purge_takes_what_its_filter_names,
);

/// A run with three events and two entries, and another one.
async fn two_runs(nats: &Nats) -> (RunId, RunId) {
    let (run, other) = (RunId::random(), RunId::random());
    let messages = [
        event(run, "1"),
        event(other, "2"),
        event(run, "3"),
        entry(run, "t", Leaf::Log, "4"),
        entry(run, "u", Leaf::End, "5"),
        entry(other, "t", Leaf::Log, "6"),
        event(run, "7"),
    ];
    for message in messages {
        nats.coordinator.store(message).await.unwrap();
    }
    (run, other)
}

async fn all(nats: &Nats) -> Vec<String> {
    let stored = nats.coordinator.read_runs(">", 1).await.unwrap();
    let text = |payload: &[u8]| String::from_utf8_lossy(payload).into_owned();
    stored
        .iter()
        .map(|message| text(&message.payload))
        .collect()
}

fn deleted(run: RunId, expected: u64) -> Outgoing {
    event(run, "deleted")
        .expect_last(subjects::run_log(run), expected)
        .header(headers::ROLLUP, "sub")
}

/// `swarm runs delete`: the log becomes the one event that says so (`Nats-Rollup: sub`), under the compare-and-set of any
/// other event, and an append that builds on the old log is refused.
async fn a_rollup_leaves_itself_alone_on_its_subject(release: Release) {
    let nats = Nats::with_topology(release).await;
    let (run, _) = two_runs(&nats).await;
    let stored = nats.coordinator.store(deleted(run, 7)).await.unwrap();
    assert_eq!(stored.seq, 8);
    assert_eq!(all(&nats).await, ["2", "4", "5", "6", "deleted"]);
    let log = subjects::run_log(run);
    let late = nats
        .coordinator
        .store(event(run, "late").expect_last(&log, 7));
    assert!(matches!(late.await, Err(PublishError::Refused(_))));
    let next = nats
        .coordinator
        .store(event(run, "next").expect_last(&log, 8));
    assert_eq!(next.await.unwrap().seq, 9);
}

/// A coordinator whose picture is old deletes nothing.
async fn a_rollup_is_refused_by_a_stale_sequence(release: Release) {
    let nats = Nats::with_topology(release).await;
    let (run, _) = two_runs(&nats).await;
    let refused = nats.coordinator.store(deleted(run, 3)).await;
    assert!(matches!(refused, Err(PublishError::Refused(_))));
    assert_eq!(all(&nats).await, ["1", "2", "3", "4", "5", "6", "7"]);
}

/// A deleted run's journals go by a filter; its log and other runs stay, and sequences are not used again.
async fn a_purge_takes_what_its_filter_names(release: Release) {
    let nats = Nats::with_topology(release).await;
    let (run, other) = two_runs(&nats).await;
    let journals = subjects::journals_of(run);
    nats.coordinator.purge_runs(&journals).await.unwrap();
    assert_eq!(all(&nats).await, ["1", "2", "3", "6", "7"]);
    assert_eq!(nats.messages(RUNS).await, 5);
    let next = nats.coordinator.store(event(other, "8")).await.unwrap();
    assert_eq!(next.seq, 8);
}
