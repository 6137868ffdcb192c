//! The server copies stored events to `swarm.event.<run>`.

use swarm_bus::topology::RUNS;
use swarm_bus::{Incoming, Kind, PublishError, Role};
use swarm_protocol::subjects::{self, Leaf};
use swarm_protocol::{RunId, headers};
use swarm_tests::server::Release;

use super::{Nats, entry, event, on_each_server, soon};

on_each_server!(
    events_are_copied_once_they_are_stored,
    a_refused_append_is_seen_by_whoever_subscribes_to_the_log,
);

/// Clients watch runs by the copies alone: only what was stored comes, with its place, and each copy names the event before
/// it, by which a watcher sees that it missed one and reads it from the stream.
async fn events_are_copied_once_they_are_stored(release: Release) {
    let nats = Nats::with_topology(release).await;
    let client = nats.server.bus(Role::Client).await;
    let mut copies = client.subscribe(subjects::EVENTS).await.unwrap();
    // A subscription counts once the server has answered something behind it.
    client.read_runs(">", 1).await.unwrap();
    let (a, b) = (RunId::random(), RunId::random());
    let bus = &nats.coordinator;
    bus.store(event(a, "a1")).await.unwrap();
    bus.store(event(b, "b1")).await.unwrap();
    bus.store(entry(a, "t", Leaf::End, "no event"))
        .await
        .unwrap();
    let refused = bus.store(event(a, "refused").expect_last(subjects::run_log(a), 0));
    assert!(matches!(refused.await, Err(PublishError::Refused(_))));
    bus.store(event(a, "a2")).await.unwrap();
    for (run, text, seq, last) in [
        (a, "a1", "1", "0"),
        (b, "b1", "2", "0"),
        (a, "a2", "4", "1"),
    ] {
        let copy = soon(copies.next()).await.unwrap();
        assert_eq!(copy.subject(), subjects::event(run));
        assert_eq!(copy.payload(), text);
        let log = subjects::run_log(run);
        let expected = [
            (headers::STREAM, RUNS),
            (headers::SUBJECT, log.as_str()),
            (headers::SEQUENCE, seq),
            (headers::LAST_SEQUENCE, last),
            (headers::SUMMARY, "{}"),
        ];
        for (name, value) in expected {
            assert_eq!(copy.header(name), Some(value), "{name} of {text}");
        }
        assert_eq!(copy.kind(), Kind::Event);
    }
}

/// Why nobody may subscribe to the subjects of a stream: messages reach subscribers before the stream has judged them.
async fn a_refused_append_is_seen_by_whoever_subscribes_to_the_log(release: Release) {
    use futures_util::StreamExt as _;
    let nats = Nats::with_topology(release).await;
    let mut seen = nats.witness.subscribe("swarm.run.>").await.unwrap();
    nats.messages(RUNS).await;
    let run = RunId::random();
    let refused = event(run, "refused").expect_last(subjects::run_log(run), 9);
    let refused = nats.coordinator.store(refused).await;
    assert!(matches!(refused, Err(PublishError::Refused(_))));
    let message = Incoming::from(soon(seen.next()).await.unwrap());
    assert_eq!(message.payload(), "refused");
    assert_eq!(nats.messages(RUNS).await, 0);
}
