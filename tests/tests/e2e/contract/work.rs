//! Work queues: what is delivered, when it comes back, and what makes the server forget it.

use std::time::{Duration, Instant};

use swarm_bus::pull::Puller;
use swarm_bus::store::Backlog;
use swarm_bus::topology::WORK;
use swarm_bus::{Bus, Delivery, Role};
use swarm_tests::server::Release;
use swarm_tests::{eventually, holds};

use super::{Nats, PATIENCE, agent, on_each_server, soon, with_work, work};

on_each_server!(
    acknowledged_work_is_removed,
    work_waits_for_its_consumer,
    the_ack_of_an_earlier_delivery_removes_the_work,
    the_nak_of_an_earlier_delivery_hands_the_work_out_again,
    a_sign_of_life_postpones_the_next_delivery,
    work_that_is_given_back_comes_after_its_pause,
    work_is_never_given_up,
);

const LONG: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(700);

/// What another worker gets.
async fn next(worker: &Bus) -> Delivery {
    let mut puller = Puller::open(worker, WORK, agent().as_str()).await.unwrap();
    soon(puller.next(1)).await.unwrap()
}

fn count(delivery: &Delivery) -> u64 {
    delivery.position().delivery
}

async fn backlog(nats: &Nats) -> Backlog {
    let backlog = nats.coordinator.work_backlog(&agent()).await.unwrap();
    backlog.expect("the consumer is there")
}

/// A finished attempt frees its room, and nothing is left to be delivered.
async fn acknowledged_work_is_removed(release: Release) {
    let (nats, worker) = with_work(release, LONG).await;
    let delivery = next(&worker).await;
    assert_eq!((delivery.payload(), count(&delivery)), (&"one".into(), 1));
    assert_eq!(nats.messages(WORK).await, 1, "it stays while it is at work");
    delivery.ack().await;
    nats.comes_to_hold(WORK, 0).await;
}

/// A run may be dispatched to an agent that no process of has ever started.
async fn work_waits_for_its_consumer(release: Release) {
    let nats = Nats::with_topology(release).await;
    nats.coordinator.store(work("one")).await.unwrap();
    nats.make_work_consumer().await;
    let worker = nats.server.bus(Role::Agent).await;
    assert_eq!(next(&worker).await.payload(), "one");
}

/// Why the fence is in our journal: a worker that lost its work still removes it, from under the one that has it now. So a
/// worker acknowledges only after the journal has taken its end.
async fn the_ack_of_an_earlier_delivery_removes_the_work(release: Release) {
    let (nats, worker) = with_work(release, SHORT).await;
    let early = next(&worker).await;
    let late = next(&worker).await;
    assert_eq!((count(&early), count(&late)), (1, 2));
    early.ack().await;
    nats.comes_to_hold(WORK, 0).await;
    late.abandon();
}

/// Why a worker that finds itself superseded neither acknowledges nor gives back: its nak would bring a third worker while
/// the second one is at work, whose signs of life do not help.
async fn the_nak_of_an_earlier_delivery_hands_the_work_out_again(release: Release) {
    let (_nats, worker) = with_work(release, SHORT).await;
    let early = next(&worker).await;
    let mut late = next(&worker).await;
    late.keep_alive(SHORT / 7);
    early.retry(Duration::ZERO).await;
    let third = next(&worker).await;
    assert_eq!((count(&late), count(&third)), (2, 3));
    late.abandon();
    third.abandon();
}

/// However long a model thinks, its worker keeps the work; once it is silent, another one gets it.
async fn a_sign_of_life_postpones_the_next_delivery(release: Release) {
    let (nats, worker) = with_work(release, SHORT).await;
    let mut busy = next(&worker).await;
    busy.keep_alive(SHORT / 7);
    let mut other = Puller::open(&worker, WORK, agent().as_str()).await.unwrap();
    let kept = tokio::time::timeout(SHORT * 3, other.next(1)).await;
    assert!(kept.is_err(), "{kept:?}");
    let expected = Backlog {
        unacknowledged: 1,
        waiting_pulls: 1,
        ..Backlog::default()
    };
    assert_eq!(backlog(&nats).await, expected);
    busy.abandon();
    assert_eq!(count(&soon(other.next(1)).await.unwrap()), 2);
    let expected = Backlog {
        unacknowledged: 1,
        redelivered: 1,
        ..Backlog::default()
    };
    assert_eq!(backlog(&nats).await, expected);
}

/// Work that failed for now is tried again after a pause, and not before.
async fn work_that_is_given_back_comes_after_its_pause(release: Release) {
    let (_nats, worker) = with_work(release, LONG).await;
    let first = next(&worker).await;
    let pause = Duration::from_millis(700);
    let given_back = Instant::now();
    first.retry(pause).await;
    let second = next(&worker).await;
    let after = given_back.elapsed();
    // The server's timers may be early by their grain.
    assert!(after + Duration::from_millis(50) >= pause, "{after:?}");
    assert_eq!(count(&second), 2);
    second.abandon();
}

/// Deliveries are counted by Swarm, in the server's numbers, which rise by one; `max_deliver` -1 has no end. An end would
/// leave the work in the stream, and nobody would ever hear of it.
async fn work_is_never_given_up(release: Release) {
    let (nats, worker) = with_work(release, LONG).await;
    let mut puller = Puller::open(&worker, WORK, agent().as_str()).await.unwrap();
    for expected in 1..=30 {
        let delivery = soon(puller.next(1)).await.unwrap();
        assert_eq!(count(&delivery), expected);
        delivery.retry(Duration::ZERO).await;
    }
    soon(puller.next(1)).await.unwrap().ack().await;
    eventually("nothing waits", PATIENCE, || async {
        holds(backlog(&nats).await == Backlog::default())
    })
    .await;
}
