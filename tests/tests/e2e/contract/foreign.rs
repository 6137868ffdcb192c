//! The server itself writes into streams, for whoever names a subject of theirs as the reply subject of a request
//! (nats-server issue 8274). It asks for no right of the requester to that subject.

use serde_json::json;
use swarm_bus::{Kind, Role};
use swarm_protocol::{RunId, subjects};
use swarm_tests::server::Release;

use super::{Nats, event, on_each_server};

on_each_server!(
    the_word_of_a_stream_is_stored_in_a_log,
    a_copy_of_an_event_is_stored_in_a_log,
    the_answer_of_an_api_is_stored_in_a_log,
);

/// Sends as the user `client`, who may write no log, with a log as the reply subject. What then stands there.
async fn reply_into_a_log(nats: &Nats, run: RunId, subject: &str, payload: String) -> Vec<Kind> {
    let client = nats.server.connect_as("client").await;
    let log = subjects::run_log(run);
    let sent = client.publish_with_reply(subject.to_owned(), log.clone(), payload.into());
    sent.await.unwrap();
    client.flush().await.unwrap();
    let bus = nats.server.bus(Role::Client).await;
    let stored = swarm_tests::eventually("it is stored", super::PATIENCE, || async {
        let stored = bus.read_runs(&log, 1).await.unwrap();
        (!stored.is_empty()).then_some(stored)
    })
    .await;
    let last = bus_last(nats, &log).await;
    assert_eq!(stored.last().map(|message| message.kind), Some(last));
    stored.iter().map(|message| message.kind).collect()
}

/// The same by the other way of reading.
async fn bus_last(nats: &Nats, log: &str) -> Kind {
    let last = nats.coordinator.last_of_runs(log).await.unwrap();
    last.expect("it is there").kind
}

/// A submission's answer has no trace: [`Kind::Foreign`]. It counts for the compare-and-set, so an append that was refused
/// by such a message goes on behind it.
async fn the_word_of_a_stream_is_stored_in_a_log(release: Release) {
    let nats = Nats::with_topology(release).await;
    let run = RunId::random();
    let kinds = reply_into_a_log(&nats, run, subjects::SUBMIT, "text".to_owned()).await;
    assert_eq!(kinds, [Kind::Foreign]);
    let log = subjects::run_log(run);
    let behind = nats
        .coordinator
        .store(event(run, "text").expect_last(&log, 1));
    assert_eq!(behind.await.unwrap().seq, 2);
}

/// A direct get answers with the whole event, trace and summary among its headers; the server's own headers, which stand
/// there twice then, tell the copy from an event.
async fn a_copy_of_an_event_is_stored_in_a_log(release: Release) {
    let nats = Nats::with_topology(release).await;
    let (real, forged) = (RunId::random(), RunId::random());
    nats.coordinator.store(event(real, "text")).await.unwrap();
    let question = json!({ "last_by_subj": subjects::run_log(real) }).to_string();
    let kinds = reply_into_a_log(&nats, forged, "$JS.API.DIRECT.GET.SWARM_RUNS", question).await;
    assert_eq!(kinds, [Kind::Foreign]);
}

/// An answer of the API of JetStream has no headers at all.
async fn the_answer_of_an_api_is_stored_in_a_log(release: Release) {
    let nats = Nats::with_topology(release).await;
    let run = RunId::random();
    let kinds = reply_into_a_log(&nats, run, "$JS.API.INFO", String::new()).await;
    assert_eq!(kinds, [Kind::Foreign]);
}
