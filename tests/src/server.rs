//! A real nats-server with the configuration of Swarm, on a free port, with a fresh store.

use std::io::Write as _;
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
        Self::start_as(folder, tools::repository().join("nats.conf"), None).await
    }

    /// Starts one whose store is on a disk of its own, of this size.
    pub async fn start_on(folder: &Path, disk: SmallDisk) -> Self {
        let configuration = tools::repository().join("nats.conf");
        Self::start_as(folder, configuration, Some(disk)).await
    }

    /// Starts one whose configuration differs: `change` gets the text of `nats.conf`.
    pub async fn start_changed(folder: &Path, change: impl FnOnce(&str) -> String) -> Self {
        let text = std::fs::read_to_string(tools::repository().join("nats.conf")).unwrap();
        let changed = change(&text);
        assert_ne!(text, changed);
        let file = folder.join("changed-nats.conf");
        std::fs::write(&file, changed).unwrap();
        Self::start_as(folder, file, None).await
    }

    async fn start_as(folder: &Path, configuration: PathBuf, disk: Option<SmallDisk>) -> Self {
        let (process, port) = launch(folder, &configuration, "-1", disk.as_ref()).await;
        Self {
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

    /// Starts it again on the same port and store after it was killed.
    pub async fn start_again(&mut self) {
        let port = self.port.to_string();
        let disk = self.disk.as_ref();
        let (process, port) = launch(&self.folder, &self.configuration, &port, disk).await;
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

/// A file system in memory, of a size that can be used up. It lives in a mount namespace of its own, which needs no rights.
#[derive(Debug)]
pub struct SmallDisk {
    holder: Process,
    at: PathBuf,
}

impl SmallDisk {
    /// One of so many MiB, where a server with this folder keeps its store.
    ///
    /// # Panics
    /// When this machine permits no user namespaces.
    pub async fn of(mib: u32, folder: &Path) -> Self {
        let at = folder.join("store");
        std::fs::create_dir_all(&at).unwrap();
        let mut command = Command::new("unshare");
        let mount = format!(
            "mount -t tmpfs -o size={mib}m tmpfs \"$0\" && echo mounted && exec sleep infinity"
        );
        command
            .args(["--map-root-user", "--mount", "sh", "-c", &mount])
            .arg(&at);
        let holder = Process::start("small-disk", command, folder);
        eventually("a small disk is mounted (this needs user namespaces: as root, `sysctl user.max_user_namespaces=10000`, and where there is it, `sysctl kernel.unprivileged_userns_clone=1` or `kernel.apparmor_restrict_unprivileged_userns=0`)", Duration::from_secs(10), || async {
            holder.out().contains("mounted").then_some(())
        })
        .await;
        Self { holder, at }
    }

    /// A file on it, as seen from here.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.pid()));
        let at = self.at.strip_prefix("/").unwrap();
        root.join(at).join(name)
    }

    /// Uses up what is free.
    pub fn fill(&self) {
        let mut file = std::fs::File::create(self.file("filler")).unwrap();
        for size in [1 << 20, 4096, 1] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
    }

    /// Gives back what [`SmallDisk::fill`] took.
    pub fn free(&self) {
        std::fs::remove_file(self.file("filler")).unwrap();
    }

    /// The beginning of a command that runs where the disk is.
    fn command(&self) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["--user", "--mount", "--preserve-credentials", "--target"])
            .arg(self.holder.pid().to_string());
        command
    }
}

async fn launch(
    folder: &Path,
    configuration: &Path,
    port: &str,
    disk: Option<&SmallDisk>,
) -> (Process, u16) {
    let ports = folder.join("ports");
    std::fs::create_dir_all(&ports).unwrap();
    let program = tools::installed("nats-server");
    let mut command = match disk {
        Some(disk) => {
            let mut command = disk.command();
            command.arg(program);
            command
        }
        None => Command::new(program),
    };
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
