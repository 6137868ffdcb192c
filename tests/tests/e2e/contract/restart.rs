//! What a server knows after it was restarted, or killed.

use std::time::Duration;

use swarm_bus::pull::Puller;
use swarm_bus::topology::{RUNS, Settings, WORK};
use swarm_bus::{Bus, Delivery, Role};
use swarm_protocol::{RunId, subjects};
use swarm_tests::server::Release;

use super::{Nats, agent, event, on_each_server, soon, with_work};

on_each_server!(
    what_was_confirmed_is_there_after_a_kill,
    the_topology_is_the_same_after_a_kill,
    a_delivery_of_before_a_restart_can_be_acknowledged_after_it,
    deliveries_are_counted_on_after_a_restart,
    work_of_before_a_kill_comes_again_perhaps_under_an_earlier_number,
);

const ACK_WAIT: Duration = Duration::from_secs(1);

/// `sync_interval: always`: a confirmed message is on disk. All are there, each at the sequence that was confirmed.
async fn what_was_confirmed_is_there_after_a_kill(release: Release) {
    let mut nats = Nats::with_topology(release).await;
    let run = RunId::random();
    let texts: Vec<String> = (0..200).map(|n| format!("event {n}")).collect();
    let store = texts
        .iter()
        .map(|text| nats.coordinator.store(event(run, text)));
    let stored = futures_util::future::join_all(store).await;
    let mut confirmed: Vec<(u64, &str)> = Vec::new();
    for (outcome, text) in stored.into_iter().zip(&texts) {
        confirmed.push((outcome.unwrap().seq, text));
    }
    nats.server.kill_and_restart().await;
    confirmed.sort_unstable();
    let client = nats.server.bus(Role::Client).await;
    let found = client.read_runs(&subjects::run_log(run), 1).await.unwrap();
    assert_eq!(found.len(), 200);
    for ((seq, text), message) in confirmed.into_iter().zip(found) {
        assert_eq!(
            (message.seq, message.payload),
            (seq, text.to_owned().into())
        );
    }
}

/// A piece of work, and a worker that has it for the third time.
async fn with_work_taken(release: Release) -> (Nats, Bus, Delivery) {
    let (nats, worker) = with_work(release, ACK_WAIT).await;
    let mut puller = Puller::open(&worker, WORK, agent().as_str()).await.unwrap();
    for _ in 0..2 {
        let given_back = soon(puller.next(1)).await.unwrap();
        given_back.retry(Duration::ZERO).await;
    }
    let third = soon(puller.next(1)).await.unwrap();
    assert_eq!(third.position().delivery, 3);
    (nats, worker, third)
}

/// Waits until a connection of before the restart stands again.
async fn is_back(bus: &Bus) {
    swarm_tests::eventually("it is connected again", super::PATIENCE, || async {
        swarm_tests::holds(bus.read_runs(">", 1).await.is_ok())
    })
    .await;
}

/// An operator restarts the server first at an upgrade, and workers go on: they end their attempts after it.
async fn a_delivery_of_before_a_restart_can_be_acknowledged_after_it(release: Release) {
    let (mut nats, worker, delivery) = with_work_taken(release).await;
    nats.server.stop_and_restart().await;
    is_back(&worker).await;
    delivery.ack().await;
    nats.comes_to_hold(WORK, 0).await;
}

/// The fence orders the workers of one attempt by the numbers of their deliveries, which go on.
async fn deliveries_are_counted_on_after_a_restart(release: Release) {
    let (mut nats, worker, third) = with_work_taken(release).await;
    third.abandon();
    nats.server.stop_and_restart().await;
    is_back(&worker).await;
    let mut puller = Puller::open(&worker, WORK, agent().as_str()).await.unwrap();
    let next = soon(puller.next(1)).await.unwrap();
    assert_eq!(next.position().delivery, 4);
    next.ack().await;
}

/// What a consumer knows is not synced, `sync_interval` or not: a killed server may forget its last deliveries. Then the ack
/// of one does not count, and the work comes again, perhaps under a number that was there before. It does come, and an ack
/// of that removes it. Our journal is made for it: whoever gets the work reads there that the attempt has ended, or that a
/// higher delivery was at work, whose number this one reaches by waiting.
async fn work_of_before_a_kill_comes_again_perhaps_under_an_earlier_number(release: Release) {
    let (mut nats, worker, third) = with_work_taken(release).await;
    third.abandon();
    nats.server.kill_and_restart().await;
    is_back(&worker).await;
    let mut puller = Puller::open(&worker, WORK, agent().as_str()).await.unwrap();
    let again = soon(puller.next(1)).await.unwrap();
    let number = again.position().delivery;
    assert!((1..=4).contains(&number), "{number}");
    assert_eq!((again.position().seq, again.payload()), (1, &"one".into()));
    again.ack().await;
    nats.comes_to_hold(WORK, 0).await;
}

/// Nothing has to be made again: no coordinator may be there to do it.
async fn the_topology_is_the_same_after_a_kill(release: Release) {
    let mut nats = Nats::with_topology(release).await;
    nats.make_work_consumer().await;
    let settings = Settings::default();
    let (id, _) = nats.coordinator.apply_topology(&settings).await.unwrap();
    nats.server.kill_and_restart().await;
    let coordinator = nats.server.bus(Role::Coordinator).await;
    let agents = [agent()];
    let drift = coordinator
        .compare_topology(&settings, &agents)
        .await
        .unwrap();
    assert_eq!(drift, swarm_bus::inspect::Drift::default());
    let (same, report) = coordinator.apply_topology(&settings).await.unwrap();
    assert_eq!((same, report), (id, swarm_bus::topology::Report::default()));
    assert_eq!(coordinator.fill(RUNS).await.unwrap().messages, 0);
}
