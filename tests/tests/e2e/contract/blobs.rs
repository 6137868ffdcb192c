//! An object store that is read without a consumer.

use serde_json::json;
use swarm_bus::topology::BLOBS_STREAM;
use swarm_bus::{BlobError, Outgoing, PublishError, Role};
use swarm_protocol::trace::TraceParent;
use swarm_protocol::{BlobRef, RunId, blob, headers, subjects};
use swarm_tests::server::Release;

use super::{Nats, error_code, on_each_server};

on_each_server!(
    a_blob_is_read_by_batched_direct_get,
    two_writers_of_one_blob_do_not_mix_their_chunks,
    a_rollup_is_refused,
    a_run_forgets_its_blobs_alone,
);

/// Bytes that differ from chunk to chunk.
fn content(bytes: usize) -> Vec<u8> {
    let number = |n: usize| u64::try_from(n).unwrap().to_be_bytes();
    (0..bytes / 8).flat_map(number).collect()
}

async fn messages(nats: &Nats) -> u64 {
    let info = nats
        .api(&format!("STREAM.INFO.{BLOBS_STREAM}"), &json!({}))
        .await;
    info["state"]["messages"].as_u64().unwrap()
}

/// More than one batch holds, by the user that has no consumer rights.
async fn a_blob_is_read_by_batched_direct_get(release: Release) {
    let nats = Nats::with_topology(release).await;
    let (run, content) = (RunId::random(), content(9 * 1024 * 1024));
    let agent = nats.server.bus(Role::Agent).await;
    let put = || agent.put_blob(run, content.clone().into(), blob::TEXT);
    let known = put().await.unwrap();
    assert_eq!(known, BlobRef::of(&content, blob::TEXT));
    let before = messages(&nats).await;
    assert_eq!(before, 9 * 8 + 1);
    put().await.unwrap();
    assert_eq!(messages(&nats).await, before, "it is there already");
    for role in [Role::Client, Role::Observer, Role::Coordinator, Role::Agent] {
        let reader = nats.server.bus(role).await;
        let read = reader.get_blob(run, &known).await.unwrap();
        assert!(read == content, "{role:?}");
    }
    let other = agent.get_blob(RunId::random(), &known).await;
    assert!(matches!(other, Err(BlobError::Missing { .. })), "{other:?}");
    let more = BlobRef {
        bytes: known.bytes + 1,
        ..known
    };
    let altered = agent.get_blob(run, &more).await;
    assert!(
        matches!(altered, Err(BlobError::Altered { .. })),
        "{altered:?}"
    );
}

async fn two_writers_of_one_blob_do_not_mix_their_chunks(release: Release) {
    let nats = Nats::with_topology(release).await;
    let (run, content) = (RunId::random(), content(1024 * 1024));
    let agent = nats.server.bus(Role::Agent).await;
    let (one, two) = tokio::join!(
        nats.coordinator
            .put_blob(run, content.clone().into(), blob::TEXT),
        agent.put_blob(run, content.clone().into(), blob::TEXT),
    );
    assert_eq!(one.unwrap(), two.as_ref().unwrap().clone());
    let read = agent.get_blob(run, &two.unwrap()).await.unwrap();
    assert!(read == content);
}

/// Whoever names a blob as the reply subject of a request could have the server copy a message with this header there.
async fn a_rollup_is_refused(release: Release) {
    let nats = Nats::with_topology(release).await;
    let subject = subjects::blob_meta("x");
    let message = Outgoing::new(subject, "{}", TraceParent::root()).header(headers::ROLLUP, "sub");
    let refused = nats.coordinator.store(message).await;
    assert!(
        matches!(refused, Err(PublishError::Server { .. })),
        "{refused:?}"
    );
    assert_eq!(messages(&nats).await, 0);
    let stored = nats
        .api(
            &format!("STREAM.MSG.GET.{BLOBS_STREAM}"),
            &json!({"seq": 1}),
        )
        .await;
    assert_eq!(error_code(&stored), 10037);
}

async fn a_run_forgets_its_blobs_alone(release: Release) {
    let nats = Nats::with_topology(release).await;
    let (run, other) = (RunId::random(), RunId::random());
    let bus = &nats.coordinator;
    for text in ["one", "two"] {
        bus.put_blob(run, text.into(), blob::TEXT).await.unwrap();
    }
    let kept = bus.put_blob(other, "one".into(), blob::TEXT).await.unwrap();
    bus.delete_blobs(run).await.unwrap();
    assert_eq!(messages(&nats).await, 2, "a chunk, and what is known of it");
    assert_eq!(bus.get_blob(other, &kept).await.unwrap(), "one");
    bus.delete_blobs(run).await.unwrap();
    let again = bus.put_blob(run, "one".into(), blob::TEXT).await.unwrap();
    assert_eq!(bus.get_blob(run, &again).await.unwrap(), "one");
}
