//! `swarm doctor` finds what is wrong, names the command that mends it, and finds it mended.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use swarm_tests::process::free_port;
use swarm_tests::server::{USERS, password_variable};
use swarm_tests::{Home, Process, Stack, eventually, holds};

use crate::FAST;

const PATIENCE: Duration = Duration::from_secs(20);

/// A team of one agent, in the configuration and at work.
struct Practice {
    stack: Stack,
    coordinator: Option<Process>,
    agent: Option<Process>,
}

impl Practice {
    /// Everything is in order.
    async fn new() -> Self {
        let mut stack = Stack::start(&FAST).await;
        stack.configure("agents: {research_agent: {}}\nruns: {default_agents: [research_agent]}\n");
        for user in USERS {
            let (variable, password) = password_variable(user);
            stack.set(&variable, &password);
        }
        let coordinator = Some(stack.coordinator().await);
        let agent = Some(stack.agent("research_agent"));
        stack.agents_are_ready(1).await;
        Self {
            stack,
            coordinator,
            agent,
        }
    }

    /// What is wrong: the check, what is said, and what mends it.
    async fn problems(&self) -> Vec<[String; 3]> {
        let (printed, code) = self.stack.swarm(&["doctor", "--output", "json"]).await;
        assert_eq!(printed.err, "", "{printed:?}");
        let said: Value = serde_json::from_str(&printed.out).unwrap();
        let findings = said["findings"].as_array().unwrap();
        let problems: Vec<[String; 3]> = findings
            .iter()
            .filter(|finding| finding["level"] == "problem")
            .map(|finding| {
                ["check", "message", "mend"].map(|name| finding[name].as_str().unwrap().to_owned())
            })
            .collect();
        assert_eq!(code, i32::from(!problems.is_empty()), "{said}");
        problems
    }

    /// What is said to people holds the same, once nothing changes any more.
    async fn says_the_same(&self, problems: &[[String; 3]]) {
        let (printed, code) = self.stack.swarm(&["doctor"]).await;
        assert_eq!(code, i32::from(!problems.is_empty()), "{printed:?}");
        for [check, _, mend] in problems {
            assert!(
                printed.out.contains(&format!("PROBLEM  {check}: ")),
                "{printed:?}"
            );
            assert!(printed.out.contains(&format!("-> {mend}")), "{printed:?}");
        }
    }

    /// Waits until exactly this is wrong.
    async fn finds(&self, check: &str, message: &str, mend: &str) {
        let problems = eventually(check, PATIENCE, || async {
            let problems = self.problems().await;
            (problems.len() == 1).then_some(problems)
        })
        .await;
        self.says_the_same(&problems).await;
        let [[found, said, mends]] = &problems[..] else {
            unreachable!("one was waited for");
        };
        assert_eq!(found, check, "{problems:?}");
        assert!(said.contains(message), "no `{message}` in {problems:?}");
        assert!(mends.contains(mend), "no `{mend}` in {problems:?}");
    }

    /// Waits until nothing is wrong.
    async fn is_well(&self) {
        eventually("nothing is wrong", PATIENCE, || async {
            holds(self.problems().await.is_empty())
        })
        .await;
        self.says_the_same(&[]).await;
    }

    /// Asks the server something as the coordinators' user.
    async fn api(&self, subject: &str, body: &Value) -> Value {
        let client = self.stack.server.connect_as("coordinator").await;
        let reply = client
            .request(subject.to_owned(), body.to_string().into())
            .await
            .unwrap();
        let reply: Value = serde_json::from_slice(&reply.payload).unwrap();
        assert_eq!(reply.get("error"), None, "{reply}");
        reply
    }

    /// Changes settings of a stream behind the coordinator's back.
    async fn change_stream(&self, name: &str, settings: &Value) {
        let info = self
            .api(&format!("$JS.API.STREAM.INFO.{name}"), &json!({}))
            .await;
        let mut config = info["config"].clone();
        for (key, value) in settings.as_object().unwrap() {
            config[key] = value.clone();
        }
        self.api(&format!("$JS.API.STREAM.UPDATE.{name}"), &config)
            .await;
    }

    async fn restart_coordinator(&mut self) {
        self.coordinator = None;
        self.coordinator = Some(self.stack.coordinator().await);
    }
}

#[tokio::test]
async fn who_is_not_there_is_missed() {
    let mut practice = Practice::new().await;
    practice.is_well().await;

    let agent = practice.agent.take().unwrap();
    agent.signal(Signal::SIGTERM);
    practice
        .finds(
            "agents",
            "nobody runs research_agent",
            "`swarm agent research_agent`",
        )
        .await;
    practice.agent = Some(practice.stack.agent("research_agent"));
    practice.is_well().await;

    practice.coordinator = None;
    practice
        .finds(
            "coordinator",
            "no coordinator answers",
            "`swarm coordinator`",
        )
        .await;
    practice.coordinator = Some(practice.stack.coordinator().await);
    practice.is_well().await;

    practice.stack.set("NATS_URL", "nats://127.0.0.1:9");
    practice
        .finds(
            "server",
            "no NATS server at nats://127.0.0.1:9",
            "`swarm up --detach`",
        )
        .await;
}

#[tokio::test]
async fn hosts_and_models_are_looked_at() {
    let mut practice = Practice::new().await;
    practice
        .stack
        .set("SWARM_AGENTS_RESEARCH_AGENT__MODEL", "phi4:14b");
    practice
        .finds(
            "models",
            "no host has phi4:14b, which research_agent needs",
            "`ollama pull phi4:14b`",
        )
        .await;
    practice
        .stack
        .set("SWARM_AGENTS_RESEARCH_AGENT__MODEL", "llama3.2:3b");
    let host = format!("http://127.0.0.1:{}", free_port());
    practice
        .stack
        .set("SWARM_OLLAMA_HOSTS", &format!("[\"{host}\"]"));
    practice.finds("model host", &host, "`ollama serve`").await;
}

#[tokio::test]
async fn hosts_say_what_their_models_can_do() {
    let mut practice = Practice::new().await;
    practice
        .stack
        .configure("agents: {research_agent: {}, critical_agent: {}}\n");
    let told = async |check: &str| -> Vec<String> {
        let said = practice.stack.swarm_json(&["doctor"]).await;
        let findings = said["findings"].as_array().unwrap().iter();
        let about = findings.filter(|finding| finding["check"] == check);
        about
            .map(|finding| finding["message"].as_str().unwrap().to_owned())
            .collect()
    };
    let url = practice.stack.sim.url();
    // The agent that runs has its model loaded before any task.
    let line = format!(
        "at {url}, SIMULATED: loaded llama3.2:3b; 1 at once from each agent process; cloud "
    );
    eventually("the model is loaded", PATIENCE, || async {
        let hosts = told("model host").await;
        holds(hosts.len() == 1 && hosts[0].contains(&line))
    })
    .await;
    let expected = [("gemma2:2b", "no tools"), ("llama3.2:3b", "tools")]
        .map(|(model, tools)| format!("{model} at {url} takes {tools}; window 8192 tokens"));
    assert_eq!(told("models").await, expected);
}

#[tokio::test]
async fn logins_that_do_not_fit_are_named_by_role() {
    let mut practice = Practice::new().await;
    for role in ["coordinator", "agent", "observer"] {
        let (variable, password) = password_variable(role);
        practice.stack.set(&variable, "wrong");
        practice
            .finds(
                "users",
                &format!("login of user `{role}`"),
                &format!("set {variable}"),
            )
            .await;
        practice.stack.set(&variable, &password);
    }
    practice.is_well().await;
}

#[tokio::test]
async fn drift_is_named_by_stream_and_setting_and_a_coordinator_mends_it() {
    let mut practice = Practice::new().await;
    let drifted = json!({ "max_bytes": 1024 * 1024 * 1024, "discard": "old" });
    practice.change_stream("SWARM_RUNS", &drifted).await;
    practice
        .finds(
            "streams",
            "stream SWARM_RUNS: discard, max_bytes",
            "`swarm coordinator`",
        )
        .await;
    practice.restart_coordinator().await;
    practice.is_well().await;
}

#[tokio::test]
async fn dead_letters_are_counted_shown_and_removed() {
    let practice = Practice::new().await;
    let coordinator = practice.stack.server.connect_as("coordinator").await;
    coordinator
        .publish("swarm.work.research_agent", "nonsense".into())
        .await
        .unwrap();
    coordinator.flush().await.unwrap();
    practice
        .finds("dead letters", "1 in SWARM_DEAD", "`swarm dead list`")
        .await;
    // What is said to mend it does.
    let [[_, _, mend]] = &practice.problems().await[..] else {
        panic!("one problem");
    };
    let commands: Vec<&str> = mend.split('`').skip(1).step_by(2).collect();
    let [list, _requeue, drop] = commands[..] else {
        panic!("three commands: {mend}");
    };
    for (command, shows) in [(list, "this is no work"), (drop, "1 dropped")] {
        let command = command.replace(" ID", " 1");
        let words: Vec<&str> = command.split(' ').skip(1).collect();
        let (printed, code) = practice.stack.swarm(&words).await;
        assert!(
            code == 0 && printed.out.contains(shows),
            "{command}: {printed:?}"
        );
    }
    practice.is_well().await;
}

#[tokio::test]
async fn a_run_that_waits_for_long_is_stuck() {
    let mut practice = Practice::new().await;
    // Asked to, it takes its card with it.
    let mut agent = practice.agent.take().unwrap();
    agent.signal(Signal::SIGTERM);
    agent.ends(PATIENCE).await;
    let run = practice.stack.submit("t", &[]).await;
    let accepted = eventually("the run is accepted", PATIENCE, || async {
        practice.stack.log_of(&run).await.first().cloned()
    })
    .await;
    // The same run as it would stand there had it begun two minutes ago.
    let old = uuid::Uuid::new_v4().to_string();
    let past = |time: &Value| {
        let time: swarm_protocol::Timestamp = serde_json::from_value(time.clone()).unwrap();
        swarm_protocol::Timestamp::from_millis(time.as_millis() - 120_000)
    };
    let mut event = accepted.clone();
    event["run"] = json!(old);
    event["at"] = json!(past(&accepted["at"]));
    let client = practice.stack.server.connect_as("coordinator").await;
    let get = format!("$JS.API.DIRECT.GET.SWARM_RUNS.swarm.run.{run}.ev");
    let stored = client.request(get, "".into()).await.unwrap();
    let summary = stored
        .headers
        .unwrap()
        .get("Swarm-Summary")
        .unwrap()
        .to_string();
    let mut summary: Value = serde_json::from_str(&summary).unwrap();
    summary["run"] = json!(old);
    summary["seq"] = Value::Null;
    summary["submitted_at"] = event["at"].clone();
    summary["at"] = event["at"].clone();
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Swarm-Summary", summary.to_string().as_str());
    client
        .publish_with_headers(
            format!("swarm.run.{old}.ev"),
            headers,
            event.to_string().into(),
        )
        .await
        .unwrap();
    client.flush().await.unwrap();
    eventually("it is found", PATIENCE, || async {
        let problems = practice.problems().await;
        holds(problems.iter().any(|[check, said, mend]| {
            check == "runs"
                && said == &format!("{old} waits for research_agent")
                && mend == &format!("`swarm runs explain {}`", &old[..8])
        }))
    })
    .await;
    let problems = practice.problems().await;
    assert!(
        !problems.iter().any(|[_, said, _]| said.contains(&run)),
        "{problems:?}"
    );
}

#[tokio::test]
async fn a_stream_that_is_nearly_full_holds_submissions_and_is_named() {
    let mut practice = Practice::new().await;
    practice
        .change_stream("SWARM_RUNS", &json!({ "max_bytes": 300_000 }))
        .await;
    practice.agent.take().unwrap().kill_9();
    let client = practice.stack.server.connect_as("client").await;
    let task = "x".repeat(240_000);
    client.request("swarm.submit", task.into()).await.unwrap();
    let problems = eventually("it is found", PATIENCE, || async {
        let problems = practice.problems().await;
        problems
            .iter()
            .any(|[check, ..]| check == "room")
            .then_some(problems)
    })
    .await;
    let [_, said, mend] = problems.iter().find(|[check, ..]| check == "room").unwrap();
    assert!(said.starts_with("SWARM_RUNS is 8"), "{problems:?}");
    assert!(mend.contains("`swarm runs delete RUN`"), "{problems:?}");
    eventually("submissions are held", PATIENCE, || async {
        let problems = practice.problems().await;
        holds(problems.iter().any(|[check, ..]| check == "submissions"))
    })
    .await;
    let (shown, _) = practice.stack.swarm(&["status"]).await;
    assert!(shown.out.contains("submissions are held"), "{shown:?}");
}

#[tokio::test]
async fn more_slots_than_a_host_serves_are_noted() {
    let mut practice = Practice::new().await;
    let cards = practice.stack.swarm_json(&["agents", "list"]).await;
    // Four instances that do not say that they are simulated.
    let agent = practice.stack.server.connect_as("agent").await;
    for n in 0..4 {
        let mut card = cards["items"][0].clone();
        card["instance"] = json!(format!("instance{n}"));
        card["simulated"] = json!(false);
        let subject = format!("$KV.swarm_agents.research_agent.instance{n}");
        agent
            .publish(subject, card.to_string().into())
            .await
            .unwrap();
    }
    agent.flush().await.unwrap();
    let note = async |stack: &Stack| {
        let said = stack.swarm_json(&["doctor"]).await;
        let findings = said["findings"].as_array().unwrap();
        findings
            .iter()
            .find(|finding| finding["check"] == "slots")
            .cloned()
    };
    let slots = eventually("it is noted", PATIENCE, || async {
        note(&practice.stack).await
    })
    .await;
    assert_eq!(slots["level"], "note", "{slots}");
    let said = slots["message"].as_str().unwrap();
    assert!(
        said.contains("llama3.2:3b 4 times at once, the hosts serve 1"),
        "{slots}"
    );
    assert!(
        slots["mend"]
            .as_str()
            .unwrap()
            .contains("OLLAMA_NUM_PARALLEL"),
        "{slots}"
    );
    practice.stack.set("OLLAMA_NUM_PARALLEL", "4");
    assert_eq!(note(&practice.stack).await, None);
}

#[tokio::test]
async fn simulated_models_are_noted_and_nothing_is_wrong() {
    let home = Home::default();
    home.up(&[]).await;
    let (printed, code) = home.swarm(&["doctor"]).await;
    assert_eq!(code, 0, "{printed:?}");
    assert!(
        printed.out.contains("note     models: SIMULATED"),
        "{}",
        printed.out
    );
    assert!(
        printed.out.ends_with("nothing is wrong\n"),
        "{}",
        printed.out
    );
}
