//! What Swarm relies on of a NATS server, against a real one.

use std::time::Duration;

use serde_json::{Value, json};
use swarm_bus::connection::Login;
use swarm_bus::fence::{AppendError, Claim, Journal, Verdict};
use swarm_bus::topology::{Report, Settings, streams};
use swarm_bus::{Bus, ConnectError, Options, Role};
use swarm_protocol::journal::{Body, Entry, ModelTurn};
use swarm_protocol::trace::TraceParent;
use swarm_protocol::{Answer, AnswerStatus, InstanceId, RunId, Timestamp, Usage, Version};
use swarm_tests::{Process, Server, tools};
use tempfile::TempDir;

async fn server_with_topology() -> (TempDir, Server, Bus) {
    let folder = TempDir::new().unwrap();
    let server = Server::start(folder.path()).await;
    let coordinator = server.bus(Role::Coordinator).await;
    coordinator
        .apply_topology(&Settings::default())
        .await
        .unwrap();
    (folder, server, coordinator)
}

fn claim(run: RunId, delivery: u64) -> Claim {
    Claim {
        run,
        task: "research_agent".parse().unwrap(),
        attempt: 1,
        work_seq: 7,
        delivery,
    }
}

fn entry(claim: &Claim, body: Body) -> Entry {
    Entry {
        v: Version,
        run: claim.run,
        task: claim.task.clone(),
        attempt: claim.attempt,
        work_seq: Some(claim.work_seq),
        delivery: Some(claim.delivery),
        instance: InstanceId::random(),
        at: Timestamp::now(),
        turn_ms: None,
        body,
    }
}

fn turn(text: &str) -> Body {
    let (model, text) = ("m".to_owned(), text.to_owned());
    Body::ModelTurn(ModelTurn {
        model,
        text,
        elapsed_ms: 1,
        ..ModelTurn::default()
    })
}

fn end(claim: &Claim) -> Body {
    Body::Completed(Box::new(Answer {
        task: claim.task.clone(),
        agent: "research_agent".parse().unwrap(),
        model: "m".to_owned(),
        status: AnswerStatus::Completed,
        text: Some("x".to_owned()),
        blob: None,
        error: None,
        usage: Usage::default(),
        elapsed_ms: 1,
        simulated: false,
    }))
}

fn verdict(appended: Result<u64, AppendError>) -> Result<(), Verdict> {
    match appended {
        Ok(_) => Ok(()),
        Err(AppendError::Superseded(verdict)) => Err(verdict),
        Err(other) => panic!("{other}"),
    }
}

#[tokio::test]
async fn of_two_that_append_at_once_one_wins() {
    let (_folder, server, _coordinator) = server_with_topology().await;
    let agent = server.bus(Role::Agent).await;
    for _ in 0..50 {
        let run = RunId::random();
        let (first, second) = (claim(run, 1), claim(run, 2));
        let mut journals = [
            Journal::assume_empty(&agent, first.clone()),
            Journal::assume_empty(&agent, second.clone()),
        ];
        let entries = [entry(&first, end(&first)), entry(&second, end(&second))];
        let [a, b] = &mut journals;
        let trace = TraceParent::root();
        let (a, b) = tokio::join!(a.append(&entries[0], trace), b.append(&entries[1], trace));
        let outcomes = [verdict(a), verdict(b)];
        assert_eq!(
            outcomes.iter().filter(|outcome| outcome.is_ok()).count(),
            1,
            "{outcomes:?}"
        );
        assert!(outcomes.contains(&Err(Verdict::Ended)), "{outcomes:?}");
        let stored = agent
            .read_runs(&format!("swarm.run.{run}.task.*.*"), 1)
            .await
            .unwrap();
        assert_eq!(stored.len(), 1);
    }
}

#[tokio::test]
async fn a_later_delivery_takes_over_and_the_earlier_one_is_fenced_off() {
    let (_folder, server, _coordinator) = server_with_topology().await;
    let agent = server.bus(Role::Agent).await;
    let run = RunId::random();
    let trace = TraceParent::root();
    let (first, second) = (claim(run, 1), claim(run, 2));
    let mut early = Journal::assume_empty(&agent, first.clone());
    verdict(early.append(&entry(&first, turn("one")), trace).await).unwrap();

    let (mut late, entries, found) = Journal::open(&agent, second.clone()).await.unwrap();
    assert_eq!((entries.len(), found), (1, Verdict::TakeOver));
    verdict(late.append(&entry(&second, turn("two")), trace).await).unwrap();

    assert_eq!(
        verdict(early.append(&entry(&first, turn("two")), trace).await),
        Err(Verdict::Lost)
    );
    verdict(late.append(&entry(&second, end(&second)), trace).await).unwrap();
    assert_eq!(
        verdict(early.append(&entry(&first, end(&first)), trace).await),
        Err(Verdict::Ended)
    );
    let (_, entries, found) = Journal::open(&agent, first).await.unwrap();
    assert_eq!((entries.len(), found), (3, Verdict::Ended));
}

#[tokio::test]
async fn an_append_whose_answer_was_lost_is_known_to_be_stored() {
    let (_folder, server, _coordinator) = server_with_topology().await;
    let agent = server.bus(Role::Agent).await;
    let own = claim(RunId::random(), 1);
    let recorded = entry(&own, turn("one"));
    verdict(
        Journal::assume_empty(&agent, own.clone())
            .append(&recorded, TraceParent::root())
            .await,
    )
    .unwrap();
    let mut again = Journal::assume_empty(&agent, own);
    verdict(again.append(&recorded, TraceParent::root()).await).unwrap();
}

#[tokio::test]
async fn the_topology_is_applied_once_compared_and_brought_back() {
    let (_folder, _server, coordinator) = server_with_topology().await;
    let settings = Settings::default();
    let (first_id, report) = coordinator.apply_topology(&settings).await.unwrap();
    assert_eq!(
        report,
        Report::default(),
        "nothing differs from what was just applied"
    );
    let longer = Settings {
        retention: settings.retention * 2,
        ..settings.clone()
    };
    let (id, report) = coordinator.apply_topology(&longer).await.unwrap();
    assert_eq!(
        (report.updated, report.drift),
        (
            ["stream SWARM_RUNS", "stream OBJ_swarm_blobs"]
                .map(str::to_owned)
                .to_vec(),
            vec![]
        )
    );
    assert_eq!(id, first_id, "the swarm keeps its id");
    let agent = "research_agent".parse().unwrap();
    let report = coordinator
        .apply_work_consumer(&agent, &settings)
        .await
        .unwrap();
    assert_eq!(report.created, ["consumer research_agent of SWARM_WORK"]);
    assert_eq!(
        coordinator.work_consumers().await.unwrap(),
        ["research_agent"]
    );
    let slower = Settings {
        work_ack_wait: Duration::from_secs(60),
        ..settings
    };
    let report = coordinator
        .apply_work_consumer(&agent, &slower)
        .await
        .unwrap();
    assert_eq!(report.updated, ["consumer research_agent of SWARM_WORK"]);
}

#[tokio::test]
async fn a_stream_that_may_not_be_changed_is_reported_as_drift() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(folder.path()).await;
    let raw = server.connect_as("coordinator").await;
    let foreign = json!({
        "name": "SWARM_WORK", "subjects": ["swarm.work.*"], "retention": "limits", "storage": "memory",
        "num_replicas": 1, "max_bytes": 1_000_000,
    });
    let reply = raw
        .request(
            "$JS.API.STREAM.CREATE.SWARM_WORK",
            foreign.to_string().into(),
        )
        .await
        .unwrap();
    let reply: Value = serde_json::from_slice(&reply.payload).unwrap();
    assert!(reply.get("error").is_none(), "{reply}");
    let coordinator = server.bus(Role::Coordinator).await;
    let (_, report) = coordinator
        .apply_topology(&Settings::default())
        .await
        .unwrap();
    assert_eq!(report.drift.len(), 1, "{report:?}");
    assert!(
        report.drift[0].starts_with("stream SWARM_WORK: "),
        "{report:?}"
    );
}

#[tokio::test]
async fn streams_are_as_designed() {
    let (_folder, server, _coordinator) = server_with_topology().await;
    let observer = server.connect_as("observer").await;
    for stream in streams(&Settings::default()) {
        let subject = format!("$JS.API.STREAM.INFO.{}", stream.name);
        let reply = observer.request(subject, "".into()).await.unwrap();
        let info: Value = serde_json::from_slice(&reply.payload).unwrap();
        let actual = &info["config"];
        for (field, wanted) in stream.config.as_object().unwrap() {
            let found = &actual[field];
            let same = found == wanted
                || (found.is_null() && (*wanted == json!(false) || *wanted == json!(0)));
            assert!(same, "{}.{field}: {found} instead of {wanted}", stream.name);
        }
        let persist = if stream.name == "KV_swarm_agents" {
            json!("async")
        } else {
            Value::Null
        };
        let found = actual
            .get("persist_mode")
            .cloned()
            .filter(|mode| mode != "default")
            .unwrap_or_default();
        assert_eq!(found, persist, "{}", stream.name);
    }
}

/// Starts another server than the one the other tests use, and tries to connect to it.
async fn refusal_by(server: &str, arguments: &[&str]) -> ConnectError {
    let folder = TempDir::new().unwrap();
    let mut command = std::process::Command::new(tools::installed(server));
    let place = folder.path().to_str().unwrap();
    command.args([
        "--addr",
        "127.0.0.1",
        "--port",
        "-1",
        "--ports_file_dir",
        place,
        "--store_dir",
        place,
    ]);
    command.args(arguments);
    let process = Process::start("other", command, folder.path());
    let file = folder
        .path()
        .join(format!("{server}_{}.ports", process.pid()));
    let url = swarm_tests::eventually("it listens", Duration::from_secs(10), || async {
        let ports: Value = serde_json::from_slice(&std::fs::read(&file).ok()?).ok()?;
        ports["nats"][0].as_str().map(str::to_owned)
    })
    .await;
    let options = Options {
        url,
        role: Role::Client,
        login: Login::Anonymous,
        name: "test".to_owned(),
        patience: Duration::from_secs(2),
    };
    Bus::connect(options)
        .await
        .expect_err("this server is refused")
}

#[tokio::test]
async fn a_server_without_jetstream_is_refused_in_one_line() {
    let error = refusal_by("nats-server", &[]).await;
    assert!(matches!(error, ConnectError::NoJetStream { .. }), "{error}");
}

#[tokio::test]
async fn a_server_below_2_12_is_refused_with_how_to_get_a_newer_one() {
    let error = refusal_by("nats-server-old", &["-js"]).await;
    let ConnectError::TooOld { version, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(version, "2.11.11");
    assert!(error.to_string().contains("scripts/setup run"), "{error}");
}
