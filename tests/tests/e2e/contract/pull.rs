//! Pulling: what a request is answered, and which messages a consumer has.

use std::time::Duration;

use futures_util::StreamExt as _;
use serde_json::{Value, json};
use swarm_bus::Role;
use swarm_bus::pull::Puller;
use swarm_bus::topology::{JOURNAL_CONSUMER, RUNS, WORK};
use swarm_protocol::RunId;
use swarm_protocol::subjects::Leaf;
use swarm_tests::server::Release;

use super::{Nats, agent, entry, event, on_each_server, soon, work};

on_each_server!(
    a_consumer_has_what_its_filters_name,
    a_request_without_messages_ends_with_its_time,
    an_unknown_consumer_is_answered_at_once,
    a_puller_outlives_its_consumer,
    a_puller_waits_for_a_consumer_that_is_not_there_yet,
    a_message_comes_the_moment_it_is_stored,
);

/// Coordinators are woken by what they decide on, messages and ends, and not by every turn of a model.
async fn a_consumer_has_what_its_filters_name(release: Release) {
    let nats = Nats::with_topology(release).await;
    let bus = &nats.coordinator;
    let run = RunId::random();
    for message in [
        event(run, "event"),
        entry(run, "t", Leaf::Log, "log"),
        entry(run, "t", Leaf::Msg, "msg"),
        entry(run, "t", Leaf::Log, "log"),
        entry(run, "t", Leaf::End, "end"),
        event(run, "event"),
    ] {
        bus.store(message).await.unwrap();
    }
    let backlog = bus.backlog(RUNS, JOURNAL_CONSUMER).await.unwrap().unwrap();
    assert_eq!(backlog.pending, 2);
    let mut puller = Puller::open(bus, RUNS, JOURNAL_CONSUMER).await.unwrap();
    for (text, seq) in [("msg", 3), ("end", 5)] {
        let delivery = soon(puller.next(2)).await.unwrap();
        assert_eq!(delivery.payload(), text);
        assert_eq!(delivery.position().seq, seq);
        delivery.ack().await;
    }
    let backlog = bus.backlog(RUNS, JOURNAL_CONSUMER).await.unwrap().unwrap();
    assert_eq!(backlog.pending, 0);
    assert_eq!(nats.messages(RUNS).await, 6, "this stream is no queue");
}

/// Statuses and descriptions that come to a pull request, up to the first that ends it.
async fn answers(nats: &Nats, consumer: &str, request: Value) -> Vec<(u16, String)> {
    let inbox = nats.witness.new_inbox();
    let mut replies = nats.witness.subscribe(inbox.clone()).await.unwrap();
    let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{consumer}");
    let asked = nats
        .witness
        .publish_with_reply(subject, inbox, request.to_string().into());
    asked.await.unwrap();
    let mut heard = Vec::new();
    loop {
        let reply = soon(replies.next()).await.unwrap();
        let status = reply.status.expect("a status").as_u16();
        heard.push((status, reply.description.unwrap_or_default().to_string()));
        if status != 100 {
            return heard;
        }
    }
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap()
}

/// The puller asks again on 408, and takes the server for gone when it hears neither a message nor a heartbeat.
async fn a_request_without_messages_ends_with_its_time(release: Release) {
    let nats = Nats::with_topology(release).await;
    let request = json!({
        "batch": 1, "expires": nanos(Duration::from_millis(900)), "idle_heartbeat": nanos(Duration::from_millis(200)),
    });
    let mut heard = answers(&nats, "SWARM_RUNS.journal", request).await;
    let end = heard.pop().unwrap();
    assert_eq!(end, (408, "Request Timeout".to_owned()));
    assert!(!heard.is_empty());
    let heartbeat = (100, "Idle Heartbeat".to_owned());
    assert!(heard.iter().all(|said| *said == heartbeat), "{heard:?}");
}

/// An agent that starts before any coordinator has made its consumer is answered, not left to wait: 503.
async fn an_unknown_consumer_is_answered_at_once(release: Release) {
    let nats = Nats::with_topology(release).await;
    let request = json!({ "batch": 1, "expires": nanos(Duration::from_secs(30)) });
    let heard = answers(&nats, "SWARM_WORK.nobody", request).await;
    assert_eq!(heard.iter().map(|said| said.0).collect::<Vec<_>>(), [503]);
}

/// A worker needs no restart when an operator removes its consumer and a coordinator makes it again.
async fn a_puller_outlives_its_consumer(release: Release) {
    let nats = Nats::with_topology(release).await;
    nats.make_work_consumer().await;
    let worker = nats.server.bus(Role::Agent).await;
    let mut puller = Puller::open(&worker, WORK, agent().as_str()).await.unwrap();
    let waiting = tokio::spawn(async move { puller.next(1).await });
    a_pull_waits(&nats).await;
    let consumer = format!("{WORK}.{}", agent());
    let gone = nats
        .api(&format!("CONSUMER.DELETE.{consumer}"), &json!({}))
        .await;
    assert_eq!(gone["success"], true, "{gone}");
    nats.make_work_consumer().await;
    nats.coordinator.store(work("one")).await.unwrap();
    let delivery = soon(waiting).await.unwrap().unwrap();
    assert_eq!(delivery.payload(), "one");
}

/// Roles start in any order.
async fn a_puller_waits_for_a_consumer_that_is_not_there_yet(release: Release) {
    let nats = Nats::with_topology(release).await;
    let worker = nats.server.bus(Role::Agent).await;
    let mut puller = Puller::open(&worker, WORK, agent().as_str()).await.unwrap();
    let waiting = tokio::spawn(async move { puller.next(1).await });
    nats.coordinator.store(work("one")).await.unwrap();
    nats.make_work_consumer().await;
    let delivery = soon(waiting).await.unwrap().unwrap();
    assert_eq!(delivery.payload(), "one");
}

/// A request waits at the server, and is not looked at from time to time.
async fn a_message_comes_the_moment_it_is_stored(release: Release) {
    let nats = Nats::with_topology(release).await;
    nats.make_work_consumer().await;
    let worker = nats.server.bus(Role::Agent).await;
    let mut puller = Puller::open(&worker, WORK, agent().as_str()).await.unwrap();
    let waiting = tokio::spawn(async move { puller.next(3).await.map(|it| (it, puller)) });
    a_pull_waits(&nats).await;
    nats.coordinator.store(work("one")).await.unwrap();
    let (first, mut puller) = soon(waiting).await.unwrap().unwrap();
    assert_eq!(first.payload(), "one");
    assert_eq!(
        puller.outstanding(),
        2,
        "the rest of the request still waits"
    );
    nats.coordinator.store(work("two")).await.unwrap();
    let second = soon(puller.next(3)).await.unwrap();
    assert_eq!((second.payload(), puller.outstanding()), (&"two".into(), 1));
}

async fn a_pull_waits(nats: &Nats) {
    swarm_tests::eventually("a pull waits", super::PATIENCE, || async {
        let backlog = nats.coordinator.work_backlog(&agent()).await.unwrap();
        swarm_tests::holds(backlog.is_some_and(|backlog| backlog.waiting_pulls == 1))
    })
    .await;
}
