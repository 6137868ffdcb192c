//! What happens when there is no room: for a message, in a stream, on the server.

use serde_json::json;
use swarm_bus::publish::Stored;
use swarm_bus::pull::Puller;
use swarm_bus::topology::{DEAD, RUNS, Settings, TopologyError, WORK};
use swarm_bus::{Bus, Outgoing, PublishError, Role};
use swarm_protocol::limits::MAX_RUN_MESSAGE;
use swarm_protocol::{RunId, headers, subjects};
use swarm_tests::server::Release;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{Nats, agent, event, on_each_server, soon, submission, work};

on_each_server!(
    a_stream_that_holds_its_most_messages_refuses_more,
    a_stream_that_holds_its_most_bytes_refuses_more,
    a_full_stream_of_dead_letters_drops_its_oldest,
    a_full_store_refuses_with_an_error,
    a_store_that_is_too_small_refuses_the_streams,
    a_message_too_large_for_its_stream_is_refused,
    a_message_too_large_for_the_server_is_not_sent,
    the_server_closes_the_connection_of_whoever_sends_too_much,
);

fn full(outcome: Result<Stored, PublishError>, words: &str) {
    match outcome {
        Err(error @ PublishError::Full { .. }) => {
            assert!(error.is_transient());
            assert!(error.to_string().ends_with(words), "{error}");
        }
        other => panic!("{other:?}"),
    }
}

/// `discard: new`: a full stream says so, and nothing that was confirmed is thrown away; what is done makes room.
async fn a_stream_that_holds_its_most_messages_refuses_more(release: Release) {
    let nats = Nats::start(release).await;
    nats.make(WORK, json!({ "max_msgs": 2 })).await;
    let bus = &nats.coordinator;
    for text in ["one", "two"] {
        bus.store(work(text)).await.unwrap();
    }
    full(bus.store(work("three")).await, "maximum messages exceeded");
    nats.make_work_consumer().await;
    let mut puller = Puller::open(bus, WORK, agent().as_str()).await.unwrap();
    let oldest = soon(puller.next(1)).await.unwrap();
    assert_eq!(oldest.payload(), "one");
    oldest.ack().await;
    nats.comes_to_hold(WORK, 1).await;
    bus.store(work("three")).await.unwrap();
}

/// The limit that the topology sets. Small messages may still fit when a large one does not.
async fn a_stream_that_holds_its_most_bytes_refuses_more(release: Release) {
    let nats = Nats::start(release).await;
    nats.make(WORK, json!({ "max_bytes": 4096 })).await;
    let bus = &nats.coordinator;
    bus.store(work(&"x".repeat(3000))).await.unwrap();
    full(
        bus.store(work(&"x".repeat(2000))).await,
        "maximum bytes exceeded",
    );
    bus.store(work("small")).await.unwrap();
    let fill = bus.fill(WORK).await.unwrap();
    assert_eq!((fill.messages, fill.max_bytes), (2, Some(4096)));
    assert!(fill.bytes > 3000 && fill.bytes < 4096, "{fill:?}");
}

/// `discard: old` there alone: a dead letter is stored before its message is acknowledged, so one that is refused would come
/// back for ever.
async fn a_full_stream_of_dead_letters_drops_its_oldest(release: Release) {
    let nats = Nats::start(release).await;
    nats.make(DEAD, json!({ "max_msgs": 2 })).await;
    for seq in 1..=3 {
        let subject = subjects::dead_inbox();
        let letter = Outgoing::untraced(subject, "text");
        assert_eq!(nats.coordinator.store(letter).await.unwrap().seq, seq);
    }
    let info = nats.api(&format!("STREAM.INFO.{DEAD}"), &json!({})).await;
    let state = &info["state"];
    assert_eq!(
        (&state["first_seq"], &state["last_seq"]),
        (&json!(2), &json!(3))
    );
}

/// Why `max_file_store` is always set: a store that reaches it refuses at once, with a 503 that is tried again, while a full
/// disk is silent.
async fn a_full_store_refuses_with_an_error(release: Release) {
    let small = |conf: String| conf.replace("max_file_store: 10GB", "max_file_store: 1MB");
    let nats = Nats::start_changed(release, small).await;
    nats.make(WORK, json!({ "max_bytes": -1 })).await;
    let chunk = "x".repeat(100_000);
    for _ in 0..20 {
        match nats.coordinator.store(work(&chunk)).await {
            Ok(_) => {}
            Err(error) => {
                assert!(error.is_transient(), "{error:?}");
                let PublishError::Server { error, .. } = error else {
                    panic!("{error:?}")
                };
                assert_eq!((error.code, error.err_code), (503, 10023), "{error}");
                return;
            }
        }
    }
    panic!("2 MB went into 1 MB");
}

/// `max_bytes` reserves: a store that cannot hold what the streams may hold is found out at the start, not when they are
/// full.
async fn a_store_that_is_too_small_refuses_the_streams(release: Release) {
    let small = |conf: String| conf.replace("max_file_store: 10GB", "max_file_store: 4GB");
    let nats = Nats::start_changed(release, small).await;
    let applied = nats.coordinator.apply_topology(&Settings::default()).await;
    let Err(TopologyError::NoRoom { what, error }) = applied else {
        panic!("{applied:?}")
    };
    assert_eq!(
        (what.as_str(), error.err_code),
        ("stream SWARM_RUNS", 10047)
    );
}

/// `max_msg_size`: headers count, the error is final, and the connection goes on.
async fn a_message_too_large_for_its_stream_is_refused(release: Release) {
    let nats = Nats::with_topology(release).await;
    let bus = &nats.coordinator;
    let run = RunId::random();
    let limit = usize::try_from(MAX_RUN_MESSAGE).unwrap();
    let fits = event(run, &"x".repeat(limit - 1000));
    bus.store(fits.clone()).await.unwrap();
    let by_payload = event(run, &"x".repeat(limit + 1));
    let by_headers = fits.header(headers::HELD, "x".repeat(1000));
    for message in [by_payload, by_headers] {
        let error = bus.store(message).await.unwrap_err();
        assert!(!error.is_transient(), "{error:?}");
        let PublishError::Server { error, .. } = error else {
            panic!("{error:?}")
        };
        assert_eq!((error.code, error.err_code), (400, 10054), "{error}");
    }
    goes_on(bus).await;
    assert_eq!(nats.messages(RUNS).await, 1);
}

/// `max_payload`, which the server tells at the connection: headers count there too, and nothing is sent that the server
/// would answer by closing the connection.
async fn a_message_too_large_for_the_server_is_not_sent(release: Release) {
    let nats = Nats::with_topology(release).await;
    let client = nats.server.bus(Role::Client).await;
    let limit = client.max_payload();
    assert_eq!(limit, 1 << 20);
    let by_payload = client.store(submission(&"x".repeat(limit + 1))).await;
    assert!(
        matches!(by_payload, Err(PublishError::TooLarge { .. })),
        "{by_payload:?}"
    );
    let by_headers = submission(&"x".repeat(limit)).message_id("a");
    let by_headers = client.store(by_headers).await.unwrap_err();
    assert!(!by_headers.is_transient(), "{by_headers:?}");
    goes_on(&client).await;
    assert!(!nats.server.log().contains("Maximum Payload"));
}

/// The bus is connected as before.
async fn goes_on(bus: &Bus) {
    assert!(bus.is_connected());
    let asked = submission("small").message_id("after it");
    if bus.role() == Role::Client {
        bus.store(asked).await.unwrap();
    } else {
        bus.fill(RUNS).await.unwrap();
    }
}

/// Why the bus looks at the size first: the server ends the connection, and everything else that the process has under way
/// is disturbed.
async fn the_server_closes_the_connection_of_whoever_sends_too_much(release: Release) {
    let nats = Nats::start(release).await;
    let url = nats.server.url();
    let address = url.strip_prefix("nats://").unwrap();
    let mut raw = tokio::net::TcpStream::connect(address).await.unwrap();
    raw.write_all(b"CONNECT {\"verbose\":false}\r\nPUB swarm.submit 1048577\r\n")
        .await
        .unwrap();
    let mut said = String::new();
    soon(raw.read_to_string(&mut said)).await.unwrap();
    assert!(said.contains("-ERR 'Maximum Payload Violation'"), "{said}");
}
