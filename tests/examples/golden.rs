//! Records what this version stores of runs of every kind: `cargo run -p swarm-tests --example golden -- <new folder>`.
//!
//! One file a case, one line a message of the run's log and journals, in the order of the stream. See `tests/golden/README.md`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use async_nats::jetstream;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _, stream};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use swarm_agents::agent_loop::Settings;
use swarm_agents::{Options, Profile, Worker};
use swarm_bus::work_loop::Shutdown;
use swarm_bus::{Role, topology};
use swarm_model::chat::{DoneReason, Look, ModelFacts};
use swarm_model::{ChatError, ChatEvent, ChatModel, ChatRequest, ChatStream, Completion};
use swarm_protocol::InstanceId;
use swarm_tests::{Process, Stack, eventually, holds};
use swarm_tools::Toolset;

const PATIENCE: Duration = Duration::from_secs(20);
const FAST: [&str; 4] = ["--latency", "0ms", "--tokens-per-second", "0"];

#[tokio::main]
async fn main() {
    let folder = std::env::args().nth(1).expect("usage: golden <new folder>");
    let folder = PathBuf::from(folder);
    assert!(
        !folder.exists(),
        "{}: golden files are never changed",
        folder.display()
    );
    std::fs::create_dir_all(&folder).unwrap();

    let mut stack = Stack::start(&FAST).await;
    let _coordinator = stack.coordinator().await;
    let [mut research, _creative, mut critical, _summarizer] = [
        "research_agent",
        "creative_agent",
        "critical_agent",
        "summarizer_agent",
    ]
    .map(|agent| stack.agent(agent));
    stack.agents_are_ready(4).await;
    let recorder = Recorder {
        stack: &stack,
        folder: &folder,
    };

    let rich = json!({
        "task": "Wie arbeitet eine Wärmepumpe? 🔥", "context": "For a \"newcomer\".\n", "labels": { "team": "golden" },
        "timeout": "20m", "budget": { "model_calls": 9 }, "a_later_field": [1],
    });
    recorder
        .ask(
            "single_completed",
            "swarm.ask.research_agent",
            &rich.to_string(),
        )
        .await;
    recorder
        .submit(
            "team_summarized",
            "swarm.submit",
            "Name the pros and cons of heat pumps",
        )
        .await;
    recorder
        .submit("rejected", "swarm.submit.nobody", "A task for nobody")
        .await;
    recorder.deleted().await;
    recorder.canceled(&research).await;

    end(&mut critical).await;
    stack.set("SWARM_AGENTS_CRITICAL_AGENT__MODEL", "nobody:7b");
    let _critical = stack.agent("critical_agent");
    stack.agents_are_ready(4).await;
    let recorder = Recorder {
        stack: &stack,
        folder: &folder,
    };
    recorder
        .submit(
            "team_one_failed",
            "swarm.submit",
            "One of three has no model",
        )
        .await;
    recorder
        .submit(
            "failed",
            "swarm.submit.critical_agent",
            "The only one has no model",
        )
        .await;

    end(&mut research).await;
    Box::pin(recorder.several_turns()).await;
}

async fn end(process: &mut Process) {
    process.signal(Signal::SIGTERM);
    process.ends(PATIENCE).await;
}

struct Recorder<'a> {
    stack: &'a Stack,
    folder: &'a Path,
}

impl Recorder<'_> {
    /// Submits, waits for the end, and records.
    async fn submit(&self, case: &str, subject: &str, payload: &str) {
        let run = self.ticket(subject, payload).await;
        self.record(case, &run).await;
    }

    async fn ask(&self, case: &str, subject: &str, payload: &str) {
        let client = self.stack.server.connect_as("client").await;
        let reply = client
            .request(subject.to_owned(), payload.to_owned().into())
            .await
            .unwrap();
        let headers = reply.headers.expect("headers");
        self.record(case, headers.get("Swarm-Run-Id").expect("a run").as_str())
            .await;
    }

    /// The run of a submission, when it has ended.
    async fn ticket(&self, subject: &str, payload: &str) -> String {
        let client = self.stack.server.connect_as("client").await;
        let reply = client
            .request(subject.to_owned(), payload.to_owned().into())
            .await
            .unwrap();
        let ticket = std::str::from_utf8(&reply.payload).unwrap();
        self.stack.result(ticket).await["run"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    async fn deleted(&self) {
        let run = self
            .ticket("swarm.submit.creative_agent", "To be forgotten")
            .await;
        let (printed, code) = self.stack.swarm(&["runs", "delete", &run]).await;
        assert_eq!(code, 0, "{printed:?}");
        self.record("deleted", &run).await;
    }

    /// Canceled while the model of one agent answers, after another one has answered.
    async fn canceled(&self, research: &Process) {
        research.signal(Signal::SIGSTOP);
        let run = self
            .stack
            .submit(
                "Canceled half way",
                &["--agents", "research_agent,creative_agent"],
            )
            .await;
        eventually("one has answered", PATIENCE, || async {
            holds(self.stack.log_of(&run).await.len() == 2)
        })
        .await;
        let (printed, code) = self.stack.swarm(&["runs", "cancel", &run]).await;
        assert_eq!(code, 0, "{printed:?}");
        self.stack.result(&run).await;
        research.signal(Signal::SIGCONT);
        self.record("canceled", &run).await;
    }

    /// An attempt whose first turns are journal entries of their own.
    async fn several_turns(&self) {
        let bus = self.stack.server.bus(Role::Agent).await;
        let settings = Settings {
            prompt: "You are.".to_owned(),
            model: "scripted:1b".to_owned(),
            max_iterations: 3,
            num_predict: 100,
            tool_mode: None,
        };
        let profile = Profile {
            agent: "research_agent".parse().unwrap(),
            description: "A scripted one".to_owned(),
            capabilities: Vec::new(),
            settings,
            tools: Toolset::default(),
        };
        let options = Options {
            profile,
            instance: InstanceId::random(),
            host: "golden".to_owned(),
            slots: 1,
            drain: Duration::from_secs(1),
            attempt_deadline: Duration::from_secs(60),
            work_ack_wait: topology::Settings::default().work_ack_wait,
        };
        let script = Script(Mutex::new(vec!["So it is.", "", ""]));
        let shutdown = Shutdown::default();
        let worker = Worker::new(bus, std::sync::Arc::new(script), options).run(shutdown.clone());
        let asking = async {
            let (subject, task) = ("swarm.submit.research_agent", "Answer at the third try");
            self.submit("several_turns", subject, task).await;
            shutdown.stop.cancel();
        };
        let (ended, ()) = tokio::join!(worker, asking);
        assert!(ended.unwrap(), "it drained");
    }

    /// Writes all that is stored of a run.
    async fn record(&self, case: &str, run: &str) {
        let client = self.stack.server.connect_as("coordinator").await;
        let stream = jetstream::new(client)
            .get_stream("SWARM_RUNS")
            .await
            .unwrap();
        let last = stream.get_info().await.unwrap().state.last_sequence;
        let prefix = format!("swarm.run.{run}.");
        let mut lines = String::new();
        for seq in 1..=last {
            // Sequences of a deleted run's messages are gone.
            let Ok(message) = stream.get_raw_message(seq).await else {
                continue;
            };
            if !message.subject.starts_with(&prefix) {
                continue;
            }
            let headers = message.headers.iter().map(|(name, values)| {
                (
                    name.to_string(),
                    values
                        .iter()
                        .map(ToString::to_string)
                        .collect::<String>()
                        .into(),
                )
            });
            let headers: BTreeMap<String, Value> = headers.collect();
            let payload = std::str::from_utf8(&message.payload).unwrap();
            let line = json!({ "seq": seq, "subject": message.subject.as_str(), "headers": headers, "payload": payload });
            writeln!(lines, "{line}").unwrap();
        }
        assert!(!lines.is_empty(), "{case}: nothing is stored of run {run}");
        std::fs::write(self.folder.join(format!("{case}.jsonl")), lines).unwrap();
        println!("{case}: {run}");
    }
}

/// A model that answers by the script, from its end.
struct Script(Mutex<Vec<&'static str>>);

impl ChatModel for Script {
    fn chat(&self, _request: ChatRequest) -> ChatStream {
        let mut script = self.0.lock().unwrap();
        let text = script.pop().expect("a line of the script").to_owned();
        let rest = script.len();
        let completion = Completion {
            text,
            thinking: String::new(),
            tool_calls: Vec::new(),
            done_reason: DoneReason::Stop,
            input_tokens: 7 + u64::try_from(rest).unwrap(),
            output_tokens: 3,
            simulated: true,
        };
        stream::iter([Ok(ChatEvent::Done(completion))]).boxed()
    }

    fn facts(&self, _model: &str) -> BoxFuture<'static, Result<ModelFacts, ChatError>> {
        async { Ok(ModelFacts::default()) }.boxed()
    }

    fn look(&self, _model: &str) -> BoxFuture<'static, Result<Look, ChatError>> {
        async {
            Ok(Look {
                has_model: true,
                simulated: true,
            })
        }
        .boxed()
    }
}
