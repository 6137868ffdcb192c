//! A swarm of a test: server, simulator and whatever roles it starts.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::nats_cli::Printed;
use crate::process::{self, Process};
use crate::server::{Server, password_variable};
use crate::sim::Sim;
use crate::{eventually, nats_cli, tools};

/// A server, a simulator, and commands that talk to them.
#[derive(Debug)]
pub struct Stack {
    /// The NATS server.
    pub server: Server,
    /// The simulated model host.
    pub sim: Sim,
    /// Where processes of this stack keep their files.
    folder: TempDir,
    /// Settings for every `swarm` process.
    environment: Vec<(String, String)>,
}

impl Stack {
    /// A stack without roles; the simulator gets these arguments.
    pub async fn start(sim_arguments: &[&str]) -> Self {
        let folder = TempDir::new().unwrap();
        let server = Server::start(folder.path()).await;
        Self::on(server, folder, sim_arguments).await
    }

    /// The same with a server that is there.
    pub async fn on(server: Server, folder: TempDir, sim_arguments: &[&str]) -> Self {
        let sim = Sim::start(folder.path(), sim_arguments).await;
        let environment = vec![
            ("NATS_URL".to_owned(), server.url()),
            (
                "SWARM_OLLAMA_HOSTS".to_owned(),
                format!("[\"{}\"]", sim.url()),
            ),
            (
                "SWARM_DATA_DIR".to_owned(),
                folder.path().join("data").display().to_string(),
            ),
        ];
        Self {
            server,
            sim,
            folder,
            environment,
        }
    }

    /// A stack with a coordinator and one worker of each agent of the default team, all ready.
    pub async fn with_team(sim_arguments: &[&str]) -> Team {
        let stack = Self::start(sim_arguments).await;
        let coordinator = stack.coordinator().await;
        let mut agents = Vec::new();
        for agent in [
            "research_agent",
            "creative_agent",
            "critical_agent",
            "summarizer_agent",
        ] {
            agents.push(stack.agent(agent));
        }
        stack.agents_are_ready(4).await;
        Team {
            stack,
            coordinator,
            agents,
        }
    }

    /// Another setting for the processes that are started from now on.
    pub fn set(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Where its processes find NATS.
    #[must_use]
    pub fn url(&self) -> String {
        let mut settings = self.environment.iter().rev();
        let url = settings.find(|(name, _)| name == "NATS_URL");
        url.map_or_else(|| self.server.url(), |(_, url)| url.clone())
    }

    /// A folder for files of this stack.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a configuration file and has the processes use it that are started from now on.
    pub fn configure(&mut self, yaml: &str) -> PathBuf {
        let file = self.folder().join("swarm.yaml");
        std::fs::write(&file, yaml).unwrap();
        self.set("SWARM_CONFIG", &file.display().to_string());
        file
    }

    /// Starts a coordinator and waits until it is ready.
    pub async fn coordinator(&self) -> Process {
        let process = self.coordinator_soon();
        process
            .says("the coordinator is ready", Duration::from_secs(20))
            .await;
        process
    }

    /// Starts a coordinator.
    #[must_use]
    pub fn coordinator_soon(&self) -> Process {
        self.role("coordinator", &["coordinator"], "coordinator")
    }

    /// Starts a coordinator that comes to the server by this way, and waits until it is ready.
    pub async fn coordinator_by(&self, nats: &str) -> Process {
        let mut command = self.command(&["coordinator"]);
        let (variable, password) = password_variable("coordinator");
        command.env(variable, password).env("NATS_URL", nats);
        let process = Process::start("coordinator", command, self.folder());
        process
            .says("the coordinator is ready", Duration::from_secs(20))
            .await;
        process
    }

    /// Starts a worker of an agent.
    #[must_use]
    pub fn agent(&self, name: &str) -> Process {
        self.role(name, &["agent", name], "agent")
    }

    /// Waits until so many cards are there.
    pub async fn agents_are_ready(&self, count: usize) {
        eventually("agents are ready", Duration::from_secs(20), || async {
            let cards = self.swarm_json(&["agents", "list"]).await;
            crate::holds(
                cards["items"]
                    .as_array()
                    .is_some_and(|items| items.len() == count),
            )
        })
        .await;
    }

    fn role(&self, name: &str, arguments: &[&str], user: &str) -> Process {
        let mut command = self.command(arguments);
        let (variable, password) = password_variable(user);
        command.env(variable, password);
        Process::start(name, command, self.folder())
    }

    /// A `swarm` command of this stack.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(tools::built("swarm"));
        command.args(arguments).current_dir(self.folder());
        command
            .env_remove("RUST_LOG")
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs `swarm` to its end, as a person without credentials.
    pub async fn swarm(&self, arguments: &[&str]) -> (Printed, i32) {
        process::run(self.command(arguments)).await
    }

    /// Runs `swarm … --output json`, and reads the last line it prints; null when it prints none.
    pub async fn swarm_json(&self, arguments: &[&str]) -> Value {
        let arguments = [arguments, &["--output", "json"]].concat();
        let (printed, _) = self.swarm(&arguments).await;
        printed
            .out
            .lines()
            .last()
            .map_or(Value::Null, |line| serde_json::from_str(line).expect(line))
    }

    /// Runs the `nats` CLI against this stack.
    pub async fn nats(&self, arguments: &[&str]) -> Printed {
        nats_cli::nats(&self.server.url(), arguments).await
    }

    /// Submits a task and gives the id of its run.
    pub async fn submit(&self, task: &str, more: &[&str]) -> String {
        let arguments = [&["run", task, "--detach"], more].concat();
        let (printed, code) = self.swarm(&arguments).await;
        assert_eq!(code, 0, "{printed:?}");
        printed.out.trim().to_owned()
    }

    /// The result of a run, which ends within a minute.
    pub async fn result(&self, run: &str) -> Value {
        let client = self.server.connect_as("client").await;
        eventually("the run ends", Duration::from_secs(60), || async {
            let reply = client
                .request("swarm.result", run.to_owned().into())
                .await
                .ok()?;
            let body: Value = serde_json::from_slice(&reply.payload).ok()?;
            body.get("answers").is_some().then_some(body)
        })
        .await
    }

    /// The events of a run as they are stored, oldest first.
    pub async fn log_of(&self, run: &str) -> Vec<Value> {
        self.read(&format!("swarm.run.{run}.ev")).await
    }

    /// The journal of a task, oldest first.
    pub async fn journal_of(&self, run: &str, task: &str) -> Vec<Value> {
        self.read(&format!("swarm.run.{run}.task.{task}.*")).await
    }

    /// What the server answers the user observer on `$JS.API.<subject>`, such as `STREAM.INFO.SWARM_WORK`.
    pub async fn observe(&self, subject: &str) -> Value {
        let observer = self.server.connect_as("observer").await;
        let api = format!("$JS.API.{subject}");
        let reply = observer.request(api, "".into()).await.unwrap();
        serde_json::from_slice(&reply.payload).unwrap()
    }

    async fn read(&self, subject: &str) -> Vec<Value> {
        let bus = self.server.bus(swarm_bus::Role::Client).await;
        let stored = bus.read_runs(subject, 1).await.unwrap();
        stored
            .iter()
            .filter(|message| message.kind != swarm_bus::Kind::Foreign)
            .map(|message| serde_json::from_slice(&message.payload).unwrap())
            .collect()
    }
}

/// A stack with the default team.
#[derive(Debug)]
pub struct Team {
    /// The stack.
    pub stack: Stack,
    /// Its coordinator.
    pub coordinator: Process,
    /// Its agents: research, creative, critical, summarizer.
    pub agents: Vec<Process>,
}
