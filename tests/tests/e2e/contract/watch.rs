//! Watching: the last message of each subject, then what follows.

use swarm_bus::topology::RUNS;
use swarm_bus::watch::Content;
use swarm_protocol::subjects::{self, Leaf};
use swarm_protocol::{RunId, headers};
use swarm_tests::server::Release;

use super::{Nats, entry, event, on_each_server, soon};

on_each_server!(
    a_watch_of_headers_brings_the_last_of_each_log_and_then_what_follows,
    a_watch_of_nothing_says_so,
    a_watch_ends_when_the_server_was_killed,
);

/// The coordinator's index of runs: it knows by the pending count when it has seen what was there, and reads no payload.
async fn a_watch_of_headers_brings_the_last_of_each_log_and_then_what_follows(release: Release) {
    let nats = Nats::with_topology(release).await;
    let bus = &nats.coordinator;
    let (a, b) = (RunId::random(), RunId::random());
    for message in [
        event(a, "1"),
        event(b, "2"),
        entry(a, "t", Leaf::End, "3"),
        event(a, "4"),
    ] {
        bus.store(message).await.unwrap();
    }
    let mut watch = bus
        .watch(RUNS, subjects::RUN_LOGS, Content::Headers)
        .await
        .unwrap();
    assert_eq!(watch.initial, 2);
    for (run, seq, pending) in [(b, 2, 1), (a, 4, 0)] {
        let watched = soon(watch.next()).await.unwrap();
        assert_eq!((watched.seq, watched.pending), (seq, pending));
        assert_eq!(watched.message.subject(), subjects::run_log(run));
        assert_eq!(watched.message.header(headers::SUMMARY), Some("{}"));
        assert!(watched.message.payload().is_empty());
    }
    for seq in [5, 6] {
        bus.store(event(b, "text")).await.unwrap();
        let watched = soon(watch.next()).await.unwrap();
        assert_eq!((watched.seq, watched.pending), (seq, 0));
    }
}

/// A new swarm: the index is whole at once.
async fn a_watch_of_nothing_says_so(release: Release) {
    let nats = Nats::with_topology(release).await;
    let bus = &nats.coordinator;
    let mut watch = bus
        .watch(RUNS, subjects::RUN_LOGS, Content::Headers)
        .await
        .unwrap();
    assert_eq!(watch.initial, 0);
    bus.store(event(RunId::random(), "text")).await.unwrap();
    assert_eq!(soon(watch.next()).await.unwrap().seq, 1);
}

/// The server forgets the consumer of a watch. The bus ends the watch at the next connection, rather than stay silent for
/// longer than cards live; the coordinator sets up a new one, and reads there what it missed.
async fn a_watch_ends_when_the_server_was_killed(release: Release) {
    let mut nats = Nats::with_topology(release).await;
    let bus = &nats.coordinator;
    let run = RunId::random();
    bus.store(event(run, "1")).await.unwrap();
    let watch = bus.watch(RUNS, subjects::RUN_LOGS, Content::Headers);
    let mut watch = watch.await.unwrap();
    assert_eq!(soon(watch.next()).await.unwrap().seq, 1);
    nats.server.kill_and_restart().await;
    let end = soon(watch.next()).await;
    assert!(end.is_err(), "{end:?}");
    let bus = &nats.coordinator;
    bus.store(event(run, "2")).await.unwrap();
    let watch = bus.watch(RUNS, subjects::RUN_LOGS, Content::Headers);
    let mut watch = watch.await.unwrap();
    let watched = soon(watch.next()).await.unwrap();
    assert_eq!((watch.initial, watched.seq, watched.pending), (1, 2, 0));
}
