//! Making streams and consumers, and reading them back.

use serde_json::json;
use swarm_bus::Role;
use swarm_bus::inspect::Drift;
use swarm_bus::topology::{AGENTS_STREAM, INBOX, RUNS, Report, Settings, WORK};
use swarm_protocol::AgentName;
use swarm_tests::server::Release;

use super::{Nats, agent, error_code, on_each_server};

on_each_server!(
    the_topology_is_read_back_as_it_was_asked_for,
    cards_are_not_synced_one_by_one,
    a_changed_setting_is_brought_up_to_date,
    of_two_coordinators_that_make_the_streams_one_is_first,
    what_is_missing_has_the_codes_that_the_bus_knows,
    a_setting_that_the_server_does_not_know_is_refused,
    consumers_of_agents_are_listed,
    the_server_tells_its_time,
);

/// A create that finds something does not compare: the bus reads everything back and compares it. A server that left out a
/// setting, or wrote one otherwise, would be reported as drift for ever.
async fn the_topology_is_read_back_as_it_was_asked_for(release: Release) {
    let nats = Nats::start(release).await;
    let bus = &nats.coordinator;
    let settings = Settings::default();
    let (id, report) = bus.apply_topology(&settings).await.unwrap();
    assert_eq!((report.created.len(), report.drift), (7, vec![]));
    let made = bus.apply_work_consumer(&agent(), &settings).await.unwrap();
    assert_eq!(made.created, ["consumer research_agent of SWARM_WORK"]);
    let (same, nothing) = bus.apply_topology(&settings).await.unwrap();
    assert_eq!((same, nothing), (id, Report::default()));
    let observer = nats.server.bus(Role::Observer).await;
    let drift = observer.compare_topology(&settings, &[agent()]).await;
    assert_eq!(drift.unwrap(), Drift::default());
}

/// `persist_mode: async` (ADR-56) on the one stream that may lose its tail, and on no other.
async fn cards_are_not_synced_one_by_one(release: Release) {
    let nats = Nats::with_topology(release).await;
    for stream in swarm_bus::topology::STREAMS {
        let info = nats.api(&format!("STREAM.INFO.{stream}"), &json!({})).await;
        let mode = info["config"]["persist_mode"].as_str();
        let expected = (stream == AGENTS_STREAM).then_some("async");
        assert_eq!(mode.filter(|mode| *mode != "default"), expected, "{stream}");
    }
}

/// A new configuration reaches streams and consumers that are there, and the swarm's id in the inbox's metadata stays.
async fn a_changed_setting_is_brought_up_to_date(release: Release) {
    let nats = Nats::start(release).await;
    let bus = &nats.coordinator;
    let settings = Settings::default();
    let (id, _) = bus.apply_topology(&settings).await.unwrap();
    bus.apply_work_consumer(&agent(), &settings).await.unwrap();
    let changed = Settings {
        retention: settings.retention * 2,
        work_ack_wait: settings.work_ack_wait * 2,
        ..settings
    };
    let (same, report) = bus.apply_topology(&changed).await.unwrap();
    assert_eq!(same, id);
    assert_eq!(report.updated, ["stream SWARM_RUNS"]);
    let report = bus.apply_work_consumer(&agent(), &changed).await.unwrap();
    assert_eq!(report.updated, ["consumer research_agent of SWARM_WORK"]);
    let drift = bus.compare_topology(&changed, &[agent()]).await.unwrap();
    assert_eq!(drift, Drift::default());
}

/// Coordinators start at once: whoever comes second finds what the first made (10058 on the inbox, whose id differs).
async fn of_two_coordinators_that_make_the_streams_one_is_first(release: Release) {
    let nats = Nats::start(release).await;
    let other = nats.server.bus(Role::Coordinator).await;
    let settings = Settings::default();
    let both = tokio::join!(
        nats.coordinator.apply_topology(&settings),
        other.apply_topology(&settings)
    );
    let (one, two) = (both.0.unwrap(), both.1.unwrap());
    assert_eq!(one.0, two.0, "one swarm, one id");
    assert_eq!((one.1.drift, two.1.drift), (vec![], vec![]));
    let own =
        json!({ "name": INBOX, "subjects": ["swarm.submit"], "metadata": { "swarm_id": "other" } });
    let refused = nats.api(&format!("STREAM.CREATE.{INBOX}"), &own).await;
    assert_eq!(error_code(&refused), 10058);
}

/// The bus makes what it does not find, and tells what is missing from a server that fails.
async fn what_is_missing_has_the_codes_that_the_bus_knows(release: Release) {
    let nats = Nats::start(release).await;
    let bus = &nats.coordinator;
    let no_stream = bus.fill(RUNS).await;
    assert!(
        matches!(&no_stream, Err(error) if error.is_missing()),
        "{no_stream:?}"
    );
    bus.apply_topology(&Settings::default()).await.unwrap();
    assert_eq!(bus.work_backlog(&agent()).await.unwrap(), None);
    let question = json!({ "last_by_subj": "swarm.run.none.ev" });
    let no_message = nats.api(&format!("STREAM.MSG.GET.{RUNS}"), &question).await;
    assert_eq!(error_code(&no_message), 10037);
}

/// Why 2.12 is the floor: an older server passes over a setting that it does not know, and the stream is made without it.
async fn a_setting_that_the_server_does_not_know_is_refused(release: Release) {
    let nats = Nats::start(release).await;
    let config = json!({ "name": "X", "subjects": ["x"], "setting_of_later": true });
    let refused = nats.api("STREAM.CREATE.X", &config).await;
    assert_eq!(error_code(&refused), 10025);
}

/// Coordinators know by the consumers which agents there are, and a second consumer on an agent's work is refused: each
/// piece of work has one reader.
async fn consumers_of_agents_are_listed(release: Release) {
    let nats = Nats::with_topology(release).await;
    let bus = &nats.coordinator;
    let settings = Settings::default();
    assert_eq!(bus.work_consumers().await.unwrap(), [] as [&str; 0]);
    for name in ["b", "a"] {
        let agent: AgentName = name.parse().unwrap();
        bus.apply_work_consumer(&agent, &settings).await.unwrap();
    }
    let mut names = bus.work_consumers().await.unwrap();
    names.sort();
    assert_eq!(names, ["a", "b"]);
    let config =
        json!({ "durable_name": "c", "filter_subject": "swarm.work.a", "ack_policy": "explicit" });
    let request = json!({ "stream_name": WORK, "config": config });
    let made = nats
        .api(&format!("CONSUMER.DURABLE.CREATE.{WORK}.c"), &request)
        .await;
    assert_eq!(error_code(&made), 10100);
}

/// `swarm doctor` compares clocks by the time that stands in what the server says of a stream.
async fn the_server_tells_its_time(release: Release) {
    let nats = Nats::start(release).await;
    let observer = nats.server.bus(Role::Observer).await;
    assert_eq!(observer.compare_clocks().await.unwrap(), None);
    let settings = Settings::default();
    nats.coordinator.apply_topology(&settings).await.unwrap();
    let clock = observer.compare_clocks().await.unwrap().unwrap();
    assert!(clock.is_in_step(), "{clock}");
}
