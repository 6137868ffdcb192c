//! The configuration as `swarm config` tells it, and what a shell completes from it.

use std::path::Path;

use serde_json::{Value, json};
use swarm_tests::Stack;

use crate::FAST;

/// A configuration with a mistake in each line but the first.
const WRONG: &str = "\
ollama:
  paralel: 2
  num_ctx: many
agents:
  poet: {}
  critic: {prompt: p, tool_mode: natve}
runs: {default_agents: [critic, poett]}
";

/// What is said of it, with `num_ctx` set to 0 in the environment.
const MISTAKES: [(Option<u64>, &str, &str); 6] = [
    (
        Some(2),
        "ollama.paralel",
        "unknown key; accepted in ollama are hosts, parallel, num_ctx, require_cloud_off; did you mean `parallel`?",
    ),
    (
        Some(3),
        "ollama.num_ctx",
        "`many` does not fit; accepted is a whole number from 1 to 4294967295",
    ),
    (
        Some(5),
        "agents.poet",
        "prompt is missing; an agent that is not shipped needs one, \
         shipped are research_agent, creative_agent, critical_agent, summarizer_agent",
    ),
    (
        Some(6),
        "agents.critic.tool_mode",
        "`natve` does not fit; accepted is one of auto, native, structured, plain; did you mean `native`?",
    ),
    (
        Some(7),
        "runs.default_agents",
        "`poett` is none of the agents; accepted are critic, poet; did you mean `poet`?",
    ),
    (
        None,
        "SWARM_OLLAMA_NUM_CTX",
        "`0` does not fit; accepted is a whole number from 1 to 4294967295",
    ),
];

/// The lines that are said of it.
fn lines(file: &Path) -> String {
    let file = file.display();
    let lines = MISTAKES.iter().map(|(line, key, message)| match line {
        Some(line) => format!("{file}:{line}: {key}: {message}\n"),
        None => format!("{key}: {message}\n"),
    });
    lines.collect()
}

/// The document that is said of it.
fn document(file: &Path) -> Value {
    let mistakes = MISTAKES.iter().map(|(line, key, message)| match line {
        Some(line) => json!({ "line": line, "key": key, "message": message }),
        None => json!({ "key": key, "message": message }),
    });
    json!({ "file": file, "mistakes": mistakes.collect::<Vec<_>>() })
}

#[tokio::test]
async fn a_check_says_everything_that_is_wrong_and_so_does_every_command() {
    let mut stack = Stack::start(&FAST).await;
    let file = stack.configure(WRONG);
    stack.set("SWARM_OLLAMA_NUM_CTX", "0");
    let (printed, code) = stack.swarm(&["config", "check"]).await;
    assert_eq!((code, printed.err.as_str()), (2, ""), "{printed:?}");
    assert_eq!(printed.out, lines(&file));
    let (printed, code) = stack.swarm(&["config", "check", "--output", "json"]).await;
    assert_eq!((code, printed.err.as_str()), (2, ""), "{printed:?}");
    let said: Value = serde_json::from_str(&printed.out).unwrap();
    assert_eq!(said, document(&file));
    for command in [
        &["coordinator"][..],
        &["agent", "critic"],
        &["up"],
        &["run", "t"],
        &["runs", "list"],
        &["agents", "list"],
        &["config", "show"],
    ] {
        let (printed, code) = stack.swarm(command).await;
        assert_eq!((code, printed.out.as_str()), (2, ""), "{printed:?}");
        assert_eq!(printed.err, lines(&file), "{command:?}");
    }
    let (printed, code) = stack.swarm(&["runs", "list", "--output", "json"]).await;
    assert_eq!(code, 2, "{printed:?}");
    let error: Value = serde_json::from_str(&printed.err).unwrap();
    assert_eq!(error["error"]["message"], lines(&file).trim_end());
}

#[tokio::test]
async fn a_check_says_which_file_is_in_order() {
    let stack = Stack::start(&FAST).await;
    let (printed, code) = stack.swarm(&["config", "check"]).await;
    assert_eq!(
        (code, printed.out.as_str(), printed.err.as_str()),
        (0, "no file, the defaults hold\n", "")
    );
    std::fs::write(stack.folder().join("swarm.yaml"), "ollama: {parallel: 2}\n").unwrap();
    let (printed, code) = stack.swarm(&["config", "check"]).await;
    assert_eq!((code, printed.out.as_str()), (0, "swarm.yaml: in order\n"));
    let said = stack.swarm_json(&["config", "check"]).await;
    assert_eq!(said, json!({ "file": "swarm.yaml", "mistakes": [] }));
    // The file that is named is checked, not the one that would be read.
    std::fs::write(stack.folder().join("other.yaml"), "tols: {}\n").unwrap();
    let (printed, code) = stack.swarm(&["config", "check", "other.yaml"]).await;
    assert_eq!(
        (code, printed.out.lines().next().unwrap_or_default()),
        (
            2,
            "other.yaml:1: tols: unknown key; accepted in the configuration are \
             nats, ollama, agents, mcp, mcp_servers, runs, tools; did you mean `tools`?"
        )
    );
    let (printed, code) = stack.swarm(&["config", "check", "missing.yaml"]).await;
    assert_eq!(code, 2);
    assert!(
        printed
            .out
            .starts_with("missing.yaml: the configuration cannot be read: "),
        "{printed:?}"
    );
}

/// What a shell is offered for the last word of a line.
async fn offered(stack: &Stack, words: &[&str]) -> Vec<String> {
    let mut line = vec!["--", "swarm"];
    line.extend(words);
    let mut command = stack.command(&line);
    command
        .env("SWARM_COMPLETE", "bash")
        .env("_CLAP_IFS", "\n")
        .env("_CLAP_COMPLETE_INDEX", words.len().to_string());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn a_shell_completes_commands_agents_and_runs() {
    let team = Stack::with_team(&FAST).await;
    let stack = &team.stack;
    let run = stack.submit("question", &[]).await;
    stack.result(&run).await;
    assert_eq!(offered(stack, &["comp"]).await, ["completions"]);
    assert_eq!(offered(stack, &["agent", "crit"]).await, ["critical_agent"]);
    assert_eq!(offered(stack, &["runs", "show", ""]).await[0], run);
    for shell in ["bash", "zsh", "fish"] {
        let (printed, code) = stack.swarm(&["completions", shell]).await;
        assert_eq!(code, 0);
        assert!(printed.out.contains("SWARM_COMPLETE"), "{printed:?}");
    }
    let (printed, code) = stack.swarm(&["completions", "tcsh"]).await;
    assert_eq!(code, 2);
    assert!(printed.err.contains("bash, zsh, fish"), "{printed:?}");
}
