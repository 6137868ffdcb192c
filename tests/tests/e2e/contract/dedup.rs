//! `Nats-Msg-Id`: what is sent again is stored once.

use std::time::Duration;

use serde_json::json;
use swarm_bus::Role;
use swarm_bus::publish::Stored;
use swarm_bus::pull::Puller;
use swarm_bus::topology::{INBOX, SUBMIT_CONSUMER, WORK};
use swarm_tests::server::Release;
use swarm_tests::{eventually, holds};

use super::{Nats, PATIENCE, on_each_server, soon, submission, work};

on_each_server!(
    a_submission_that_is_sent_again_gets_its_first_ticket,
    an_id_is_known_after_its_message_was_taken,
    an_id_is_known_after_the_server_was_killed,
    an_id_is_forgotten_after_its_window,
);

fn ticket(seq: u64, duplicate: bool) -> Stored {
    Stored {
        stream: INBOX.to_owned(),
        seq,
        duplicate,
    }
}

/// A client that heard no answer sends its submission again and must not start a second run; what the message says then is
/// not compared.
async fn a_submission_that_is_sent_again_gets_its_first_ticket(release: Release) {
    let nats = Nats::with_topology(release).await;
    let client = nats.server.bus(Role::Client).await;
    let submit = |text, id: &str| client.store(submission(text).message_id(id));
    assert_eq!(submit("one", "a").await.unwrap(), ticket(1, false));
    assert_eq!(submit("two", "b").await.unwrap(), ticket(2, false));
    assert_eq!(submit("one", "a").await.unwrap(), ticket(1, true));
    assert_eq!(submit("other", "a").await.unwrap(), ticket(1, true));
    assert_eq!(nats.messages(INBOX).await, 2);
}

/// Both queues forget a message once it is acknowledged, and its repetition must not come as new work.
async fn an_id_is_known_after_its_message_was_taken(release: Release) {
    let nats = Nats::with_topology(release).await;
    let submit = || nats.coordinator.store(submission("one").message_id("a"));
    submit().await.unwrap();
    let mut puller = Puller::open(&nats.coordinator, INBOX, SUBMIT_CONSUMER)
        .await
        .unwrap();
    soon(puller.next(1)).await.unwrap().ack().await;
    nats.comes_to_hold(INBOX, 0).await;
    assert_eq!(submit().await.unwrap(), ticket(1, true));
    assert_eq!(nats.messages(INBOX).await, 0);
}

/// A coordinator that waits for the server's word while that is killed publishes its dispatch again.
async fn an_id_is_known_after_the_server_was_killed(release: Release) {
    let mut nats = Nats::with_topology(release).await;
    let submit = |text: &str| submission(text).message_id(text);
    for text in ["one", "two"] {
        nats.coordinator.store(submit(text)).await.unwrap();
    }
    nats.server.kill_and_restart().await;
    for (text, seq) in [("one", 1), ("two", 2)] {
        let again = soon(nats.coordinator.store_patiently(submit(text))).await;
        assert_eq!(again.unwrap(), ticket(seq, true));
    }
}

/// The window is the promise's limit: later, the same id is a new message.
async fn an_id_is_forgotten_after_its_window(release: Release) {
    let nats = Nats::start(release).await;
    let window = Duration::from_secs(1);
    let changes = json!({ "duplicate_window": u64::try_from(window.as_nanos()).unwrap() });
    nats.make(WORK, changes).await;
    let store = || async { nats.coordinator.store(work("x").message_id("a")).await };
    let first = store().await.unwrap();
    let again = store().await.unwrap();
    assert_eq!((first.duplicate, again.duplicate), (false, true));
    eventually("it is stored again", PATIENCE, || async {
        holds(store().await.unwrap().seq == 2)
    })
    .await;
}
