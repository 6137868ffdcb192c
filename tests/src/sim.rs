//! The simulated Ollama, as a process of its own.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::process::Process;
use crate::{eventually, tools};

/// A running ollama-sim.
#[derive(Debug)]
pub struct Sim {
    process: Process,
    listen: String,
    control: String,
}

impl Sim {
    /// Starts one with these further arguments, such as `["--latency", "200ms"]`.
    pub async fn start(folder: &Path, arguments: &[&str]) -> Self {
        Self::start_on(0, folder, arguments).await
    }

    /// Starts one on this port.
    pub async fn start_on(port: u16, folder: &Path, arguments: &[&str]) -> Self {
        let ports = folder.join(format!("sim-{}.json", uuid::Uuid::new_v4()));
        let mut command = Command::new(tools::built("ollama-sim"));
        command
            .arg("--listen")
            .arg(format!("127.0.0.1:{port}"))
            .args(["--control", "127.0.0.1:0", "--ports-file"])
            .arg(&ports)
            .args(arguments);
        let process = Process::start("ollama-sim", command, folder);
        let (listen, control) =
            eventually("ollama-sim listens", Duration::from_secs(10), || async {
                let ports: Value = serde_json::from_slice(&std::fs::read(&ports).ok()?).ok()?;
                Some((
                    ports["listen"].as_str()?.to_owned(),
                    ports["control"].as_str()?.to_owned(),
                ))
            })
            .await;
        Self {
            process,
            listen,
            control,
        }
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.listen)
    }

    /// Its process.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Its request log, oldest first.
    pub async fn log(&self) -> Vec<Value> {
        let url = format!("http://{}/sim/log", self.control);
        let log: Value = reqwest::get(url).await.unwrap().json().await.unwrap();
        log["requests"].as_array().unwrap().clone()
    }

    /// The bodies of its chats of a model, oldest first, without those that only load it.
    pub async fn bodies(&self, model: &str) -> Vec<Value> {
        let url = format!("http://{}/sim/log?bodies", self.control);
        let log: Value = reqwest::get(url).await.unwrap().json().await.unwrap();
        let bodies = log["requests"].as_array().unwrap().iter();
        bodies
            .filter(|entry| entry["path"] == "/api/chat" && entry["prompt"] != "")
            .map(|entry| entry["body"].clone())
            .filter(|body| body["model"] == model)
            .collect()
    }

    /// What it says, by rules in YAML.
    pub async fn follow(&self, rules: &str) {
        self.put("rules", rules).await;
    }

    /// What it breaks, by plans in YAML.
    pub async fn break_by(&self, faults: &str) {
        self.put("faults", faults).await;
    }

    async fn put(&self, what: &str, yaml: &str) {
        let url = format!("http://{}/sim/{what}", self.control);
        let put = reqwest::Client::new().put(url).body(yaml.to_owned());
        let answer = put.send().await.unwrap();
        let status = answer.status();
        assert!(
            status.is_success(),
            "{status}: {}",
            answer.text().await.unwrap()
        );
    }

    /// Its counts.
    pub async fn stats(&self) -> Value {
        let url = format!("http://{}/sim/stats", self.control);
        reqwest::get(url).await.unwrap().json().await.unwrap()
    }

    /// Chats whose client has left.
    pub async fn disconnected(&self) -> u64 {
        let stats = self.stats().await;
        stats["disconnected"].as_u64().unwrap()
    }

    /// All its counts.
    pub async fn metrics(&self) -> Value {
        let url = format!("http://{}/sim/metrics", self.control);
        reqwest::get(url).await.unwrap().json().await.unwrap()
    }

    /// Kills what runs its models, as the kernel does when memory is short.
    pub async fn kill_runners(&self) {
        let url = format!("http://{}/sim/runners", self.control);
        let sent = reqwest::Client::new().delete(url).send().await.unwrap();
        assert_eq!(sent.status(), 204);
    }

    /// Kills it.
    pub fn kill_9(&mut self) {
        self.process.kill_9();
    }

    /// The chat requests of its log in some state, without those that only load a model.
    pub async fn chats(&self, state: &str) -> Vec<Value> {
        let log = self.log().await;
        log.into_iter()
            .filter(|entry| entry["path"] == "/api/chat" && entry["state"] == state)
            .filter(|entry| entry["prompt"] != "")
            .collect()
    }
}
