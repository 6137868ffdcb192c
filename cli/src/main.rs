//! `swarm`: the one binary of Swarm. Every role is a subcommand, and runs as a process of its own.
//!
//! This crate owns the command line, the configuration, logging and signals. It must not know how runs or agents work.

use std::process::ExitCode;

use clap::Parser as _;
use swarm_bus::Role;
use swarm_client::Client;
use tokio::runtime::Builder;

use args::{Cli, Command, Global, UpArgs};
use config::Config;
use connect::{COMMAND_PATIENCE, connect};
use exit::{FAILED, Failure};

mod approvals;
mod args;
mod completions;
mod config;
mod connect;
mod data_dir;
mod dead;
mod doctor;
mod exit;
mod health;
mod logging;
mod output;
mod progress;
mod roles;
mod run;
mod runs;
mod signals;
mod status;
mod up;
mod watch;

/// glibc's allocator took 40 % of a loaded coordinator's time: many small values that stay, between read buffers that go.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    completions::answer();
    let Cli { global, command } = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(usage) => return output::usage(&usage),
    };
    logging::start(&global, default_level(&command));
    // A process waits for the network and hardly computes: with a second thread the two would mostly wake each other. More
    // cores are used by more processes.
    let code = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(swarm(global, command)),
        Err(error) => {
            tracing::error!(%error, "the runtime cannot be started");
            ExitCode::from(FAILED)
        }
    };
    swarm_telemetry::stop();
    code
}

async fn swarm(global: Global, command: Command) -> ExitCode {
    let format = global.output;
    match execute(global, command).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { code, error }) => {
            if let Some(error) = error {
                output::error(format, &error);
            }
            ExitCode::from(code)
        }
    }
}

async fn execute(global: Global, command: Command) -> Result<(), Failure> {
    let load = || config::command::load(&global);
    match command {
        Command::Up(UpArgs { detach: true, .. }) => up::detach(global.output),
        Command::Up(args) => up::up(&global, &load()?, args).await,
        Command::Down => up::down(load()?.config.runs.drain.0),
        Command::Doctor => doctor::doctor(&global).await,
        Command::Status => status::status(&global, &load()?.config).await,
        Command::Coordinator(role) => {
            Box::pin(roles::coordinator(&global, &load()?.config, &role)).await
        }
        Command::Agent { name, role } => {
            Box::pin(roles::agent(&global, &load()?.config, &name, &role)).await
        }
        Command::Healthcheck { address } => health::check(address).await,
        Command::Run(args) => {
            let config = load()?.config;
            let task = run::Task::read(args)?;
            run::run(&client(&global, &config).await?, task, global.output).await
        }
        Command::Runs(command) => {
            let client = client(&global, &load()?.config).await?;
            runs::runs(&client, command, global.output).await
        }
        Command::Agents(command) => {
            let client = client(&global, &load()?.config).await?;
            runs::agents(&client, command, global.output).await
        }
        Command::Dead(command) => {
            let client = client(&global, &load()?.config).await?;
            dead::dead(&client, command, global.output).await
        }
        // These are of use when the configuration is wrong, too.
        Command::Config(command) => config::command::run(&global, command),
        Command::Completions { shell } => completions::script(shell),
    }
}

async fn client(global: &Global, config: &Config) -> Result<Client, Failure> {
    Ok(Client::new(
        connect(global, config, Role::Client, COMMAND_PATIENCE).await?,
    ))
}

/// Roles say what they do; a command's own words are its output.
fn default_level(command: &Command) -> &'static str {
    match command {
        Command::Up(UpArgs { run: None, .. }) | Command::Coordinator(_) | Command::Agent { .. } => {
            "info"
        }
        _ => "warn",
    }
}
