//! `swarm`: the one binary of Swarm. Every role is a subcommand, and runs as a process of its own.
//!
//! This crate owns the command line, the configuration, logging and signals. It must not know how runs or agents work.

use std::process::ExitCode;

use clap::Parser as _;
use swarm_bus::Role;
use swarm_client::Client;

use args::{Cli, Command, Global, UpArgs};
use config::Config;
use connect::{COMMAND_PATIENCE, connect};
use exit::Failure;

mod args;
mod config;
mod connect;
mod data_dir;
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

#[tokio::main]
async fn main() -> ExitCode {
    let Cli { global, command } = Cli::parse();
    let format = global.output;
    logging::start(&global, default_level(&command));
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
    let loaded = config::load(global.config.as_deref())?;
    let config = &loaded.config;
    match command {
        Command::Up(UpArgs { detach: true, .. }) => up::detach(),
        Command::Up(args) => up::up(&global, &loaded, args).await,
        Command::Down => up::down(config.runs.drain.0),
        Command::Status => status::status(&global, config).await,
        Command::Coordinator(role) => Box::pin(roles::coordinator(&global, config, &role)).await,
        Command::Agent { name, role } => {
            Box::pin(roles::agent(&global, config, &name, &role)).await
        }
        Command::Healthcheck { address } => health::check(address).await,
        Command::Run(args) => {
            let task = run::Task::read(args)?;
            run::run(&client(&global, config).await?, task, global.output).await
        }
        Command::Runs(command) => {
            runs::runs(&client(&global, config).await?, command, global.output).await
        }
        Command::Agents(command) => {
            runs::agents(&client(&global, config).await?, command, global.output).await
        }
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
