//! What the server forgets by itself.

use std::time::Duration;

use serde_json::json;
use swarm_bus::cards::{Change, read_change};
use swarm_bus::topology::{AGENTS_STREAM, RUNS, Settings};
use swarm_bus::watch::Watch;
use swarm_bus::{Bus, Role};
use swarm_protocol::card::{Card, State};
use swarm_protocol::subjects::{self, Leaf};
use swarm_protocol::{InstanceId, RunId, Timestamp};
use swarm_tests::server::Release;

use super::{Nats, agent, entry, event, on_each_server, soon};

on_each_server!(
    runs_are_forgotten_after_their_age,
    watchers_hear_that_a_card_went_by_its_age,
    a_card_that_is_written_again_stays,
    watchers_hear_that_a_card_was_removed,
);

/// `runs.retention` is the stream's `max_age`: nobody sweeps.
async fn runs_are_forgotten_after_their_age(release: Release) {
    let settings = Settings {
        retention: Duration::from_secs(1),
        ..Settings::default()
    };
    let nats = Nats::with_settings(release, &settings).await;
    let run = RunId::random();
    nats.coordinator.store(event(run, "text")).await.unwrap();
    let end = entry(run, "t", Leaf::End, "text");
    nats.coordinator.store(end).await.unwrap();
    nats.comes_to_hold(RUNS, 0).await;
    let log = subjects::run_log(run);
    assert!(
        nats.coordinator
            .read_runs(&log, 1)
            .await
            .unwrap()
            .is_empty()
    );
    // A log that was forgotten is empty to the next append: a run never ends at a gap.
    let next = event(run, "text").expect_last(&log, 0);
    assert_eq!(nats.coordinator.store(next).await.unwrap().seq, 3);
}

const AGE: Duration = Duration::from_secs(1);

/// The bucket of cards with a short age, and what its watcher is told.
async fn with_bucket(release: Release) -> (Nats, Bus, Watch) {
    let nats = Nats::start(release).await;
    let age = u64::try_from(AGE.as_nanos()).unwrap();
    let changes = json!({
        "max_age": age, "duplicate_window": age, "subject_delete_marker_ttl": age, "persist_mode": "async",
    });
    nats.make(AGENTS_STREAM, changes).await;
    let watch = nats.coordinator.watch_cards().await.unwrap();
    let worker = nats.server.bus(Role::Agent).await;
    (nats, worker, watch)
}

async fn change(watch: &mut Watch) -> Change {
    let watched = soon(watch.next()).await.unwrap();
    read_change(&watched).expect("it is of a card")
}

fn card() -> Card {
    Card {
        agent: agent(),
        instance: InstanceId::random(),
        description: "d".to_owned(),
        model: "m".to_owned(),
        capabilities: vec![],
        tools: vec![],
        state: State::Ready,
        reason: None,
        unreachable: None,
        slots: 1,
        busy: 0,
        tasks: vec![],
        host: "h".to_owned(),
        pid: 1,
        version: "0".to_owned(),
        simulated: true,
        started_at: Timestamp::from_millis(1),
        at: Timestamp::from_millis(1),
    }
}

/// An instance that died says nothing any more: the server drops its card (`max_age`) and tells by a marker
/// (`subject_delete_marker_ttl`), which goes too.
async fn watchers_hear_that_a_card_went_by_its_age(release: Release) {
    let (nats, worker, mut watch) = with_bucket(release).await;
    let card = card();
    worker.put_card(&card).await.unwrap();
    assert_eq!(
        change(&mut watch).await,
        Change::Put(Box::new(card.clone()))
    );
    assert_eq!(change(&mut watch).await, Change::Gone(card.key()));
    nats.comes_to_hold(AGENTS_STREAM, 0).await;
}

/// Each heartbeat replaces the card, and its age begins anew.
async fn a_card_that_is_written_again_stays(release: Release) {
    let (nats, worker, mut watch) = with_bucket(release).await;
    let card = card();
    let mut heartbeat = tokio::time::interval(AGE / 5);
    for _ in 0..10 {
        heartbeat.tick().await;
        worker.put_card(&card).await.unwrap();
        assert_eq!(
            change(&mut watch).await,
            Change::Put(Box::new(card.clone()))
        );
    }
    assert_eq!(nats.messages(AGENTS_STREAM).await, 1);
}

/// An instance that ends takes its card away; a coordinator that starts later reads of no such instance.
async fn watchers_hear_that_a_card_was_removed(release: Release) {
    let (nats, worker, mut watch) = with_bucket(release).await;
    let card = card();
    worker.put_card(&card).await.unwrap();
    assert_eq!(
        change(&mut watch).await,
        Change::Put(Box::new(card.clone()))
    );
    worker
        .remove_card(&card.agent, &card.instance)
        .await
        .unwrap();
    assert_eq!(change(&mut watch).await, Change::Gone(card.key()));
    let mut later = nats.coordinator.watch_cards().await.unwrap();
    assert_eq!(later.initial, 1);
    assert_eq!(change(&mut later).await, Change::Gone(card.key()));
}
