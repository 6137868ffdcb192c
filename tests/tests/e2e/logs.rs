//! Logs of roles: whatever is about a run says which one, and no password is ever in them.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::Value;
use swarm_tests::server::{USERS, password, password_variable};
use swarm_tests::{Home, Process, Stack, eventually, holds};

use crate::FAST;

const PATIENCE: Duration = Duration::from_secs(20);

/// Starts a role whose lines are documents.
fn role(stack: &Stack, arguments: &[&str], user: &str) -> Process {
    let mut command = stack.command(&[arguments, &["--log", "json", "-v"]].concat());
    let (variable, password) = password_variable(user);
    command.env(variable, password);
    Process::start(user, command, stack.folder())
}

/// A field of a log line, its own or of a span around it.
fn field<'a>(line: &'a Value, name: &str) -> Option<&'a str> {
    let spans = line["spans"].as_array().into_iter().flatten();
    let mut around = spans.filter_map(|span| span[name].as_str());
    line["fields"][name].as_str().or(around.next_back())
}

/// The lines of a log that are about a run, whichever way they say it.
fn about(process: &Process, run: &str) -> Vec<Value> {
    let log = process.log();
    let lines = log.lines().filter(|line| line.contains(run));
    lines
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

#[tokio::test]
async fn every_line_about_a_run_has_run_task_and_agent() {
    let mut stack = Stack::start(&FAST).await;
    stack.set("SWARM_RUNS_RETRY__MAX", "0");
    let coordinator = role(&stack, &["coordinator"], "coordinator");
    let agent = role(&stack, &["agent", "research_agent"], "agent");
    stack.agents_are_ready(1).await;
    let run = stack
        .submit("[[sim:cut]] question", &["--agents", "research_agent"])
        .await;
    assert_eq!(stack.result(&run).await["status"], "failed");
    let (decided, worked) = eventually("both have said so", PATIENCE, || async {
        let (decided, worked) = (about(&coordinator, &run), about(&agent, &run));
        (decided.len() >= 2 && worked.len() >= 2).then_some((decided, worked))
    })
    .await;
    for line in decided.iter().chain(&worked) {
        assert_eq!(field(line, "run"), Some(run.as_str()), "{line}");
    }
    let said = |lines: &[Value], text: &str| {
        let about_it = |line: &&Value| line["fields"]["message"].as_str() == Some(text);
        lines.iter().filter(about_it).cloned().collect::<Vec<_>>()
    };
    // Accepted by a submission; ended by the journal of a task.
    let events = said(&decided, "decided");
    let names: Vec<&str> = events
        .iter()
        .filter_map(|line| field(line, "event"))
        .collect();
    assert_eq!(names, ["accepted", "failed"], "{decided:?}");
    let failures = said(&worked, "the model failed");
    assert_eq!(failures.len(), 1, "{worked:?}");
    for line in [&events[1], &failures[0]].into_iter().chain(&worked) {
        let of = ["task", "agent"].map(|name| field(line, name));
        assert_eq!(of, [Some("research_agent"); 2], "{line}");
    }
}

#[tokio::test]
async fn no_password_is_ever_logged_or_shown() {
    let mut stack = Stack::start(&FAST).await;
    // A login in the URL is the one that is shown the most.
    let login = |user: &str| {
        let address = stack.server.url();
        let address = address.strip_prefix("nats://").unwrap();
        format!("nats://{user}:{}@{address}", password(user))
    };
    let logins = ["coordinator", "agent", "client"].map(login);
    stack.set("RUST_LOG", "trace");
    let mut roles = Vec::new();
    for (url, arguments) in [
        (&logins[0], &["coordinator"][..]),
        (&logins[1], &["agent", "research_agent"]),
    ] {
        let mut command = stack.command(&[arguments, &["--log", "json", "-vv"]].concat());
        command.env("NATS_URL", url).env("RUST_LOG", "trace");
        roles.push(Process::start("role", command, stack.folder()));
    }
    stack.agents_are_ready(1).await;
    stack.set("NATS_URL", &logins[2]);
    let commands: [&[&str]; 5] = [
        &["run", "question", "--agents", "research_agent", "-vv"],
        &["status", "--output", "json"],
        &["status"],
        &["doctor"],
        &["config", "show"],
    ];
    let printed = join_all(commands.map(|arguments| stack.swarm(arguments))).await;
    assert_eq!(printed[0].1, 0, "{printed:?}");
    let mut said: Vec<String> = printed.iter().map(|(printed, _)| printed.all()).collect();
    said.extend(roles.iter().map(Process::log));
    for (text, user) in said.iter().flat_map(|text| USERS.map(|user| (text, user))) {
        let leak = text.lines().find(|line| line.contains(&password(user)));
        assert_eq!(leak, None, "{user}");
    }
}

#[tokio::test]
async fn a_stack_logs_documents_and_no_password_of_its_own() {
    let mut home = Home::default();
    home.set("RUST_LOG", "trace");
    home.up(&["--log", "json", "-vv"]).await;
    let run = home.submit("t", "research_agent").await;
    home.completes(&run).await;
    let credentials = std::fs::read_to_string(home.data().join("credentials.env")).unwrap();
    let passwords: Vec<&str> = credentials
        .lines()
        .filter_map(|line| line.split_once("_PASSWORD="))
        .map(|(_, password)| password)
        .collect();
    assert_eq!(passwords.len(), USERS.len());
    eventually("the run is in the log", PATIENCE, || async {
        holds(home.log().contains(&run))
    })
    .await;
    let log = home.log();
    for password in &passwords {
        let leak = log.lines().find(|line| line.contains(password));
        assert_eq!(leak, None);
    }
    for line in log
        .lines()
        .filter(|line| !line.starts_with("swarm is ready"))
    {
        let document: Result<Value, _> = serde_json::from_str(line);
        assert!(
            document.is_ok_and(|document| document.is_object()),
            "{line}"
        );
    }
    // Nor where everybody may look: in the arguments of processes.
    let status = home.swarm_json(&["status"]).await;
    for child in status["up"]["children"].as_array().unwrap() {
        let listed = std::process::Command::new("ps")
            .args(["ww", "-o", "args=", "-p", &child["pid"].to_string()])
            .output()
            .unwrap();
        let arguments = String::from_utf8_lossy(&listed.stdout).into_owned();
        assert!(!arguments.trim().is_empty(), "{child}");
        for password in &passwords {
            assert!(!arguments.contains(password), "{arguments}");
        }
    }
}
