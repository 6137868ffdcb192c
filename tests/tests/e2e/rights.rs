//! What the users of `nats.conf` may not do, and what the service does not do for them.

use std::time::Duration;

use serde_json::{Value, json};
use swarm_tests::{Stack, eventually, holds};

use crate::FAST;

/// Messages in each stream that a client must not write to.
async fn counts(stack: &Stack) -> Value {
    let observer = stack.server.connect_as("observer").await;
    let mut counts = serde_json::Map::new();
    for stream in [
        "SWARM_RUNS",
        "SWARM_WORK",
        "SWARM_DEAD",
        "SWARM_INBOX",
        "OBJ_swarm_blobs",
    ] {
        let reply = observer
            .request(format!("$JS.API.STREAM.INFO.{stream}"), "".into())
            .await
            .unwrap();
        let info: Value = serde_json::from_slice(&reply.payload).unwrap();
        counts.insert(stream.into(), info["state"]["last_seq"].clone());
    }
    Value::Object(counts)
}

#[tokio::test]
async fn a_client_may_not_write_logs_work_or_buckets_nor_touch_streams() {
    let team = Stack::with_team(&FAST).await;
    let client = team.stack.server.connect_as("client").await;
    let run = "0b7e1e0c-3f5b-5e9a-8c49-0d5a6f7b8c9d";
    let forbidden = [
        format!("swarm.run.{run}.ev"),
        format!("swarm.run.{run}.task.t.end"),
        "swarm.work.research_agent".to_owned(),
        "$KV.swarm_agents.research_agent.x".to_owned(),
        "swarm.deadletter.inbox".to_owned(),
        format!("swarm.ctl.cancel.{run}"),
        "swarm.register".to_owned(),
        "$JS.API.CONSUMER.CREATE.SWARM_RUNS".to_owned(),
        "$JS.API.CONSUMER.CREATE.SWARM_RUNS.journal".to_owned(),
        "$JS.API.CONSUMER.DURABLE.CREATE.SWARM_RUNS.journal".to_owned(),
        "$JS.API.CONSUMER.DELETE.SWARM_WORK.research_agent".to_owned(),
        "$JS.API.CONSUMER.MSG.NEXT.SWARM_WORK.research_agent".to_owned(),
        "$JS.API.STREAM.DELETE.SWARM_RUNS".to_owned(),
        "$JS.API.STREAM.PURGE.SWARM_RUNS".to_owned(),
        "$JS.API.STREAM.UPDATE.SWARM_RUNS".to_owned(),
        "$JS.API.STREAM.MSG.DELETE.SWARM_RUNS".to_owned(),
        "$JS.API.STREAM.SNAPSHOT.SWARM_RUNS".to_owned(),
        "$JS.API.STREAM.RESTORE.SWARM_RUNS".to_owned(),
    ];
    let before = counts(&team.stack).await;
    for subject in &forbidden {
        client.publish(subject.clone(), "{}".into()).await.unwrap();
    }
    client.flush().await.unwrap();
    for subject in &forbidden {
        let violation = format!("user:client\" - Publish Violation - Subject \"{subject}\"");
        eventually(&violation, Duration::from_secs(5), || async {
            holds(team.stack.server.log().contains(&violation))
        })
        .await;
    }
    assert_eq!(counts(&team.stack).await, before);
}

#[tokio::test]
async fn a_client_may_not_listen_to_what_is_not_for_it() {
    let stack = Stack::start(&[]).await;
    let _coordinator = stack.coordinator().await;
    let client = stack.server.connect_as("client").await;
    for subject in [
        "swarm.run.>",
        "swarm.work.>",
        "_INBOX_agent.>",
        "_INBOX_coordinator.>",
        ">",
    ] {
        let _subscription = client.subscribe(subject).await.unwrap();
        client.flush().await.unwrap();
        let violation = format!("user:client\" - Subscription Violation - Subject \"{subject}\"");
        eventually(&violation, Duration::from_secs(5), || async {
            holds(stack.server.log().contains(&violation))
        })
        .await;
    }
}

#[tokio::test]
async fn an_agent_may_not_command_dispatch_or_decide() {
    let stack = Stack::start(&[]).await;
    let _coordinator = stack.coordinator().await;
    let agent = stack.server.connect_as("agent").await;
    let run = "0b7e1e0c-3f5b-5e9a-8c49-0d5a6f7b8c9d";
    let forbidden = [
        format!("swarm.run.{run}.ev"),
        "swarm.work.research_agent".to_owned(),
        "swarm.submit".to_owned(),
        "swarm.cancel".to_owned(),
        "swarm.approve".to_owned(),
        "$KV.swarm_tools.x.current".to_owned(),
        "$JS.API.STREAM.PURGE.OBJ_swarm_blobs".to_owned(),
        "$JS.API.CONSUMER.CREATE.OBJ_swarm_blobs.x".to_owned(),
        "$JS.API.STREAM.DELETE.SWARM_RUNS".to_owned(),
        "$JS.API.STREAM.SNAPSHOT.SWARM_RUNS".to_owned(),
        "$JS.API.STREAM.RESTORE.SWARM_RUNS".to_owned(),
        "$JS.API.CONSUMER.DURABLE.CREATE.SWARM_WORK.research_agent".to_owned(),
    ];
    for subject in &forbidden {
        agent.publish(subject.clone(), "{}".into()).await.unwrap();
    }
    agent.flush().await.unwrap();
    for subject in &forbidden {
        let violation = format!("user:agent\" - Publish Violation - Subject \"{subject}\"");
        eventually(&violation, Duration::from_secs(5), || async {
            holds(stack.server.log().contains(&violation))
        })
        .await;
    }
}

#[tokio::test]
async fn no_endpoint_answers_into_a_stream() {
    let team = Stack::with_team(&FAST).await;
    let run = team
        .stack
        .submit("question", &["--agents", "research_agent"])
        .await;
    team.stack.result(&run).await;
    let client = team.stack.server.connect_as("client").await;
    let targets = [
        format!("swarm.run.{run}.ev"),
        format!("swarm.run.{run}.task.research_agent.log"),
        "swarm.work.research_agent".to_owned(),
        "$KV.swarm_agents.research_agent.x".to_owned(),
        "swarm.deadletter.inbox".to_owned(),
        "$O.swarm_blobs.M.x".to_owned(),
    ];
    let endpoints = [
        "swarm.ask",
        "swarm.ask.research_agent",
        "swarm.result",
        "swarm.runs",
        "swarm.cancel",
        "swarm.agents",
        "$SRV.PING",
        "$SRV.INFO",
        "$SRV.STATS",
        "$SRV.PING.swarm",
        "$SRV.INFO.swarm",
        "$SRV.STATS.swarm",
    ];
    let before = counts(&team.stack).await;
    for target in &targets {
        for endpoint in endpoints {
            client
                .publish_with_reply(endpoint, target.clone(), run.clone().into())
                .await
                .unwrap();
        }
    }
    client.flush().await.unwrap();
    // An answered request behind them all shows that they were looked at.
    let reply = client
        .request("swarm.result", run.clone().into())
        .await
        .unwrap();
    assert!(!reply.payload.is_empty());
    assert_eq!(counts(&team.stack).await, before);
}

#[tokio::test]
async fn an_ask_is_answered_to_an_inbox_only() {
    let team = Stack::with_team(&FAST).await;
    let client = team.stack.server.connect_as("client").await;
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Swarm-Reply-To", "swarm.work.research_agent");
    client
        .publish_with_headers("swarm.submit.research_agent", headers, "question".into())
        .await
        .unwrap();
    let result = team.stack.result("seq:1").await;
    assert_eq!(result["status"], "completed");
    let work = counts(&team.stack).await["SWARM_WORK"].clone();
    assert_eq!(work, json!(1), "the dispatch alone is in the work stream");
}

/// The server itself stores its reply where a request names a run's subject as the reply subject (nats-server issue 8274).
#[tokio::test]
async fn what_the_server_stores_in_a_run_for_a_stranger_changes_nothing() {
    let team = Stack::with_team(&["--latency", "700ms", "--tokens-per-second", "0"]).await;
    let stack = &team.stack;
    let run = stack
        .submit("question", &["--agents", "research_agent"])
        .await;
    let client = stack.server.connect_as("client").await;
    let log = format!("swarm.run.{run}.ev");
    eventually("the run is accepted", Duration::from_secs(5), || async {
        holds(!stack.log_of(&run).await.is_empty())
    })
    .await;
    let journal = format!("swarm.run.{run}.task.research_agent");
    let copy_of_the_log = json!({ "last_by_subj": log }).to_string();
    for reply in [&log, &format!("{journal}.log"), &format!("{journal}.end")] {
        let copies = "$JS.API.DIRECT.GET.SWARM_RUNS";
        for (subject, payload) in [(copies, copy_of_the_log.as_str()), ("swarm.submit.x", "{")] {
            let (subject, payload) = (subject.to_owned(), payload.to_owned());
            client
                .publish_with_reply(subject, reply.to_owned(), payload.into())
                .await
                .unwrap();
        }
    }
    client.flush().await.unwrap();

    let result = stack.result(&run).await;
    assert_eq!(result["status"], "completed", "{result}");
    let bus = stack.server.bus(swarm_bus::Role::Client).await;
    let stored = bus.read_runs(&log, 1).await.unwrap();
    let foreign = stored
        .iter()
        .filter(|message| message.kind == swarm_bus::Kind::Foreign);
    assert!(foreign.count() > 0, "nothing was stored: the test is void");
    let numbers: Vec<u64> = stack
        .log_of(&run)
        .await
        .iter()
        .map(|event| event["n"].as_u64().unwrap())
        .collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
    let (watched, code) = stack.swarm(&["runs", "watch", &run]).await;
    assert_eq!(code, 0, "{watched:?}");
    let (explained, code) = stack.swarm(&["runs", "explain", &run]).await;
    assert_eq!(code, 0, "{explained:?}");
}
