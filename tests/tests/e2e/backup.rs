//! A swarm that is taken down in the middle of its work, and goes on from a backup on another server.

use std::path::Path;
use std::time::Duration;

use futures_util::StreamExt as _;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use swarm_protocol::RunId;
use swarm_tests::nats_cli::{Printed, nats};
use swarm_tests::server::password;
use swarm_tests::{Process, Server, Sim, Stack, eventually, holds};

use crate::FAST;

const PATIENCE: Duration = Duration::from_secs(20);
const TEAM: [&str; 4] = [
    "research_agent",
    "creative_agent",
    "critical_agent",
    "summarizer_agent",
];

/// The CLI as the user of backups: `docs/operations.md` has the same lines.
async fn as_coordinator(server: &Server, arguments: &[&str]) -> Printed {
    let password = password("coordinator");
    let login = ["--user", "coordinator", "--password", &password];
    let inbox = ["--inbox-prefix", "_INBOX_coordinator"];
    let printed = nats(&server.url(), &[&login[..], &inbox, arguments].concat()).await;
    assert!(printed.ok, "{printed:?}");
    printed
}

/// Submits with the plain CLI; gives the run that it became.
async fn submit(stack: &Stack, subject: &str, task: &str, run: Option<&RunId>) -> RunId {
    let header = run.map(|run| format!("Swarm-Run-Id:{run}"));
    let mut arguments = vec!["req", subject, task];
    arguments.extend(header.iter().flat_map(|header| ["-H", header.as_str()]));
    let printed = stack.nats(&arguments).await;
    assert!(printed.ok, "{printed:?}");
    let ticket = printed
        .out
        .lines()
        .find(|line| line.starts_with('{'))
        .expect("a ticket");
    let ticket: Value = serde_json::from_str(ticket).unwrap();
    match run {
        Some(run) => *run,
        None => {
            let inbox = stack.observe("STREAM.INFO.SWARM_INBOX").await;
            let swarm = inbox["config"]["metadata"]["swarm_id"].as_str().unwrap();
            RunId::from_sequence(swarm.parse().unwrap(), ticket["seq"].as_u64().unwrap())
        }
    }
}

async fn end(process: &mut Process) {
    process.signal(Signal::SIGTERM);
    assert_eq!(process.ends(PATIENCE).await.code(), Some(0));
}

async fn is_at_work(sim: &Sim) {
    eventually("the model is at work", PATIENCE, || async {
        holds(sim.chats("running").await.len() == 1)
    })
    .await;
}

async fn has_events(stack: &Stack, run: RunId, count: usize) {
    eventually("the log grows", PATIENCE, || async {
        holds(stack.log_of(&run.to_string()).await.len() == count)
    })
    .await;
}

/// Everything that is stored of a run.
async fn story(stack: &Stack, run: RunId) -> Vec<Value> {
    let run = run.to_string();
    let mut story = stack.log_of(&run).await;
    for task in TEAM.into_iter().chain(["aggregate"]) {
        story.extend(stack.journal_of(&run, task).await);
    }
    story
}

/// The runs of a swarm that was stopped in the middle of its work.
struct Runs {
    /// Ended before the backup.
    ended: [RunId; 2],
    /// Its work waits for an agent that nobody ran.
    waiting: RunId,
    /// Two of its three agents have answered, the third one's work waits.
    half: RunId,
    /// Its worker was killed in the middle of the model's answer.
    taken: RunId,
    /// Its attempt has ended, and no coordinator has seen that.
    unseen: RunId,
    /// Submitted while no coordinator ran, one of them under an id of its own.
    inbox: [RunId; 2],
}

async fn work_and_stop(stack: &mut Stack) -> Runs {
    let mut coordinator = stack.coordinator().await;
    let [mut research, mut creative, mut critical, mut summarizer] =
        TEAM.map(|agent| stack.agent(agent));
    stack.agents_are_ready(4).await;
    let named = RunId::random();
    let ended = [
        submit(stack, "swarm.submit.research_agent", "ended", Some(&named)).await,
        submit(stack, "swarm.submit", "ended, by all", None).await,
    ];
    for run in ended {
        let result = stack.result(&run.to_string()).await;
        assert_eq!(result["status"], "completed", "{result}");
    }

    end(&mut research).await;
    let waiting = submit(stack, "swarm.submit.research_agent", "waiting", None).await;
    let half = submit(stack, "swarm.submit", "half done", None).await;
    has_events(stack, half, 3).await;

    end(&mut critical).await;
    let slow = Sim::start(stack.folder(), &["--latency", "600s"]).await;
    let hosts = format!("[\"{}\"]", slow.url());
    stack.set("SWARM_OLLAMA_HOSTS", &hosts);
    let mut critical = stack.agent("critical_agent");
    let taken = submit(stack, "swarm.submit.critical_agent", "taken", None).await;
    is_at_work(&slow).await;
    let task = "[[sim:latency=1s]] unseen";
    let unseen = submit(stack, "swarm.submit.creative_agent", task, None).await;
    is_at_work(&stack.sim).await;
    coordinator.kill_9();
    critical.kill_9();
    let journal = unseen.to_string();
    eventually("the attempt ends", PATIENCE, || async {
        holds(stack.journal_of(&journal, "creative_agent").await.len() == 1)
    })
    .await;
    end(&mut creative).await;
    end(&mut summarizer).await;

    let own = RunId::random();
    let inbox = [
        submit(stack, "swarm.submit.creative_agent", "in the inbox", None).await,
        submit(stack, "swarm.submit", "in the inbox, named", Some(&own)).await,
    ];
    Runs {
        ended,
        waiting,
        half,
        taken,
        unseen,
        inbox,
    }
}

async fn state_of(stack: &Stack, stream: &str) -> Value {
    let info = stack.observe(&format!("STREAM.INFO.{stream}")).await;
    let state = &info["state"];
    json!([
        state["messages"],
        state["last_seq"],
        info["config"]["metadata"]["swarm_id"]
    ])
}

async fn states(stack: &Stack) -> Vec<Value> {
    let mut states = Vec::new();
    for stream in ["SWARM_INBOX", "SWARM_RUNS", "SWARM_WORK", "SWARM_DEAD"] {
        states.push(state_of(stack, stream).await);
    }
    states
}

async fn stack(folder: &Path) -> Stack {
    std::fs::create_dir_all(folder).unwrap();
    let mut stack = Stack::start(&FAST).await;
    stack.set("SWARM_NATS_WORK_ACK_WAIT", "2s");
    stack
}

#[tokio::test]
async fn every_open_run_ends_after_a_restore_on_an_empty_server() {
    let folder = tempfile::TempDir::new().unwrap();
    let backup = folder.path().join("backup");
    let backup = backup.to_str().unwrap();
    let mut old = stack(folder.path()).await;
    let runs = work_and_stop(&mut old).await;
    as_coordinator(&old.server, &["backup", "account", backup, "--force"]).await;
    let mut before = Vec::new();
    for run in runs.ended {
        before.push(story(&old, run).await);
    }
    let stored = states(&old).await;
    let (in_inbox, in_work) = (&stored[0][0], &stored[2][0]);
    assert_eq!((in_inbox, in_work), (&json!(2), &json!(3)), "{stored:?}");
    drop(old);

    let new = stack(folder.path()).await;
    as_coordinator(&new.server, &["backup", "restore", "account", backup]).await;
    assert_eq!(
        states(&new).await,
        stored,
        "sequences and swarm_id are kept"
    );
    let client = new.server.connect_as("client").await;
    let mut live = client.subscribe("swarm.event.>").await.unwrap();
    client.flush().await.unwrap();
    let coordinator = new.coordinator().await;
    let _agents = TEAM.map(|agent| new.agent(agent));

    let single = [runs.waiting, runs.taken, runs.unseen, runs.inbox[0]];
    let team = [runs.half, runs.inbox[1]];
    for (runs, events) in [(&single[..], 2), (&team[..], 5)] {
        for run in runs {
            let result = new.result(&run.to_string()).await;
            assert_eq!(result["status"], "completed", "{result}");
            is_whole(&new, *run, events).await;
        }
    }
    for (run, before) in runs.ended.into_iter().zip(before) {
        assert_eq!(story(&new, run).await, before);
    }
    let listed = new.swarm_json(&["runs", "list"]).await;
    assert_eq!(
        listed["items"].as_array().map(Vec::len),
        Some(8),
        "{listed}"
    );

    // What had an end before is not thought about again: one call each for the run that waited and the one whose worker was
    // killed, two for the half one, none for the unseen end, one and four for those in the inbox.
    assert_eq!(new.sim.chats("done").await.len(), 9);
    let log = coordinator.log();
    assert!(!log.contains(" made=") && !log.contains("drift"), "{log}");
    let republished = live.next().await.expect("an event");
    assert!(
        republished
            .headers
            .is_some_and(|headers| headers.get("Nats-Sequence").is_some())
    );

    ids_are_still_known(&new, runs.ended[0], stored[0][1].as_u64().unwrap()).await;
}

/// Gapless events, and one end for each task.
async fn is_whole(stack: &Stack, run: RunId, events: u64) {
    let run = run.to_string();
    let log = stack.log_of(&run).await;
    let numbers: Vec<u64> = log.iter().filter_map(|event| event["n"].as_u64()).collect();
    assert_eq!(numbers, (1..=events).collect::<Vec<_>>(), "{log:?}");
    let steps = log[0]["data"]["definition"]["steps"].as_array().unwrap();
    for step in steps {
        let task = step["id"].as_str().unwrap();
        let journal = stack.journal_of(&run, task).await;
        let ends: Vec<&Value> = journal.iter().map(|entry| &entry["type"]).collect();
        assert_eq!(ends, ["completed"], "{task}: {journal:?}");
    }
}

/// The same id is the same run, also behind the restore; a new submission takes no number that was used.
async fn ids_are_still_known(stack: &Stack, run: RunId, last: u64) {
    let before = story(stack, run).await;
    submit(stack, "swarm.submit.research_agent", "ended", Some(&run)).await;
    eventually("the repeated submission is taken", PATIENCE, || async {
        holds(state_of(stack, "SWARM_INBOX").await[0] == 0)
    })
    .await;
    assert_eq!(story(stack, run).await, before);
    assert_eq!(state_of(stack, "SWARM_INBOX").await[1], last + 1);
}
