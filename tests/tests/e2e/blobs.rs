//! Payloads over 128 KiB: by reference, checked, and gone with their run.

use std::time::Duration;

use serde_json::{Value, json};
use swarm_bus::{Bus, Outgoing, Role};
use swarm_protocol::trace::TraceParent;
use swarm_protocol::{BlobRef, RunId, Submission};
use swarm_tests::server::password;
use swarm_tests::{Process, Stack, eventually, holds};

use crate::FAST;

/// Words that nowhere repeat themselves, of so many bytes together.
fn words(bytes: usize) -> String {
    let mut text = String::new();
    for n in 0.. {
        if text.len() >= bytes {
            break;
        }
        text.push_str(&format!("{n:05}").repeat(26));
        text.push(' ');
    }
    text.trim_end().to_owned()
}

struct Swarm {
    stack: Stack,
    _coordinator: Process,
    _agents: Vec<Process>,
}

/// A coordinator and agents with a large window, whose model says this.
async fn swarm(agents: &[&str], says: &str) -> Swarm {
    let mut stack = Stack::start(&FAST).await;
    stack.set("SWARM_OLLAMA_NUM_CTX", "131072");
    let coordinator = stack.coordinator().await;
    let agents: Vec<Process> = agents.iter().map(|agent| stack.agent(agent)).collect();
    stack.agents_are_ready(agents.len()).await;
    let rules = json!({ "rules": [{ "then": [{ "text": says }] }] });
    stack.sim.follow(&rules.to_string()).await;
    Swarm {
        stack,
        _coordinator: coordinator,
        _agents: agents,
    }
}

impl Swarm {
    /// Submits a task with a context for the research agent.
    async fn submit(&self, context: &str) -> String {
        let file = self.stack.folder().join("context.txt");
        std::fs::write(&file, context).unwrap();
        let file = file.to_str().unwrap();
        let more = ["--agents", "research_agent", "--context-file", file];
        self.stack.submit("What does it say?", &more).await
    }

    /// What `nats object get` writes.
    async fn object(&self, name: &str) -> Vec<u8> {
        let file = self.stack.folder().join("object");
        let file = file.to_str().unwrap();
        let get = ["object", "get", "swarm_blobs", name, "--output", file];
        let login = ["--user", "coordinator", "--password"];
        let password = password("coordinator");
        let more = ["--inbox-prefix", "_INBOX_coordinator", "--force"];
        let all = [&get[..], &login, &[&password], &more].concat();
        let printed = self.stack.nats(&all).await;
        std::fs::read(file).unwrap_or_else(|error| panic!("{error}: {printed:?}"))
    }

    /// Subjects of the store and how many messages each has.
    async fn stored(&self) -> serde_json::Map<String, Value> {
        let observer = self.stack.server.connect_as("observer").await;
        let api = "$JS.API.STREAM.INFO.OBJ_swarm_blobs";
        let asked = r#"{"subjects_filter":">"}"#;
        let reply = observer.request(api, asked.into()).await.unwrap();
        let info: Value = serde_json::from_slice(&reply.payload).unwrap();
        let subjects = info["state"]["subjects"].as_object();
        subjects.cloned().unwrap_or_default()
    }

    async fn coordinator(&self) -> Bus {
        self.stack.server.bus(Role::Coordinator).await
    }

    /// The subject of a blob's chunks.
    async fn chunks(&self) -> String {
        let subjects = self.stored().await;
        let chunks = subjects.keys().find(|subject| subject.contains(".C."));
        chunks.unwrap().clone()
    }

    async fn purge(&self, subject: &str) {
        let user = self.stack.server.connect_as("coordinator").await;
        let request = json!({ "filter": subject }).to_string();
        let api = "$JS.API.STREAM.PURGE.OBJ_swarm_blobs";
        let reply = user.request(api, request.into()).await.unwrap();
        let reply: Value = serde_json::from_slice(&reply.payload).unwrap();
        assert_eq!(reply["success"], true, "{reply}");
    }
}

fn blob(value: &Value) -> BlobRef {
    serde_json::from_value(value.clone()).unwrap_or_else(|error| panic!("{error}: {value}"))
}

#[tokio::test]
async fn a_large_context_reaches_the_agent_and_goes_with_its_run() {
    let swarm = swarm(&["research_agent"], "Much.").await;
    let context = words(300 * 1024);
    let run = swarm.submit(&context).await;
    let result = swarm.stack.result(&run).await;
    assert_eq!(result["status"], "completed", "{result}");
    let bodies = swarm.stack.sim.bodies("llama3.2:3b").await;
    let heard = bodies[0]["messages"].to_string();
    assert!(heard.contains(&context), "the model got all of it");

    let log = swarm.stack.log_of(&run).await;
    let accepted = &log[0]["data"];
    assert_eq!(accepted["submission"].get("context"), None);
    let known = blob(&accepted["context_ref"]);
    assert!(known.is_of(context.as_bytes()), "{known:?}");
    let id = RunId::parse(&run).unwrap();
    assert_eq!(swarm.object(&known.name(id)).await, context.as_bytes());

    // The same submission again is the same run, and the same blob.
    let before = swarm.stored().await;
    assert_eq!(before.len(), 2, "{before:?}");
    let submission =
        json!({ "task": "What does it say?", "agents": ["research_agent"], "context": context });
    let submission: Submission = serde_json::from_value(submission).unwrap();
    let again = Outgoing::json("swarm.submit", &submission, TraceParent::root()).unwrap();
    let client = swarm.stack.server.bus(Role::Client).await;
    client
        .store(again.header("Swarm-Run-Id", id))
        .await
        .unwrap();
    eventually("it is taken", Duration::from_secs(10), || async {
        let inbox = swarm.stack.observe("STREAM.INFO.SWARM_INBOX").await;
        let taken = inbox["state"]["messages"] == 0 && inbox["state"]["last_seq"] == 2;
        holds(taken)
    })
    .await;
    assert_eq!(swarm.stored().await, before);
    let dead = swarm.stack.observe("STREAM.INFO.SWARM_DEAD").await;
    assert_eq!(dead["state"]["messages"], 0, "it is no conflict");

    let (deleted, code) = swarm.stack.swarm(&["runs", "delete", &run]).await;
    assert_eq!(code, 0, "{deleted:?}");
    assert_eq!(swarm.stored().await, serde_json::Map::new());
}

#[tokio::test]
async fn a_large_answer_arrives_whole_wherever_it_is_asked_for() {
    let said = words(190 * 1024);
    let swarm = swarm(&["research_agent"], &said).await;
    let stack = &swarm.stack;
    let asked = ["run", "Say much.", "--agents", "research_agent"];
    let (printed, code) = stack.swarm(&asked).await;
    assert_eq!(code, 0, "{}", printed.err);
    assert!(printed.out.contains(&said), "{} bytes", printed.out.len());

    let result = stack.swarm_json(&["runs", "show", "seq:1"]).await;
    let known = blob(&result["ref"]);
    assert_eq!(result["refs"], json!([known]));
    assert_eq!(result["answers"][0]["ref"], json!(known));
    let text = result["text"].as_str().unwrap();
    assert!(text.ends_with('…') && text.len() < 2000, "{text}");
    let run = RunId::parse(result["run"].as_str().unwrap()).unwrap();
    let object = swarm.object(&known.name(run)).await;
    assert!(known.is_of(&object));
    assert!(String::from_utf8(object).unwrap().contains(&said));
    let (shown, _) = stack.swarm(&["runs", "show", "seq:1"]).await;
    assert!(shown.out.contains(&said));

    let client = stack.server.connect_as("client").await;
    let reply = client
        .request("swarm.ask.research_agent", "Say much.".into())
        .await
        .unwrap();
    let text = String::from_utf8(reply.payload.to_vec()).unwrap();
    assert!(text.contains(&said), "{} bytes", text.len());
}

#[tokio::test]
async fn answers_that_are_larger_than_a_message_complete_together() {
    let said = words(190 * 1024);
    let swarm = swarm(&["research_agent"], &said).await;
    let six = ["research_agent"; 6].join(",");
    let asked = json!({ "task": "Say much.", "agents": six.split(',').collect::<Vec<_>>(), "aggregate": "concat" });
    let client = swarm.stack.server.connect_as("client").await;
    let reply = client
        .request("swarm.ask", asked.to_string().into())
        .await
        .unwrap();
    let header = |name: &str| {
        let headers = reply.headers.as_ref().unwrap();
        headers.get(name).map(ToString::to_string)
    };
    assert_eq!(header("Swarm-Status").as_deref(), Some("completed"));
    let run = header("Swarm-Run-Id").unwrap();
    let result = swarm.stack.result(&run).await;
    let known = blob(&result["ref"]);
    assert!(known.bytes > 6 * 190 * 1024);
    assert_eq!(
        header("Swarm-Blob"),
        Some(format!("{run}/{}", known.sha256))
    );
    // Six times the same text is one blob.
    assert_eq!(result["refs"].as_array().unwrap().len(), 2, "{result}");
    let (shown, code) = swarm.stack.swarm(&["runs", "show", &run]).await;
    assert_eq!(code, 0, "{}", shown.err);
    assert_eq!(shown.out.matches(&said).count(), 6);

    swarm.stack.swarm(&["runs", "delete", &run]).await;
    assert_eq!(swarm.stored().await, serde_json::Map::new());
}

#[tokio::test]
async fn a_context_that_is_gone_or_altered_fails_the_task_by_name() {
    // Nobody runs the agent yet: the context is lost while its task waits.
    let swarm = swarm(&[], "Much.").await;
    let lost = swarm.submit(&words(200 * 1024)).await;
    eventually("a context", Duration::from_secs(10), || async {
        holds(swarm.stored().await.len() == 2)
    })
    .await;
    swarm.purge("$O.swarm_blobs.>").await;
    let altered = swarm.submit(&words(250 * 1024)).await;
    eventually("another", Duration::from_secs(10), || async {
        holds(swarm.stored().await.len() == 2)
    })
    .await;
    let chunks = swarm.chunks().await;
    swarm.purge(&chunks).await;
    let other = Outgoing::new(chunks, "something else", TraceParent::root());
    swarm.coordinator().await.store(other).await.unwrap();
    let _agent = swarm.stack.agent("research_agent");
    for (run, code) in [(lost, "SW-BLOB-MISSING"), (altered, "SW-BLOB-ALTERED")] {
        let result = swarm.stack.result(&run).await;
        assert_eq!(result["status"], "failed", "{result}");
        assert_eq!(result["reason"]["code"], code, "{result}");
    }
}

#[tokio::test]
async fn an_answer_that_is_gone_is_named() {
    let swarm = swarm(&["research_agent"], &words(190 * 1024)).await;
    let stack = &swarm.stack;
    let run = stack
        .submit("Say much.", &["--agents", "research_agent"])
        .await;
    stack.result(&run).await;
    swarm.purge("$O.swarm_blobs.>").await;
    let (shown, code) = stack.swarm(&["runs", "show", &run]).await;
    assert_eq!(code, 1, "{shown:?}");
    assert!(shown.err.contains("is not in swarm_blobs"), "{shown:?}");
    let as_stored = stack.swarm_json(&["runs", "show", &run]).await;
    assert_eq!(as_stored["status"], "completed");
}

#[tokio::test]
async fn a_run_that_is_done_again_keeps_its_own_blobs() {
    let swarm = swarm(&["research_agent"], &words(190 * 1024)).await;
    let stack = &swarm.stack;
    let file = stack.folder().join("context.txt");
    std::fs::write(&file, words(200 * 1024)).unwrap();
    let file = file.to_str().unwrap();
    let agents = "research_agent,creative_agent";
    let more = [
        "--agents",
        agents,
        "--aggregate",
        "concat",
        "--context-file",
        file,
    ];
    let more = [&more[..], &["--min-answers", "2"]].concat();
    let run = stack.submit("Say much.", &more).await;
    eventually("one answer", Duration::from_secs(30), || async {
        let log = stack.log_of(&run).await;
        holds(log.iter().any(|event| event["type"] == "step_completed"))
    })
    .await;
    let (canceled, code) = stack.swarm(&["runs", "cancel", &run]).await;
    assert_eq!(code, 0, "{canceled:?}");
    stack.result(&run).await;
    let again = stack.swarm_json(&["runs", "retry", &run]).await;
    let again = again["run"].as_str().unwrap().to_owned();
    let (deleted, code) = stack.swarm(&["runs", "delete", &run]).await;
    assert_eq!(code, 0, "{deleted:?}");
    let _creative = stack.agent("creative_agent");
    let result = stack.result(&again).await;
    assert_eq!(result["status"], "completed", "{result}");
    let (shown, code) = stack.swarm(&["runs", "show", &again]).await;
    assert_eq!(code, 0, "{}", shown.err);
    assert_eq!(shown.out.matches(&words(190 * 1024)).count(), 2);
}

#[tokio::test]
async fn a_client_reads_blobs_and_can_neither_write_nor_replace_one() {
    let swarm = swarm(&["research_agent"], "Much.").await;
    let context = words(200 * 1024);
    let run = swarm.submit(&context).await;
    swarm.stack.result(&run).await;
    let log = swarm.stack.log_of(&run).await;
    let known = blob(&log[0]["data"]["context_ref"]);
    let subjects: Vec<String> = swarm.stored().await.keys().cloned().collect();
    let client = swarm.stack.server.connect_as("client").await;
    for user in ["client", "gateway", "observer"] {
        let stranger = swarm.stack.server.connect_as(user).await;
        for subject in &subjects {
            stranger.publish(subject.clone(), "x".into()).await.unwrap();
            stranger.flush().await.unwrap();
            let violation = format!("user:{user}\" - Publish Violation - Subject \"{subject}\"");
            eventually(&violation, Duration::from_secs(5), || async {
                holds(swarm.stack.server.log().contains(&violation))
            })
            .await;
        }
    }
    // What the server itself stores where a request names a subject of the store as its reply subject.
    for subject in &subjects {
        let reply = subject.clone();
        client
            .publish_with_reply("swarm.submit.x", reply, "{".into())
            .await
            .unwrap();
    }
    client.flush().await.unwrap();
    let before = 3;
    eventually("answers are stored", Duration::from_secs(5), || async {
        let all = swarm.stored().await;
        let count: u64 = all.values().filter_map(Value::as_u64).sum();
        holds(count == before + 2)
    })
    .await;
    let bus = swarm.stack.server.bus(Role::Client).await;
    let read = bus
        .get_blob(RunId::parse(&run).unwrap(), &known)
        .await
        .unwrap();
    assert_eq!(read, context.as_bytes());
}
