//! Three servers, each stream on all of them.

use std::collections::BTreeSet;
use std::time::Duration;

use async_nats::HeaderMap;
use futures_util::future::join_all;
use serde_json::Value;
use swarm_bus::inspect::Drift;
use swarm_bus::topology::Settings;
use swarm_bus::{Bus, PublishError, Role};
use swarm_protocol::subjects::{self, Leaf};
use swarm_protocol::{RunId, headers};
use swarm_tests::process::free_port;
use swarm_tests::server::Release;
use swarm_tests::{Server, eventually, holds};
use tempfile::TempDir;

use super::{entry, on_each_server, task_id};

on_each_server!(of_racing_appends_to_a_replicated_stream_one_wins);

/// A cluster takes a while to agree on a leader.
const PATIENCE: Duration = Duration::from_secs(20);

/// Three servers that know each other.
async fn cluster(release: Release, folder: &TempDir) -> Vec<Server> {
    let ports = [free_port(), free_port(), free_port()];
    let routes = ports
        .map(|port| format!("nats://127.0.0.1:{port}"))
        .join(", ");
    let start = ports.iter().map(|port| {
        let folder = folder.path().join(port.to_string());
        let routes = &routes;
        async move {
            std::fs::create_dir(&folder).unwrap();
            let join = |conf: &str| {
                let conf = conf.replace("server_name: swarm", &format!("server_name: s{port}"));
                format!("{conf}\ncluster {{ name: c, listen: \"127.0.0.1:{port}\", routes: [{routes}] }}\n")
            };
            Server::start_release(release, &folder, join).await
        }
    });
    join_all(start).await
}

/// `nats.replicas: 3`: racing appends are refused there with a code of their own (10164), which the bus takes as it takes
/// 10071; one wins, and the topology is read back as it was asked for, as on one server.
async fn of_racing_appends_to_a_replicated_stream_one_wins(release: Release) {
    let folder = TempDir::new().unwrap();
    let servers = cluster(release, &folder).await;
    let settings = Settings {
        replicas: 3,
        ..Settings::default()
    };
    eventually("all know their leader", PATIENCE, || async {
        let said = [
            "Self is new JetStream cluster metadata leader",
            "cluster new metadata leader: ",
        ];
        let knows = |server: &Server| said.iter().any(|said| server.log().contains(said));
        holds(servers.iter().all(knows))
    })
    .await;
    let first = servers.first().unwrap();
    let coordinator = first.bus(Role::Coordinator).await;
    eventually("the streams have theirs", PATIENCE, || async {
        holds(coordinator.apply_topology(&settings).await.is_ok())
    })
    .await;
    let drift = coordinator.compare_topology(&settings, &[]).await.unwrap();
    assert_eq!(drift, Drift::default());
    let agents = join_all(servers.iter().map(|server| server.bus(Role::Agent))).await;
    for _ in 0..20 {
        one_wins(&agents).await;
    }
    eventually("appends race", PATIENCE, || async {
        let codes = codes_of_a_race(&servers).await;
        assert!(
            codes.is_subset(&BTreeSet::from([10071, 10164])),
            "{codes:?}"
        );
        holds(codes.contains(&10164))
    })
    .await;
}

/// Patiently: a server that has just joined may know of no stream yet.
async fn one_wins(agents: &[Bus]) {
    let run = RunId::random();
    let fence = subjects::journal_fence(run, &task_id("t"));
    let leaves = [Leaf::Log, Leaf::Msg, Leaf::End];
    let append = agents.iter().zip(leaves).map(|(agent, leaf)| {
        agent.store_patiently(entry(run, "t", leaf, "text").expect_last(&fence, 0))
    });
    let outcomes = join_all(append).await;
    let count =
        |is: fn(&Result<_, PublishError>) -> bool| outcomes.iter().filter(|it| is(it)).count();
    let won = count(|outcome| outcome.is_ok());
    let refused = count(|outcome| matches!(outcome, Err(PublishError::Refused(_))));
    assert_eq!((won, refused), (1, 2), "{outcomes:?}");
    let last = agents.first().unwrap().last_of_runs(&fence).await.unwrap();
    let won = outcomes.into_iter().find_map(Result::ok).unwrap();
    assert_eq!(last.map(|last| last.seq), Some(won.seq));
}

/// The codes of the refusals when many append at once.
async fn codes_of_a_race(servers: &[Server]) -> BTreeSet<u64> {
    let agent = servers.first().unwrap().connect_as("agent").await;
    let run = RunId::random();
    let log = subjects::journal(run, &task_id("t"), Leaf::Log);
    let append = (0..50).map(|_| {
        let mut expecting = HeaderMap::new();
        expecting.insert(headers::EXPECTED_LAST, "0");
        agent.request_with_headers(log.clone(), expecting, "".into())
    });
    let answers = join_all(append).await;
    let codes = answers.into_iter().filter_map(|answer| {
        let answer: Value = serde_json::from_slice(&answer.unwrap().payload).unwrap();
        answer["error"]["err_code"].as_u64()
    });
    codes.collect()
}
