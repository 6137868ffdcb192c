//! A real Ollama server of a version that `scripts/ollama` builds, with the models it makes.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::process::{Process, free_port};
use crate::{eventually, tools};

/// A server may take so long to start, to end, or to load a model of the tests on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A version that `scripts/ollama` builds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Version {
    /// It spawns a llama-server for each model.
    V0_33_0,
    /// It has a runner of its own.
    V0_17_4,
}

impl Version {
    /// As `/api/version` says it.
    #[must_use]
    pub const fn number(self) -> &'static str {
        match self {
            Self::V0_33_0 => "0.33.0",
            Self::V0_17_4 => "0.17.4",
        }
    }

    /// Panics with the command that builds it when it is missing.
    pub fn check_installed(self) {
        self.program();
        self.models();
        drop(self.description());
    }

    /// The file that describes its API.
    #[must_use]
    pub fn description(self) -> PathBuf {
        self.installed("-api", "openapi.yaml")
    }

    fn program(self) -> PathBuf {
        self.installed("", "bin/ollama")
    }

    fn models(self) -> PathBuf {
        self.installed("-models", "manifests")
            .parent()
            .expect("manifests lie in a folder")
            .to_path_buf()
    }

    fn installed(self, suffix: &str, file: &str) -> PathBuf {
        let number = self.number();
        let path = tools::repository()
            .join(format!(".tools/ollama-{number}{suffix}"))
            .join(file);
        assert!(
            path.exists(),
            "{} is not there: `scripts/ollama` builds it, in about 15 minutes",
            path.display()
        );
        path
    }
}

/// How a server schedules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// `OLLAMA_NUM_PARALLEL`: requests for a model at a time.
    pub parallel: u32,
    /// `OLLAMA_MAX_QUEUE`: requests that wait for a model to be loaded.
    pub queue: u32,
    /// `OLLAMA_MAX_LOADED_MODELS`.
    pub loaded: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            parallel: 1,
            queue: 512,
            loaded: 3,
        }
    }
}

/// A running server, on loopback, with its own copy of the models and its own home folder.
#[derive(Debug)]
pub struct Ollama {
    process: Process,
    version: Version,
    port: u16,
}

impl Ollama {
    /// Starts one that keeps its files in `folder`.
    pub async fn start(version: Version, folder: &Path, limits: Limits) -> Self {
        let port = free_port();
        let home = folder.join(format!("ollama-{port}"));
        let models = home.join("models");
        copy_models(&version.models(), &models);
        let mut command = Command::new(version.program());
        command
            .arg("serve")
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", &home)
            .env("OLLAMA_MODELS", &models)
            .env("OLLAMA_HOST", format!("127.0.0.1:{port}"))
            // Without it a server asks ollama.com what to recommend, at once.
            .env("OLLAMA_NO_CLOUD", "1")
            .env("OLLAMA_NUM_PARALLEL", limits.parallel.to_string())
            .env("OLLAMA_MAX_QUEUE", limits.queue.to_string())
            .env("OLLAMA_MAX_LOADED_MODELS", limits.loaded.to_string());
        let process = Process::start(&format!("ollama-{}", version.number()), command, folder);
        let server = Self {
            process,
            version,
            port,
        };
        let client = client();
        eventually("ollama listens", PATIENCE, || async {
            let answer = client
                .get(server.url() + "/api/version")
                .send()
                .await
                .ok()?;
            let version: Value = answer.json().await.ok()?;
            crate::holds(version["version"] == server.version.number())
        })
        .await;
        server
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Its version.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.version
    }

    /// What it logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// The processes that run its models.
    #[must_use]
    pub fn runners(&self) -> Vec<u32> {
        children(self.process.pid())
    }

    /// Kills what runs its models, as the kernel does when memory is short. There has to be something.
    pub fn kill_runners(&self) {
        let runners = self.runners();
        assert!(!runners.is_empty(), "no model is loaded:\n{}", self.log());
        for runner in runners {
            send(runner, Signal::SIGKILL).expect("a runner can be killed");
        }
    }

    /// Kills the server at once, and its runners, as a machine that goes away does.
    pub fn kill_9(&mut self) {
        let runners = self.runners();
        self.process.kill_9();
        for runner in runners {
            // It may have ended with its server.
            send(runner, Signal::SIGKILL).unwrap_or_default();
        }
    }
}

/// A server that is killed leaves its runners behind, so it is asked to end.
impl Drop for Ollama {
    fn drop(&mut self) {
        let runners = self.runners();
        self.process.stop(PATIENCE);
        for runner in runners {
            // Hardly any is left: it ended with its server.
            send(runner, Signal::SIGKILL).unwrap_or_default();
        }
    }
}

/// A client that asks loopback, whatever proxy the environment names.
#[must_use]
pub fn client() -> reqwest::Client {
    reqwest::Client::builder()
        .no_proxy()
        .build()
        .expect("a client can be built")
}

/// Manifests are copied, so a test may add and remove models; blobs are linked to.
fn copy_models(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if source.is_dir() {
            copy_models(&source, &target);
        } else if from.ends_with("blobs") {
            std::os::unix::fs::symlink(&source, &target).unwrap();
        } else {
            std::fs::copy(&source, &target).unwrap();
        }
    }
}

fn children(parent: u32) -> Vec<u32> {
    let listed = Command::new("ps").args(["-eo", "pid=,ppid="]).output();
    let listed = listed.expect("ps lists the processes").stdout;
    let pairs = String::from_utf8(listed).expect("ps prints numbers");
    let pairs = pairs.lines().filter_map(|line| {
        let mut numbers = line.split_whitespace().map(str::parse::<u32>);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    });
    pairs
        .filter(|(_, of)| *of == parent)
        .map(|(pid, _)| pid)
        .collect()
}

fn send(process: u32, signal: Signal) -> nix::Result<()> {
    kill(Pid::from_raw(i32::try_from(process).unwrap()), signal)
}
