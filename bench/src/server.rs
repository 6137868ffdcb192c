//! A nats-server with a fresh store, in one of the two sync modes, and what it counts.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use serde::Deserialize;
use serde_json::Value;
use swarm_bus::connection::{USERS, password_variable_of};
use swarm_bus::topology;

use crate::process::{Process, free_port, listening};

/// When the server writes to the disk what it has acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// Before the acknowledgement: what `nats.conf` says.
    Always,
    /// Every two minutes: the server's own default.
    Default,
}

impl Sync {
    /// As tables name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::Default => "default",
        }
    }
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    /// The process.
    pub process: Process,
    port: u16,
    monitor: u16,
}

/// Messages that went through a server.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub struct Traffic {
    /// Messages that it got.
    pub in_msgs: u64,
    /// Messages that it handed out.
    pub out_msgs: u64,
}

/// The password of each user here.
pub const PASSWORD: &str = "bench";

impl Server {
    /// Starts one with the `nats.conf` of the repository, but for the sync mode.
    pub async fn start(folder: &Path, sync: Sync) -> Result<Self> {
        let config = configuration(folder, sync)?;
        let (port, monitor) = (free_port()?, free_port()?);
        let mut command = Command::new(program("nats-server")?);
        command.arg("--config").arg(config);
        command.args(["--addr", "127.0.0.1", "--port", &port.to_string()]);
        command.args(["--http_port", &monitor.to_string()]);
        command.arg("--store_dir").arg(folder.join("store"));
        for (variable, password) in passwords() {
            command.env(variable, password);
        }
        let process = Process::start("nats-server", command, folder)?;
        listening(port).await?;
        listening(monitor).await?;
        Ok(Self {
            process,
            port,
            monitor,
        })
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// A connection as one of the users of `nats.conf`.
    pub async fn connect(&self, user: &str) -> Result<async_nats::Client> {
        let prefix = if user == "client" {
            "_INBOX".to_owned()
        } else {
            format!("_INBOX_{user}")
        };
        let options = async_nats::ConnectOptions::with_user_and_password(
            user.to_owned(),
            PASSWORD.to_owned(),
        );
        let options = options
            .custom_inbox_prefix(prefix)
            .subscription_capacity(64 * 1024);
        Ok(options.connect(self.url()).await?)
    }

    /// Messages so far.
    pub async fn traffic(&self) -> Result<Traffic> {
        let url = format!("http://127.0.0.1:{}/varz", self.monitor);
        Ok(reqwest::get(url).await?.json().await?)
    }

    /// Messages that all streams have stored so far, those that are gone again among them.
    pub async fn stored(&self) -> Result<u64> {
        let url = format!("http://127.0.0.1:{}/jsz?streams=true", self.monitor);
        let page: Value = reqwest::get(url).await?.json().await?;
        let accounts = page["account_details"].as_array().into_iter().flatten();
        let streams =
            accounts.flat_map(|account| account["stream_detail"].as_array().into_iter().flatten());
        Ok(streams
            // Cards come with time, not with runs.
            .filter(|stream| stream["name"] != topology::AGENTS_STREAM)
            .filter_map(|stream| stream["state"]["last_seq"].as_u64())
            .sum())
    }
}

/// The variables of the users' passwords.
pub fn passwords() -> impl Iterator<Item = (String, &'static str)> {
    let users = USERS.into_iter();
    users.map(|user| (password_variable_of(user), PASSWORD))
}

fn configuration(folder: &Path, sync: Sync) -> Result<PathBuf> {
    const SYNC_ALWAYS: &str = "sync_interval: always";
    let text = std::fs::read_to_string(repository().join("nats.conf"))?;
    anyhow::ensure!(
        text.contains(SYNC_ALWAYS),
        "nats.conf has no `{SYNC_ALWAYS}`"
    );
    let text = match sync {
        Sync::Always => text,
        Sync::Default => text.replace(SYNC_ALWAYS, ""),
    };
    // The minimal pipeline has streams of its own, and one user who may do everything.
    let text = text.replace(
        "  users: [",
        "  users: [\n    { user: minimal, password: bench }",
    );
    let path = folder.join("nats.conf");
    std::fs::write(&path, text)?;
    Ok(path)
}

/// The root of the repository.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A program that `scripts/setup` installs, or one of PATH.
fn program(name: &str) -> Result<PathBuf> {
    let installed = repository().join(".tools/bin").join(name);
    if installed.is_file() {
        return Ok(installed);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
        .with_context(|| format!("{name} is not installed: `scripts/setup run` installs it"))
}
