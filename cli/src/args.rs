//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::ArgValueCandidates;
use swarm_protocol::submission::Aggregate;
use swarm_protocol::{AgentName, RunRef, RunState, Span};

use crate::completions;
use crate::output::Format;

/// Teams of local LLM agents on NATS.
#[derive(Debug, Parser)]
#[command(
    name = "swarm",
    version,
    propagate_version = true,
    disable_help_subcommand = true
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags of every command.
#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// Configuration file [default: ./swarm.yaml, ./swarm_config.yaml, else built-in]
    #[arg(long, global = true, env = "SWARM_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// URL of the NATS server [default: from the configuration, nats://127.0.0.1:4222]
    #[arg(long, global = true, env = "NATS_URL", value_name = "URL")]
    pub(crate) nats: Option<String>,
    /// Credentials file for the NATS server
    #[arg(long, global = true, env = "NATS_CREDS", value_name = "FILE")]
    pub(crate) creds: Option<PathBuf>,
    /// Context of the nats CLI to take server and credentials from
    #[arg(long, global = true, env = "NATS_CONTEXT", value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// How data is written
    #[arg(long, global = true, value_enum, default_value_t)]
    pub(crate) output: Format,
    /// Log format of roles
    #[arg(long, global = true, value_enum, default_value_t)]
    pub(crate) log: LogFormat,
    /// Say less: errors only
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Say more; twice for everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

/// How logs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// A JSON document a line.
    Json,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start what is missing, a NATS server and every role, and keep it running until Ctrl-C
    Up(UpArgs),
    /// Stop what `swarm up --detach` started, and wait until it has ended
    Down,
    /// Show processes, streams, runs and what waits
    Status,
    /// Look for what is wrong, and say what mends it; exits 0, or 1 when something is wrong
    Doctor,
    /// Run a coordinator
    Coordinator(RoleArgs),
    /// Run a worker of one agent
    Agent {
        /// The agent, a name from the configuration
        #[arg(add = ArgValueCandidates::new(completions::agents))]
        name: String,
        #[command(flatten)]
        role: RoleArgs,
    },
    /// Ask a role that was started with --health whether it is ready; exits 0 or 1
    Healthcheck {
        /// Its address
        address: SocketAddr,
    },
    /// Submit a task, show its progress, and print the answer
    Run(RunArgs),
    /// List, show, watch, explain, cancel, pause, retry, answer and delete runs
    #[command(subcommand)]
    Runs(RunsCommand),
    /// Show the agents that are running
    #[command(subcommand)]
    Agents(AgentsCommand),
    /// List, show, requeue and drop what was set aside
    #[command(subcommand)]
    Dead(DeadCommand),
    /// Check and show the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print the script that completes this command in a shell: `source <(swarm completions bash)`
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// Flags of every role.
#[derive(Debug, Clone, Args)]
pub(crate) struct RoleArgs {
    /// Answer /healthz, /readyz and /metrics over HTTP on this address
    #[arg(long, env = "SWARM_HEALTH", value_name = "ADDRESS")]
    pub(crate) health: Option<SocketAddr>,
}

/// `swarm up`.
#[derive(Debug, Clone, Args)]
pub(crate) struct UpArgs {
    /// Use the simulated models of ollama-sim: always, or only when no Ollama with the models is reachable
    #[arg(long, value_enum, num_args = 0..=1, default_missing_value = "always", default_value = "never", require_equals = true)]
    pub(crate) simulate: Simulate,
    /// Return when the stack is ready; `swarm down` stops it
    #[arg(long, conflicts_with = "run")]
    pub(crate) detach: bool,
    /// Run this one task, print its answer, and stop everything that was started
    #[arg(long, value_name = "TASK")]
    pub(crate) run: Option<String>,
    /// The agents of that task
    #[arg(long, value_delimiter = ',', requires = "run", value_name = "A,B", add = ArgValueCandidates::new(completions::agents))]
    pub(crate) agents: Option<Vec<AgentName>>,
    /// Settings for the simulator
    #[command(flatten)]
    pub(crate) simulator: SimulatorArgs,
}

/// Settings that are handed to ollama-sim.
#[derive(Debug, Clone, Args)]
pub(crate) struct SimulatorArgs {
    /// Time to the first token of a simulated model
    #[arg(long, default_value = "200ms", value_name = "TIME")]
    pub(crate) simulate_latency: String,
    /// Tokens a second of a simulated model, 0 for all at once
    #[arg(long, default_value_t = 100, value_name = "N")]
    pub(crate) simulate_tokens_per_second: u32,
    /// Where the simulator shows its requests
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS")]
    pub(crate) simulate_control: SocketAddr,
}

/// When simulated models are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Simulate {
    /// Never.
    Never,
    /// When no Ollama with the models is reachable.
    Auto,
    /// Always.
    Always,
}

/// `swarm run`.
#[derive(Debug, Clone, Args)]
pub(crate) struct RunArgs {
    /// What is to be done; `-` reads it from stdin
    pub(crate) task: String,
    /// The agents that get it [default: the team of the configuration]
    #[arg(long, value_delimiter = ',', value_name = "A,B", add = ArgValueCandidates::new(completions::agents))]
    pub(crate) agents: Option<Vec<AgentName>>,
    /// How their answers become one [default: summarize when there are several]
    #[arg(long, value_enum)]
    pub(crate) aggregate: Option<AggregateArg>,
    /// Answers that are enough [default: all but one]
    #[arg(long, value_name = "N")]
    pub(crate) min_answers: Option<u32>,
    /// A file whose text every agent gets beside the task
    #[arg(long, value_name = "FILE")]
    pub(crate) context_file: Option<PathBuf>,
    /// Longest time from submission to end, such as 10m
    #[arg(long, value_name = "TIME")]
    pub(crate) timeout: Option<Span>,
    /// A name and value to find the run by
    #[arg(long = "label", value_name = "NAME=VALUE")]
    pub(crate) labels: Vec<String>,
    /// Print the run's id and do not wait
    #[arg(long)]
    pub(crate) detach: bool,
}

/// [`Aggregate`] on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum AggregateArg {
    /// The summarizer agent writes one text from them
    Summarize,
    /// The texts under their agents' names
    Concat,
    /// The most frequent text; of equals the earliest
    Vote,
    /// The first answer that comes; the other agents are canceled
    First,
    /// A JSON object with the answer of each agent
    Json,
}

impl From<AggregateArg> for Aggregate {
    fn from(arg: AggregateArg) -> Self {
        match arg {
            AggregateArg::Summarize => Self::Summarize,
            AggregateArg::Concat => Self::Concat,
            AggregateArg::Vote => Self::Vote,
            AggregateArg::First => Self::First,
            AggregateArg::Json => Self::Json,
        }
    }
}

/// `swarm runs …`.
#[derive(Debug, Subcommand)]
pub(crate) enum RunsCommand {
    /// List runs, newest first
    List {
        /// Only runs in this state
        #[arg(long, value_parser = parse_state)]
        state: Option<RunState>,
        /// Only runs that have this agent at work now
        #[arg(long, add = ArgValueCandidates::new(completions::agents))]
        agent: Option<AgentName>,
        /// Only runs with this label: name or name=value
        #[arg(long)]
        label: Option<String>,
        /// Most runs of a page
        #[arg(long, default_value_t = 20)]
        limit: usize,
        /// The next page: what the page before ended with
        #[arg(long, value_name = "CURSOR")]
        after: Option<String>,
    },
    /// Show a run and, when it has ended, its result
    Show {
        /// Id, prefix of at least 8 characters, ticket, or seq:17
        #[arg(add = ArgValueCandidates::new(completions::runs))]
        run: RunRef,
    },
    /// Follow a run to its end
    Watch {
        /// Id, prefix of at least 8 characters, ticket, or seq:17
        #[arg(add = ArgValueCandidates::new(completions::runs))]
        run: RunRef,
    },
    /// Tell the story of a run: what happened, where its time went, and why it waits
    Explain {
        /// Id, prefix of at least 8 characters, ticket, or seq:17
        #[arg(add = ArgValueCandidates::new(completions::runs))]
        run: RunRef,
    },
    /// Forget a run that has ended: its journals and its content
    Delete {
        /// Id, prefix of at least 8 characters, ticket, or seq:17
        #[arg(add = ArgValueCandidates::new(completions::runs))]
        run: RunRef,
    },
    /// Let no new attempt of a run start; what is at work goes on
    Pause {
        /// Id, prefix of at least 8 characters, ticket, or seq:17
        #[arg(add = ArgValueCandidates::new(completions::open_runs))]
        run: RunRef,
        /// Why, for whoever reads the run
        #[arg(long)]
        reason: Option<String>,
    },
    /// Let attempts of a paused run start again
    Resume {
        /// Id, prefix of at least 8 characters, ticket, or seq:17
        #[arg(add = ArgValueCandidates::new(completions::open_runs))]
        run: RunRef,
        /// Why, for whoever reads the run
        #[arg(long)]
        reason: Option<String>,
    },
    /// Do a run again that has failed or was canceled, as a new one; what had completed is taken over
    Retry {
        /// Id, prefix of at least 8 characters, ticket, or seq:17
        #[arg(add = ArgValueCandidates::new(completions::runs))]
        run: RunRef,
    },
    /// Have a call run that was interrupted, and about which the run asks
    Approve(ApprovalArgs),
    /// Have such a call taken as failed
    Deny(ApprovalArgs),
    /// Send a message to an agent of a run; it takes it into account from its next turn on
    Message {
        /// Id, prefix of at least 8 characters, ticket, or seq:17
        #[arg(add = ArgValueCandidates::new(completions::open_runs))]
        run: RunRef,
        /// To which agent
        #[arg(long, value_name = "AGENT", add = ArgValueCandidates::new(completions::agents))]
        to: AgentName,
        /// What it says
        text: String,
    },
    /// Cancel a run
    Cancel {
        /// Id, prefix of at least 8 characters, ticket, or seq:17
        #[arg(add = ArgValueCandidates::new(completions::open_runs))]
        run: RunRef,
        /// Why, for whoever reads the run
        #[arg(long)]
        reason: Option<String>,
    },
}

/// `swarm runs approve` and `swarm runs deny`.
#[derive(Debug, Args)]
pub(crate) struct ApprovalArgs {
    /// Id, prefix of at least 8 characters, ticket, or seq:17
    #[arg(add = ArgValueCandidates::new(completions::open_runs))]
    pub(crate) run: RunRef,
    /// What the run asks, when it asks several things; `swarm runs show` names them
    pub(crate) approval: Option<String>,
    /// Why, for whoever reads the run
    #[arg(long)]
    pub(crate) reason: Option<String>,
}

/// `swarm dead …`.
#[derive(Debug, Subcommand)]
pub(crate) enum DeadCommand {
    /// List what was set aside, newest first
    List {
        /// Most of a page
        #[arg(long, default_value_t = 20)]
        limit: usize,
        /// The next page: what the page before ended with
        #[arg(long, value_name = "ID")]
        before: Option<u64>,
    },
    /// Show one with its payload
    Show {
        /// Its id, as the list has it
        id: u64,
    },
    /// Take up again: a task gets a new attempt, a submission becomes a run
    Requeue {
        /// Their ids, as the list has them
        #[arg(required = true)]
        ids: Vec<u64>,
    },
    /// Forget
    Drop {
        /// Their ids, as the list has them
        #[arg(required = true)]
        ids: Vec<u64>,
    },
}

/// `swarm config …`.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Say everything that is wrong with the configuration, a line each
    Check {
        /// The file [default: the one that any command would read]
        file: Option<PathBuf>,
    },
    /// Show what holds after defaults, file, environment and flags
    Show,
}

/// A shell whose words can be completed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shell {
    /// bash 4 or newer.
    Bash,
    /// zsh.
    Zsh,
    /// fish.
    Fish,
}

/// `swarm agents …`.
#[derive(Debug, Subcommand)]
pub(crate) enum AgentsCommand {
    /// List the instances that are running
    List {
        /// Only instances of this agent
        #[arg(long, add = ArgValueCandidates::new(completions::agents))]
        agent: Option<AgentName>,
        /// Only agents with this capability
        #[arg(long)]
        capability: Option<String>,
    },
}

fn parse_state(text: &str) -> Result<RunState, String> {
    serde_json::from_value(serde_json::Value::String(text.to_owned())).map_err(|_unknown| {
        "one of submitted, working, input-required, paused, canceling, completed, failed, canceled, rejected".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
