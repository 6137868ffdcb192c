//! `swarm up`: starts what is missing, keeps it running, and stops what it started.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use swarm_bus::connection::without_credentials;
use swarm_bus::{Bus, Role};
use swarm_client::Client;
use swarm_model::{ChatError, CloudSwitch};
use swarm_protocol::endpoint::AgentsRequest;
use swarm_protocol::error::chain;
use swarm_protocol::{AgentName, Code, Submission};
use tokio::time::Instant;

use crate::args::{Global, LogFormat, Simulate, UpArgs};
use crate::config::{Config, Loaded};
use crate::connect::{connect, server_url};
use crate::exit::{Failure, INTERRUPTED, UNREACHABLE};
use crate::output::{self, Format};
use crate::roles::{model_of, ollama};
use crate::{data_dir, signals, watch};

pub(crate) mod board;
mod child;
mod detach;
mod home;
mod leash;
mod server;
mod simulator;

use board::Board;
use child::{Child, Children, Supervision};
use home::Home;

pub(crate) use detach::{detach, down};
pub(crate) use home::holder;
pub(crate) use leash::Left;

/// The whole team is waited for this long.
const READY_PATIENCE: Duration = Duration::from_secs(30);

/// What roles log while one run is shown: that their models are simulated is said by the answer.
const QUIET_ROLES: &str = "error";

/// What the children of `up` have in common.
struct Team<'a> {
    global: &'a Global,
    loaded: &'a Loaded,
    url: String,
    home: Home,
    supervision: Supervision,
    children: Children,
    /// Settings for the children's environment.
    environment: Vec<(String, String)>,
    /// Whether it is all for one run, whose progress is what a person wants to see.
    one_run: bool,
}

/// Starts the stack, and runs until Ctrl-C or, with `--run`, until that run has ended.
pub(crate) async fn up(global: &Global, loaded: &Loaded, args: UpArgs) -> Result<(), Failure> {
    check_control(&args)?;
    let data_dir = data_dir::path()?;
    let home = Home::open(&data_dir)?;
    let drain = loaded.config.runs.drain.0;
    end_left_over(&data_dir, drain).await?;
    let url = server_url(global, &loaded.config)?;
    let supervision = Supervision {
        board: Board::new(home.join(board::FILE), without_credentials(&url)),
        data_dir,
        log: global.log,
    };
    let mut team = Team {
        global,
        loaded,
        url,
        home,
        supervision,
        children: Children::default(),
        environment: Vec::new(),
        one_run: args.run.is_some(),
    };
    let ended = tokio::select! {
        ended = team.serve(&args) => ended,
        stop = signals::stop() => {
            tracing::info!("stopping");
            stop.map_err(Failure::from).and_then(|_| match args.run {
                Some(_) => Err(Failure::silent(INTERRUPTED)),
                None => Ok(()),
            })
        }
    };
    team.children.stop(drain).await;
    team.supervision.board.clear();
    ended
}

/// The simulator shows what it was asked to whoever reaches it.
fn check_control(args: &UpArgs) -> Result<(), Failure> {
    let control = args.simulator.simulate_control;
    if control.ip().is_loopback() {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "--simulate-control {control} is open to other machines, and nobody is asked who he is: take 127.0.0.1"
    )))
}

/// The children that live in a data directory that nobody holds.
pub(crate) fn left_over(data_dir: &Path) -> Vec<Left> {
    match holder(data_dir) {
        Some(_pid) => Vec::new(),
        None => leash::living(data_dir),
    }
}

/// A server that nobody supervises is as good as one more crash: it is ended, and started anew with what it stored.
async fn end_left_over(data_dir: &Path, drain: Duration) -> Result<(), Failure> {
    let left = leash::living(data_dir);
    for left in &left {
        tracing::warn!(%left, "left over by a `swarm up` that was killed, and ended now");
    }
    let ending = tokio::task::spawn_blocking(move || leash::end(left, drain));
    ending
        .await
        .map_err(|error| Failure::from(anyhow::Error::from(error)))
}

impl Team<'_> {
    async fn serve(&mut self, args: &UpArgs) -> Result<(), Failure> {
        self.start_server().await?;
        let simulated = self.start_simulator(args).await?;
        self.start_roles()?;
        let bus = connect(
            self.global,
            &self.loaded.config,
            Role::Client,
            READY_PATIENCE,
        )
        .await?;
        let client = Client::new(bus);
        self.wait_until_ready(&client).await?;
        let about = if simulated {
            ", models are SIMULATED"
        } else {
            ""
        };
        self.supervision.board.change(|stack| stack.ready = true);
        output::note(&format!(
            "swarm is ready on {}{about}; Ctrl-C stops it",
            without_credentials(&self.url)
        ));
        match &args.run {
            Some(task) => run_one(&client, task, args.agents.clone()).await,
            None => std::future::pending().await,
        }
    }

    /// Uses the server that is there, or starts one.
    async fn start_server(&mut self) -> Result<(), Failure> {
        for (name, value) in self.home.credentials() {
            // Roles started here find the passwords; a role started by hand reads the file.
            self.environment.push((name.clone(), value.clone()));
        }
        if server::is_there(&self.url).await? {
            let url = without_credentials(&self.url);
            tracing::info!(url, "using the NATS server that is there");
        } else {
            let child = server::start(&self.home, &self.url, &self.supervision)?;
            self.children.add(child);
        }
        self.connect_as_coordinator().await.map(drop)
    }

    async fn connect_as_coordinator(&mut self) -> Result<Bus, Failure> {
        let connecting = connect(
            self.global,
            &self.loaded.config,
            Role::Coordinator,
            Duration::from_secs(10),
        );
        tokio::select! {
            bus = connecting => bus,
            died = self.children.first_death() => Err(died),
        }
    }

    async fn start_simulator(&mut self, args: &UpArgs) -> Result<bool, Failure> {
        let wanted = match args.simulate {
            Simulate::Never => false,
            Simulate::Always => true,
            Simulate::Auto => !has_models(&self.loaded.config).await?,
        };
        if !wanted {
            return Ok(false);
        }
        let models = self
            .loaded
            .config
            .agents
            .keys()
            .filter_map(|agent| model_of(&self.loaded.config, agent));
        let (child, host) =
            simulator::start(&self.home, &args.simulator, models, &self.supervision).await?;
        tracing::warn!(host, "using simulated models: no real model will answer");
        self.children.add(child);
        self.supervision
            .board
            .change(|stack| stack.simulated = true);
        self.environment
            .push(("SWARM_OLLAMA_HOSTS".to_owned(), format!("[\"{host}\"]")));
        Ok(true)
    }

    fn start_roles(&mut self) -> Result<(), Failure> {
        self.start_role("coordinator", &["coordinator"], Role::Coordinator)?;
        for (agent, settings) in &self.loaded.config.agents {
            for _ in 0..settings.replicas.unwrap_or(1) {
                self.start_role(agent.as_str(), &["agent", agent.as_str()], Role::Agent)?;
            }
        }
        Ok(())
    }

    fn start_role(&mut self, name: &str, arguments: &[&str], role: Role) -> Result<(), Failure> {
        let binary = std::env::current_exe().map_err(|error| {
            Failure::from(anyhow::anyhow!(
                "the path of this program is unknown: {error}"
            ))
        })?;
        let mut command = tokio::process::Command::new(binary);
        if self.one_run {
            command.env(
                "RUST_LOG",
                std::env::var("RUST_LOG").unwrap_or_else(|_unset| QUIET_ROLES.to_owned()),
            );
        }
        command
            .args(arguments)
            // Not an argument: anybody may read those, and a password may stand in it.
            .env("NATS_URL", &self.url)
            .stdin(Stdio::piped());
        command.args(self.verbosity());
        if self.global.log == LogFormat::Json {
            command.arg("--log=json");
        }
        if let Some(file) = &self.loaded.file {
            command.arg("--config").arg(file);
        }
        if let Some(creds) = &self.global.creds {
            command.arg("--creds").arg(creds);
        }
        if let Some(context) = &self.global.context {
            command.arg("--context").arg(context);
        }
        self.home.forget_passwords(&mut command);
        // One address for all of them would serve the first alone.
        command.env_remove("SWARM_HEALTH");
        let own = swarm_bus::connection::password_variable(role);
        let visible = self
            .environment
            .iter()
            .filter(|(name, _)| !name.ends_with("_PASSWORD") || *name == own);
        command
            .envs(visible.map(|(name, value)| (name, value)))
            .env(signals::SUPERVISED, "1");
        let child = Child::start(name, command, &self.supervision)?;
        self.children.add(child);
        Ok(())
    }

    /// Roles say as much as `up` does.
    fn verbosity(&self) -> Vec<&'static str> {
        let verbose = std::iter::repeat_n("--verbose", usize::from(self.global.verbose));
        let quiet = self.global.quiet.then_some("--quiet");
        verbose.chain(quiet).collect()
    }

    /// Waits until a coordinator answers and every agent shows its card.
    async fn wait_until_ready(&mut self, client: &Client) -> Result<(), Failure> {
        let wanted: usize = self
            .loaded
            .config
            .agents
            .values()
            .map(|agent| agent.replicas.unwrap_or(1) as usize)
            .sum();
        let deadline = Instant::now() + READY_PATIENCE;
        let ready = async {
            loop {
                let known = client
                    .agents(&AgentsRequest::default())
                    .await
                    .map(|reply| reply.items.len());
                if matches!(known, Ok(count) if count >= wanted) {
                    return Ok(());
                }
                if Instant::now() > deadline {
                    let message = format!(
                        "the team was not ready within {} s; its log says why",
                        READY_PATIENCE.as_secs()
                    );
                    return Err(Failure::new(UNREACHABLE, Code::Unavailable, message));
                }
                tokio::time::sleep(Duration::from_millis(25)).await;
            }
        };
        tokio::select! {
            ready = ready => ready,
            died = self.children.first_death() => Err(died),
        }
    }
}

async fn run_one(
    client: &Client,
    task: &str,
    agents: Option<Vec<AgentName>>,
) -> Result<(), Failure> {
    let submission = Submission {
        agents,
        ..Submission::of_task(task)
    };
    submission.check().map_err(|error| Failure {
        code: crate::exit::USAGE,
        error: Some(error),
    })?;
    let run = swarm_protocol::RunId::random();
    client.submit(run, &submission, None).await?;
    watch::to_the_end(client, run, Format::Text).await
}

/// Whether a host is reachable that has every model of the team.
async fn has_models(config: &Config) -> Result<bool, Failure> {
    let ollama = ollama(config)?;
    let models: Vec<String> = config
        .agents
        .keys()
        .filter_map(|agent| model_of(config, agent))
        .collect();
    for report in ollama.probe().await {
        match report.outcome {
            Ok(host) if config.ollama.require_cloud_off && host.cloud == CloudSwitch::On => {
                let hosts = vec![report.url];
                tracing::warn!("{}", ChatError::CloudOn { hosts });
            }
            Ok(host) => {
                let missing: Vec<&String> = models
                    .iter()
                    .filter(|model| !host.has_model(model))
                    .collect();
                if missing.is_empty() {
                    return Ok(true);
                }
                for model in missing {
                    tracing::warn!(host = %report.url, "model {model} is not there: `ollama pull {model}` gets it");
                }
            }
            Err(error) => {
                tracing::info!(host = %report.url, error = chain(&error), "no Ollama here")
            }
        }
    }
    Ok(false)
}
