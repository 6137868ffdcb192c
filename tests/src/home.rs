//! An empty home directory on a machine of its own port, where `swarm up` is the one who starts things.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::nats_cli::{self, Printed};
use crate::process::{free_port, run};
use crate::{eventually, tools};

/// A home directory. Whatever `swarm up` started in it is stopped with it.
#[derive(Debug)]
pub struct Home {
    folder: TempDir,
    url: String,
    environment: Vec<(String, String)>,
}

impl Default for Home {
    fn default() -> Self {
        Self::at(&format!("nats://127.0.0.1:{}", free_port()))
    }
}

impl Home {
    /// One whose swarm meets at this server.
    #[must_use]
    pub fn at(url: &str) -> Self {
        Self {
            folder: TempDir::new().unwrap(),
            url: url.to_owned(),
            environment: Vec::new(),
        }
    }

    /// The server's URL.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The data directory of `swarm up`.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.folder().join("data")
    }

    /// The log of what was started with `--detach`.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.data().join("logs/up.log")).unwrap_or_default()
    }

    /// Another setting for what is started from now on.
    pub fn set(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// A command of a person who lives here.
    #[must_use]
    pub fn command(&self, program: &Path) -> Command {
        let mut path = vec![
            tools::installed("nats-server").parent().unwrap().to_owned(),
            tools::built("swarm").parent().unwrap().to_owned(),
        ];
        let own = std::env::var_os("PATH").unwrap_or_default();
        path.extend(std::env::split_paths(&own));
        let mut command = Command::new(program);
        command
            .current_dir(self.folder())
            .env("HOME", self.folder())
            .env("PATH", std::env::join_paths(path).unwrap())
            .env("SWARM_DATA_DIR", self.data())
            .env("NATS_URL", &self.url)
            .env("XDG_CONFIG_HOME", self.folder().join("config"))
            .env_remove("RUST_LOG")
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// A `swarm` command.
    #[must_use]
    pub fn swarm_command(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(&tools::built("swarm"));
        command.args(arguments);
        command
    }

    /// Runs `swarm` to its end.
    pub async fn swarm(&self, arguments: &[&str]) -> (Printed, i32) {
        run(self.swarm_command(arguments)).await
    }

    /// Runs lines of shell to their end.
    pub async fn shell(&self, script: &str) -> (Printed, i32) {
        let mut command = self.command(Path::new("bash"));
        command.args(["-c", script]);
        run(command).await
    }

    /// Runs `swarm … --output json`, and reads the one document that it prints.
    pub async fn swarm_json(&self, arguments: &[&str]) -> Value {
        let (printed, _) = self
            .swarm(&[arguments, &["--output", "json"]].concat())
            .await;
        serde_json::from_str(&printed.out).unwrap_or_else(|error| panic!("{error}: {printed:?}"))
    }

    /// Starts the stack with simulated models, detached.
    pub async fn up(&self, more: &[&str]) {
        let arguments = [&["up", "--detach", "--simulate"], more].concat();
        let (printed, code) = self.swarm(&arguments).await;
        assert_eq!(code, 0, "{printed:?}\n{}", self.log());
    }

    /// Submits a task to one agent and gives the id of its run.
    pub async fn submit(&self, task: &str, agent: &str) -> String {
        let (printed, code) = self
            .swarm(&["run", task, "--detach", "--agents", agent])
            .await;
        assert_eq!(code, 0, "{printed:?}\n{}", self.log());
        printed.out.trim().to_owned()
    }

    /// Waits until a run has completed.
    pub async fn completes(&self, run: &str) {
        let result = eventually("the run ends", Duration::from_secs(60), || async {
            let printed = nats_cli::nats(&self.url, &["req", "swarm.result", run, "--raw"]).await;
            let body: Value = serde_json::from_str(&printed.out).ok()?;
            body.get("answers").is_some().then_some(body)
        })
        .await;
        assert_eq!(result["status"], "completed", "{result}\n{}", self.log());
    }

    /// A child of `swarm up`, as `swarm status` shows it.
    pub async fn child(&self, name: &str) -> Value {
        let status = self.swarm_json(&["status"]).await;
        let children = status["up"]["children"].as_array().cloned();
        let mut children = children.unwrap_or_default().into_iter();
        children
            .find(|child| child["name"] == name)
            .unwrap_or_else(|| panic!("no {name} in {status}"))
    }

    /// The processes that were started in this home and still run, by the environment that they got.
    #[must_use]
    pub fn processes(&self) -> Vec<String> {
        let mark = format!("SWARM_DATA_DIR={}", self.data().display());
        if Path::new("/proc/self/environ").is_file() {
            from_proc(&mark)
        } else {
            from_ps(&mark)
        }
    }
}

fn from_proc(mark: &str) -> Vec<String> {
    let entries = std::fs::read_dir("/proc").unwrap();
    let processes = entries.filter_map(|entry| Some(entry.ok()?.path()));
    processes
        .filter(|process| {
            // Those of other people, and those that have just ended, cannot be read.
            let environment = std::fs::read(process.join("environ")).unwrap_or_default();
            environment
                .split(|byte| *byte == 0)
                .any(|variable| variable == mark.as_bytes())
        })
        .map(|process| {
            let name = std::fs::read_to_string(process.join("comm")).unwrap_or_default();
            format!("{} {}", process.display(), name.trim())
        })
        .collect()
}

fn from_ps(mark: &str) -> Vec<String> {
    let mut listing = Command::new("ps");
    let listed = listing.args(["axeww", "-o", "pid=,args="]).output();
    let listed = listed.expect("ps is there");
    let text = String::from_utf8_lossy(&listed.stdout);
    let words = |line: &str| {
        line.split_whitespace()
            .take(2)
            .collect::<Vec<_>>()
            .join(" ")
    };
    text.lines()
        .filter(|line| line.contains(mark))
        .map(words)
        .collect()
}

impl Drop for Home {
    fn drop(&mut self) {
        self.swarm_command(&["down"])
            .output()
            .map(drop)
            .unwrap_or_default();
    }
}
