//! A process under test: its output is kept, it is killed when the test ends.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::eventually;
use crate::nats_cli::Printed;

/// The ports that are given to processes which must know their port beforehand.
const FIRST_PORT: u16 = 20_000;
const GIVEN_PORTS: u16 = 10_000;

/// A running process.
#[derive(Debug)]
pub struct Process {
    child: std::process::Child,
    log: PathBuf,
    out: PathBuf,
}

impl Process {
    /// Starts a command; what it writes goes to files in `folder` named after `name`.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(name: &str, mut command: Command, folder: &Path) -> Self {
        let unique = uuid::Uuid::new_v4().simple().to_string();
        let log = folder.join(format!("{name}-{}.err", &unique[..8]));
        let out = log.with_extension("out");
        command
            .stderr(File::create(&log).unwrap())
            .stdout(File::create(&out).unwrap());
        let child = command
            .stdin(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self { child, log, out }
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote to stderr so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// What it wrote to stdout so far.
    #[must_use]
    pub fn out(&self) -> String {
        std::fs::read_to_string(&self.out).unwrap_or_default()
    }

    /// The most memory that it has had so far, in KiB.
    #[must_use]
    pub fn peak_memory_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let size = line.and_then(|line| line.trim().strip_suffix(" kB"));
        size.and_then(|size| size.parse().ok())
            .unwrap_or_else(|| panic!("{status}"))
    }

    /// Waits until its log holds a text.
    pub async fn says(&self, text: &str, patience: Duration) {
        let found = eventually_or_log(self, text, patience).await;
        assert!(found, "no `{text}` within {patience:?} in:\n{}", self.log());
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.pid()).unwrap());
        kill(pid, signal).unwrap_or_else(|error| panic!("{signal} to {pid}: {error}"));
    }

    /// Kills it at once, as `kill -9` does, and waits until it is gone.
    pub fn kill_9(&mut self) {
        self.signal(Signal::SIGKILL);
        self.child.wait().expect("a killed process ends");
    }

    /// Asks it to end, and kills it when it has not within `patience`.
    pub fn stop(&mut self, patience: Duration) {
        let deadline = std::time::Instant::now() + patience;
        let mut asked = false;
        while let Ok(None) = self.child.try_wait() {
            if std::time::Instant::now() > deadline {
                self.kill_9();
                return;
            }
            if !asked {
                self.signal(Signal::SIGTERM);
                asked = true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        let ended = self.child.try_wait().expect("a child can be waited for");
        ended.is_some()
    }

    /// Waits for its end.
    pub async fn ends(&mut self, patience: Duration) -> ExitStatus {
        let log = self.log.clone();
        let child = &mut self.child;
        let deadline = std::time::Instant::now() + patience;
        loop {
            if let Some(status) = child.try_wait().expect("a child can be waited for") {
                return status;
            }
            let said = || std::fs::read_to_string(&log).unwrap_or_default();
            assert!(
                std::time::Instant::now() < deadline,
                "still running after {patience:?}:\n{}",
                said()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Runs a command to its end. What it printed, and its exit code; -1 when a signal ended it.
pub async fn run(mut command: Command) -> (Printed, i32) {
    let running = tokio::task::spawn_blocking(move || command.output());
    let output = tokio::time::timeout(Duration::from_secs(120), running)
        .await
        .expect("the command ends")
        .unwrap()
        .unwrap();
    let printed = Printed {
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
        ok: output.status.success(),
    };
    (printed, output.status.code().unwrap_or(-1))
}

async fn eventually_or_log(process: &Process, text: &str, patience: Duration) -> bool {
    let looking = eventually(text, patience * 2, || async {
        process.log().contains(text).then_some(())
    });
    tokio::time::timeout(patience, looking).await.is_ok()
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.child.kill().unwrap_or_default();
            self.child.wait().map(drop).unwrap_or_default();
        }
        if std::thread::panicking() {
            // The reader of a failed test wants to know what its processes said.
            eprintln!("--- {}\n{}", self.log.display(), self.log());
        }
    }
}

/// A port that is free now, and below those that systems give to outgoing connections: nobody is likely to take it
/// before the process that it is for.
#[must_use]
pub fn free_port() -> u16 {
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    // Test processes that run beside each other begin at different places, far enough apart for their numbers to be next to
    // each other.
    let first = std::process::id().wrapping_mul(101) % u32::from(GIVEN_PORTS);
    for _ in 0..GIVEN_PORTS {
        let next = u32::from(TAKEN.fetch_add(1, Ordering::Relaxed));
        let offset = u16::try_from((first + next) % u32::from(GIVEN_PORTS)).unwrap();
        let port = FIRST_PORT + offset;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("all ports from {FIRST_PORT} on are taken");
}
