//! Completion of command lines in a shell, with the agents of the configuration and the runs of a running swarm.
//!
//! clap's dynamic engine does it: the script of a shell is a few lines that call this command again with the line that
//! was typed, so that flags, agents and runs come from one place, and a newer command needs no newer script for them.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::time::Duration;

use clap::{CommandFactory as _, FromArgMatches as _};
use clap_complete::CompletionCandidate;
use clap_complete::env::{CompleteEnv, Shells};
use swarm_bus::Role;
use swarm_client::Client;
use swarm_protocol::Summary;
use swarm_protocol::endpoint::RunsRequest;

use crate::args::{Cli, Global, Shell};
use crate::config::{self, Config};
use crate::connect::connect;
use crate::exit::Failure;
use crate::output;

/// Set by the script when it asks; not clap's `COMPLETE`, which another program may have left behind.
const VARIABLE: &str = "SWARM_COMPLETE";

/// Longest wait for a running swarm: someone has pressed a key and sees nothing until then.
const PATIENCE: Duration = Duration::from_millis(250);

/// Most runs that are offered, the newest.
const RUNS: usize = 50;

/// Characters of a task beside its run.
const TASK_WIDTH: usize = 48;

/// Answers the shell and ends, if it is the shell that asks. Before any thread is started: a variable is removed.
pub(crate) fn answer() {
    CompleteEnv::with_factory(Cli::command)
        .var(VARIABLE)
        .complete();
}

/// Prints the script for a shell.
pub(crate) fn script(shell: Shell) -> Result<(), Failure> {
    let name = match shell {
        Shell::Bash => "bash",
        Shell::Zsh => "zsh",
        Shell::Fish => "fish",
    };
    let mut script = Vec::new();
    Shells::builtins()
        .completer(name)
        .ok_or_else(|| io::Error::other("the shell is not known"))
        .and_then(|shell| {
            shell.write_registration(VARIABLE, "swarm", "swarm", &this_command()?, &mut script)
        })
        .map_err(|error| Failure::from(anyhow::Error::from(error)))?;
    output::data(String::from_utf8_lossy(&script).trim());
    Ok(())
}

/// How the script calls this command: by name when it was found by name, so that the script outlives its place.
fn this_command() -> io::Result<String> {
    let called = std::env::args_os()
        .next()
        .unwrap_or_else(|| OsString::from("swarm"));
    let called = Path::new(&called);
    let path = match called.components().count() {
        1 => called.to_path_buf(),
        _ => std::path::absolute(called)?,
    };
    Ok(path.to_string_lossy().into_owned())
}

/// The agents of the configuration.
pub(crate) fn agents() -> Vec<CompletionCandidate> {
    let Some((_, config)) = configured() else {
        return Vec::new();
    };
    let names = config.agents.into_keys();
    names
        .map(|name| CompletionCandidate::new(name.as_str()))
        .collect()
}

/// The newest runs, with their tasks.
pub(crate) fn runs() -> Vec<CompletionCandidate> {
    candidates(newest().unwrap_or_default())
}

/// The newest runs that have not ended.
pub(crate) fn open_runs() -> Vec<CompletionCandidate> {
    let mut runs = newest().unwrap_or_default();
    runs.retain(|run| !run.state.is_terminal());
    candidates(runs)
}

fn candidates(runs: Vec<Summary>) -> Vec<CompletionCandidate> {
    let candidate = |(age, run): (usize, Summary)| {
        let task = output::line(&run.task, TASK_WIDTH);
        CompletionCandidate::new(run.run.to_string())
            .help(Some(format!("{}: {task}", run.state).into()))
            .display_order(Some(age))
    };
    runs.into_iter().enumerate().map(candidate).collect()
}

/// The newest runs of the swarm that the typed line is about; none when nobody answers in time.
fn newest() -> Option<Vec<Summary>> {
    let (global, config) = configured()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .ok()?;
    let asked =
        runtime.block_on(async { tokio::time::timeout(PATIENCE, ask(&global, &config)).await });
    // A name that is being looked up would keep the shell waiting.
    runtime.shutdown_background();
    asked.ok().flatten()
}

async fn ask(global: &Global, config: &Config) -> Option<Vec<Summary>> {
    let bus = connect(global, config, Role::Client, PATIENCE).await.ok()?;
    let request = RunsRequest {
        limit: Some(RUNS),
        ..RunsRequest::default()
    };
    let page = Client::new(bus).runs(&request).await.ok()?;
    Some(page.items)
}

/// The flags of the typed line, and the configuration that they and the environment name.
fn configured() -> Option<(Global, Config)> {
    let global = typed(std::env::args_os())?;
    let config = config::load(global.config.as_deref()).ok()?.config;
    Some((global, config))
}

/// The flags of every command in a line that is not finished; the script hands it over after `--`.
fn typed(arguments: impl Iterator<Item = OsString>) -> Option<Global> {
    let line = arguments.skip_while(|word| word != "--").skip(1);
    let matches = Cli::command()
        .ignore_errors(true)
        .try_get_matches_from(line)
        .ok()?;
    Global::from_arg_matches(&matches).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_read_from_an_unfinished_line() {
        for line in [
            "swarm -- swarm --config x.yaml --nats nats://a agent ",
            "swarm -- swarm agent --config x.yaml --nats nats://a ",
            "swarm -- swarm runs --config x.yaml show --nats nats://a",
            "swarm -- swarm --config x.yaml --nats nats://a run t --agents a,",
            "swarm -- swarm --config x.yaml --nats nats://a run --agents",
        ] {
            let global = typed(line.split(' ').map(OsString::from)).unwrap();
            assert_eq!(
                (global.config.as_deref(), global.nats.as_deref()),
                (Some(Path::new("x.yaml")), Some("nats://a")),
                "{line}"
            );
        }
    }
}
