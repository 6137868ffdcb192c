//! Compare-and-set: of all that append, one is right.

use async_nats::HeaderMap;
use swarm_bus::topology::RUNS;
use swarm_bus::{PublishError, Role};
use swarm_protocol::subjects::{self, Leaf};
use swarm_protocol::{RunId, headers};
use swarm_tests::server::Release;

use super::{Nats, entry, error_code, event, on_each_server, task_id};

on_each_server!(
    an_event_is_stored_only_on_the_sequence_it_builds_on,
    the_three_leaves_of_a_journal_are_under_one_fence,
    of_two_coordinators_that_append_at_once_one_wins,
    of_two_workers_that_append_to_different_leaves_one_wins,
    a_refusal_has_the_code_that_the_bus_knows,
);

/// A run's log is one history although any coordinator may append: each event names the one before it, whatever other runs
/// do meanwhile.
async fn an_event_is_stored_only_on_the_sequence_it_builds_on(release: Release) {
    let nats = Nats::with_topology(release).await;
    let (run, other) = (RunId::random(), RunId::random());
    let log = subjects::run_log(run);
    let append = |expected| {
        let message = event(run, "text").expect_last(&log, expected);
        nats.coordinator.store(message)
    };
    assert_eq!(append(0).await.unwrap().seq, 1);
    nats.coordinator.store(event(other, "text")).await.unwrap();
    assert_eq!(append(1).await.unwrap().seq, 3);
    for stale in [0, 1, 2, 4] {
        let refused = append(stale).await;
        assert!(
            matches!(&refused, Err(PublishError::Refused(subject)) if *subject == log),
            "{stale}: {refused:?}"
        );
    }
    assert_eq!(nats.messages(RUNS).await, 3);
}

/// Exactly one entry ends an attempt: worker and coordinator write to different leaves, and the sequence they expect is
/// that of the last entry on any of them (`swarm.run.<run>.task.<task>.*`).
async fn the_three_leaves_of_a_journal_are_under_one_fence(release: Release) {
    let nats = Nats::with_topology(release).await;
    let agent = nats.server.bus(Role::Agent).await;
    let run = RunId::random();
    let fence = subjects::journal_fence(run, &task_id("t"));
    let append = |leaf, expected| {
        let message = entry(run, "t", leaf, "text").expect_last(&fence, expected);
        agent.store(message)
    };
    assert_eq!(append(Leaf::Log, 0).await.unwrap().seq, 1);
    assert_eq!(append(Leaf::Msg, 1).await.unwrap().seq, 2);
    let own_leaf = append(Leaf::Log, 1).await;
    assert!(
        matches!(own_leaf, Err(PublishError::Refused(_))),
        "the last entry of its own leaf is not enough: {own_leaf:?}"
    );
    let unused_leaf = append(Leaf::End, 0).await;
    assert!(
        matches!(unused_leaf, Err(PublishError::Refused(_))),
        "{unused_leaf:?}"
    );
    agent
        .store(entry(run, "u", Leaf::End, "text"))
        .await
        .unwrap();
    assert_eq!(
        append(Leaf::End, 2).await.unwrap().seq,
        4,
        "another task's entry is not in the way"
    );
}

/// Coordinators are equals: the compare-and-set alone decides between them.
async fn of_two_coordinators_that_append_at_once_one_wins(release: Release) {
    let nats = Nats::with_topology(release).await;
    let other = nats.server.bus(Role::Coordinator).await;
    for round in 1..=50 {
        let run = RunId::random();
        let message = |text| event(run, text).expect_last(subjects::run_log(run), 0);
        let outcomes = tokio::join!(
            nats.coordinator.store(message("one")),
            other.store(message("two"))
        );
        one_won(outcomes.into());
        assert_eq!(nats.messages(RUNS).await, round);
    }
}

/// The worker that ends an attempt and the coordinator that cancels it race over two leaves.
async fn of_two_workers_that_append_to_different_leaves_one_wins(release: Release) {
    let nats = Nats::with_topology(release).await;
    let agent = nats.server.bus(Role::Agent).await;
    for round in 1..=50 {
        let run = RunId::random();
        let fence = subjects::journal_fence(run, &task_id("t"));
        let message = |leaf| entry(run, "t", leaf, "text").expect_last(&fence, 0);
        let outcomes = tokio::join!(
            nats.coordinator.store(message(Leaf::End)),
            agent.store(message(Leaf::Log))
        );
        one_won(outcomes.into());
        assert_eq!(nats.messages(RUNS).await, round);
    }
}

fn one_won(outcomes: [Result<swarm_bus::publish::Stored, PublishError>; 2]) {
    assert!(
        matches!(
            outcomes,
            [Ok(_), Err(PublishError::Refused(_))] | [Err(PublishError::Refused(_)), Ok(_)]
        ),
        "{outcomes:?}"
    );
}

/// The bus tells a refused append from a stream that cannot store by the number alone (10164 takes a replicated stream).
async fn a_refusal_has_the_code_that_the_bus_knows(release: Release) {
    let nats = Nats::with_topology(release).await;
    let log = subjects::run_log(RunId::random());
    let mut expecting = HeaderMap::new();
    expecting.insert(headers::EXPECTED_LAST, "7");
    let sent = nats.witness.request_with_headers(log, expecting, "".into());
    let answer = serde_json::from_slice(&sent.await.unwrap().payload).unwrap();
    assert_eq!(error_code(&answer), 10071);
    assert_eq!(answer["error"]["code"], 400);
}
