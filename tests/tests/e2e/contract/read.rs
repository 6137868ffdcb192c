//! Reading the run stream without a consumer.

use futures_util::StreamExt as _;
use serde_json::json;
use swarm_bus::Role;
use swarm_bus::topology::{RUNS, Settings};
use swarm_protocol::subjects::{self, Leaf};
use swarm_protocol::{RunId, headers};
use swarm_tests::server::Release;

use super::{Nats, entry, event, on_each_server, soon, task_id};

on_each_server!(
    a_log_is_read_from_any_sequence_on,
    a_log_of_several_batches_is_read_whole,
    a_log_that_is_too_large_for_one_batch_is_read_whole,
    a_batch_ends_with_what_is_left,
    nothing_is_answered_as_nothing,
    the_last_entry_of_a_journal_is_found_over_its_leaves,
);

/// Readers start at a sequence and get the subject's messages alone, in order, with their place: also a client, who may not
/// make consumers.
async fn a_log_is_read_from_any_sequence_on(release: Release) {
    let nats = Nats::with_topology(release).await;
    let (run, other) = (RunId::random(), RunId::random());
    for message in [
        event(run, "1"),
        event(other, "2"),
        entry(run, "t", Leaf::Log, "3"),
        event(run, "4"),
        entry(run, "t", Leaf::End, "5"),
    ] {
        nats.coordinator.store(message).await.unwrap();
    }
    let client = nats.server.bus(Role::Client).await;
    let log = subjects::run_log(run);
    let fence = subjects::journal_fence(run, &task_id("t"));
    let journals = subjects::journals_of(run);
    for (subject, from, expected) in [
        (&log, 1, vec![1, 4]),
        (&log, 2, vec![4]),
        (&log, 5, vec![]),
        (&log, 99, vec![]),
        (&fence, 1, vec![3, 5]),
        (&journals, 4, vec![5]),
    ] {
        let stored = client.read_runs(subject, from).await.unwrap();
        let found: Vec<u64> = stored.iter().map(|message| message.seq).collect();
        assert_eq!(found, expected, "{subject} from {from}");
        for message in stored {
            assert_eq!(message.payload, message.seq.to_string());
        }
    }
}

/// Stores so many events of a run, many at once.
async fn store_events(nats: &Nats, run: RunId, count: usize, text: &str) {
    let stored = futures_util::future::join_all(
        (0..count).map(|_| nats.coordinator.store(event(run, text))),
    );
    for outcome in stored.await {
        outcome.unwrap();
    }
}

/// The bus asks for 512 messages at once, and goes on behind the last while the server says that more are pending.
async fn a_log_of_several_batches_is_read_whole(release: Release) {
    let nats = Nats::with_topology(release).await;
    for count in [511, 512, 513, 1025] {
        let run = RunId::random();
        store_events(&nats, run, count, "x").await;
        let log = subjects::run_log(run);
        let stored = nats.coordinator.read_runs(&log, 1).await.unwrap();
        assert_eq!(stored.len(), count);
        assert!(stored.iter().is_sorted_by(|a, b| a.seq < b.seq));
    }
}

/// The bus bounds a batch in bytes too, for the server ends the connection of whoever has more on its way than
/// `max_pending`, here 8 MB; what is left is pending.
async fn a_log_that_is_too_large_for_one_batch_is_read_whole(release: Release) {
    let small = |conf: String| {
        format!(
            "max_pending: 8MB
{conf}"
        )
    };
    let nats = Nats::start_changed(release, small).await;
    let settings = Settings::default();
    nats.coordinator.apply_topology(&settings).await.unwrap();
    let run = RunId::random();
    store_events(&nats, run, 40, &"x".repeat(400 * 1024)).await;
    let log = subjects::run_log(run);
    let stored = nats.coordinator.read_runs(&log, 1).await.unwrap();
    assert_eq!(stored.len(), 40);
    assert!(!nats.server.log().contains("Slow Consumer"));
}

/// What the bus goes by: each message has its place and subject; then a 204 says how many are left.
async fn a_batch_ends_with_what_is_left(release: Release) {
    let nats = Nats::with_topology(release).await;
    let run = RunId::random();
    store_events(&nats, run, 3, "x").await;
    for (batch, left) in [(2, "1"), (3, "0"), (4, "0")] {
        let inbox = nats.witness.new_inbox();
        let mut replies = nats.witness.subscribe(inbox.clone()).await.unwrap();
        let log = subjects::run_log(run);
        let request = json!({ "batch": batch, "seq": 1, "next_by_subj": log });
        let asked = nats.witness.publish_with_reply(
            format!("$JS.API.DIRECT.GET.{RUNS}"),
            inbox,
            request.to_string().into(),
        );
        asked.await.unwrap();
        for seq in 1..=batch.min(3) {
            let message = soon(replies.next()).await.unwrap();
            let headers = message.headers.unwrap();
            let value = |name| headers.get(name).map(async_nats::HeaderValue::as_str);
            assert_eq!(value(headers::SEQUENCE), Some(seq.to_string().as_str()));
            assert_eq!(value(headers::SUBJECT), Some(log.as_str()));
            assert_eq!(value(headers::STREAM), Some(RUNS));
        }
        let end = soon(replies.next()).await.unwrap();
        assert_eq!(end.status.map(|status| status.as_u16()), Some(204));
        assert_eq!(end.description.as_deref(), Some("EOB"));
        let headers = end.headers.unwrap();
        let value = headers.get("Nats-Num-Pending").unwrap();
        assert_eq!(value.as_str(), left, "of a batch of {batch}");
    }
}

/// A run that nobody has heard of is empty, by either way of reading, and no error.
async fn nothing_is_answered_as_nothing(release: Release) {
    let nats = Nats::with_topology(release).await;
    let log = subjects::run_log(RunId::random());
    for _ in ["in an empty stream", "beside another run"] {
        assert!(
            nats.coordinator
                .read_runs(&log, 1)
                .await
                .unwrap()
                .is_empty()
        );
        assert!(nats.coordinator.last_of_runs(&log).await.unwrap().is_none());
        store_events(&nats, RunId::random(), 1, "x").await;
    }
}

/// After a refusal a worker asks the leader (`STREAM.MSG.GET`) for the last entry on any leaf: a direct get may be answered
/// by a replica that is behind.
async fn the_last_entry_of_a_journal_is_found_over_its_leaves(release: Release) {
    let nats = Nats::with_topology(release).await;
    let agent = nats.server.bus(Role::Agent).await;
    let run = RunId::random();
    let fence = subjects::journal_fence(run, &task_id("t"));
    for (leaf, task, last) in [
        (Leaf::End, "t", 1),
        (Leaf::Log, "t", 2),
        (Leaf::Msg, "t", 3),
        (Leaf::End, "u", 3),
        (Leaf::Log, "t", 5),
    ] {
        agent.store(entry(run, task, leaf, "x")).await.unwrap();
        let found = agent.last_of_runs(&fence).await.unwrap().unwrap();
        assert_eq!(found.seq, last);
    }
    let found = agent.last_of_runs(&fence).await.unwrap().unwrap();
    assert_eq!(
        found.subject,
        subjects::journal(run, &task_id("t"), Leaf::Log)
    );
    assert_eq!(found.kind, swarm_bus::Kind::Entry);
}
