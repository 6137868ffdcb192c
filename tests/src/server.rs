//! A real nats-server with the configuration of Swarm, on a free port, with a fresh store.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::process::Process;
use crate::{eventually, tools};

/// In tests, the password of each is `p-<user>`.
pub use swarm_bus::connection::USERS;
use swarm_bus::connection::password_variable_of;

/// A nats-server.
#[derive(Debug)]
pub struct Server {
    process: Process,
    folder: PathBuf,
    configuration: PathBuf,
    port: u16,
}

/// The password of a user in tests.
#[must_use]
pub fn password(user: &str) -> String {
    format!("p-{user}")
}

/// The variable of a user's password, and its value in tests.
#[must_use]
pub fn password_variable(user: &str) -> (String, String) {
    (password_variable_of(user), password(user))
}

impl Server {
    /// Starts one that keeps its store in `folder`.
    pub async fn start(folder: &Path) -> Self {
        Self::start_as(folder, tools::repository().join("nats.conf")).await
    }

    /// Starts one whose configuration differs: `change` gets the text of `nats.conf`.
    pub async fn start_changed(folder: &Path, change: impl FnOnce(&str) -> String) -> Self {
        let text = std::fs::read_to_string(tools::repository().join("nats.conf")).unwrap();
        let changed = change(&text);
        assert_ne!(text, changed);
        let file = folder.join("changed-nats.conf");
        std::fs::write(&file, changed).unwrap();
        Self::start_as(folder, file).await
    }

    async fn start_as(folder: &Path, configuration: PathBuf) -> Self {
        let (process, port) = launch(folder, &configuration, "-1").await;
        Self {
            process,
            folder: folder.to_path_buf(),
            configuration,
            port,
        }
    }

    /// Its URL, without credentials.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// What it logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Kills it at once.
    pub fn kill_9(&mut self) {
        self.process.kill_9();
    }

    /// Kills it at once and starts it again on the same port and store.
    pub async fn kill_and_restart(&mut self) {
        self.process.kill_9();
        let (process, port) =
            launch(&self.folder, &self.configuration, &self.port.to_string()).await;
        assert_eq!(port, self.port);
        self.process = process;
    }

    /// A connection of the product's own bus, as one of its roles.
    pub async fn bus(&self, role: swarm_bus::Role) -> swarm_bus::Bus {
        let options = swarm_bus::Options {
            url: self.url(),
            role,
            login: swarm_bus::connection::Login::Password(password(role.user())),
            name: "test".to_owned(),
            patience: Duration::from_secs(5),
        };
        swarm_bus::Bus::connect(options).await.unwrap()
    }

    /// A connection as one of the users.
    pub async fn connect_as(&self, user: &str) -> async_nats::Client {
        let prefix = if user == "client" {
            "_INBOX".to_owned()
        } else {
            format!("_INBOX_{user}")
        };
        let options =
            async_nats::ConnectOptions::with_user_and_password(user.to_owned(), password(user))
                .custom_inbox_prefix(prefix)
                .request_timeout(Some(Duration::from_secs(2)));
        options
            .connect(self.url())
            .await
            .unwrap_or_else(|error| panic!("as {user}: {error}"))
    }
}

async fn launch(folder: &Path, configuration: &Path, port: &str) -> (Process, u16) {
    let ports = folder.join("ports");
    std::fs::create_dir_all(&ports).unwrap();
    let mut command = Command::new(tools::installed("nats-server"));
    command.arg("--config").arg(configuration);
    command
        .args(["--addr", "127.0.0.1", "--port", port, "--ports_file_dir"])
        .arg(&ports);
    command.arg("--store_dir").arg(folder.join("store"));
    command.envs(USERS.iter().map(|user| password_variable(user)));
    let process = Process::start("nats-server", command, folder);
    let file = ports.join(format!("nats-server_{}.ports", process.pid()));
    let port = eventually("nats-server listens", Duration::from_secs(10), || async {
        let text = std::fs::read(&file).ok()?;
        let ports: serde_json::Value = serde_json::from_slice(&text).ok()?;
        ports["nats"][0].as_str()?.rsplit(':').next()?.parse().ok()
    });
    let port = port.await;
    (process, port)
}
