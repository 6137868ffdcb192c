//! Child processes: their log lines under their names, restarts, and an orderly end.

use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use swarm_protocol::Code;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::Command;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::exit::{FAILED, Failure};
use crate::output;

/// A child that lived this long starts over with the shortest delay.
const STABLE: Duration = Duration::from_secs(30);
const FIRST_DELAY: Duration = Duration::from_millis(250);
const LONGEST_DELAY: Duration = Duration::from_secs(30);

/// What remains after the drain gets this long before it is killed.
const KILL_PATIENCE: Duration = Duration::from_secs(5);

/// Whether a child that dies is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Restart {
    Always,
    Never,
}

/// A child under supervision.
pub(super) struct Child {
    name: String,
    stop: CancellationToken,
    supervisor: JoinHandle<()>,
    deaths: mpsc::Receiver<String>,
}

/// All children, in the order of their start.
#[derive(Default)]
pub(super) struct Children {
    children: Vec<Child>,
}

impl Child {
    /// Starts a process of its own group: Ctrl-C reaches `swarm up` alone, which stops the others in their order.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub(super) fn start(
        name: &str,
        mut command: Command,
        restart: Restart,
    ) -> Result<Self, Failure> {
        command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        let process = spawn(name, &mut command)?;
        let stop = CancellationToken::new();
        let (deaths_in, deaths) = mpsc::channel(8);
        let supervisor = tokio::spawn(supervise(
            name.to_owned(),
            command,
            process,
            restart,
            stop.clone(),
            deaths_in,
        ));
        Ok(Self {
            name: name.to_owned(),
            stop,
            supervisor,
            deaths,
        })
    }
}

impl Children {
    pub(super) fn add(&mut self, child: Child) {
        self.children.push(child);
    }

    /// Waits for the first child that dies while the team is being started: that is no time for restarts.
    pub(super) async fn first_death(&mut self) -> Failure {
        let message = loop {
            let died = self
                .children
                .iter_mut()
                .find_map(|child| child.deaths.try_recv().ok());
            match died {
                Some(message) => break message,
                None => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        };
        Failure::new(FAILED, Code::Unavailable, message)
    }

    /// Lets the children run. Returns when one has died for good.
    pub(super) async fn supervise(&mut self) -> Result<(), Failure> {
        loop {
            if let Some(child) = self
                .children
                .iter()
                .find(|child| child.supervisor.is_finished())
            {
                return Err(Failure::new(
                    FAILED,
                    Code::Unavailable,
                    format!("{} has ended", child.name),
                ));
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Stops roles first, so that they can settle what they have, then the simulator and the server.
    pub(super) async fn stop(self, drain: Duration) {
        let (roles, rest): (Vec<_>, Vec<_>) = self
            .children
            .into_iter()
            .partition(|child| !is_foundation(&child.name));
        stop_all(roles, drain + KILL_PATIENCE).await;
        stop_all(rest, KILL_PATIENCE).await;
    }
}

/// What the roles stand on.
fn is_foundation(name: &str) -> bool {
    [super::server::NAME, super::simulator::NAME].contains(&name)
}

async fn stop_all(children: Vec<Child>, patience: Duration) {
    for child in &children {
        child.stop.cancel();
    }
    let deadline = Instant::now() + patience;
    for child in children {
        let abort = child.supervisor.abort_handle();
        if tokio::time::timeout_at(deadline, child.supervisor)
            .await
            .is_err()
        {
            tracing::warn!(child = child.name, "did not stop in time and is killed");
            abort.abort();
        }
    }
}

fn spawn(name: &str, command: &mut Command) -> Result<tokio::process::Child, Failure> {
    let mut process = command.spawn().map_err(|error| {
        let program = command
            .as_std()
            .get_program()
            .to_string_lossy()
            .into_owned();
        Failure::new(
            FAILED,
            Code::Unavailable,
            format!("{name}: {program} cannot be started: {error}"),
        )
    })?;
    if let Some(stderr) = process.stderr.take() {
        tokio::spawn(pass_on(name.to_owned(), stderr));
    }
    Ok(process)
}

async fn pass_on(name: String, stream: impl AsyncRead + Unpin) {
    let mut lines = BufReader::new(stream).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        // What a server says when all is well is for those who ask for it; so is that the passwords, which the
        // environment holds, are not hashed.
        if line.contains("[INF]") || line.contains("Plaintext passwords") {
            tracing::debug!(child = name, line);
        } else {
            output::note(&format!("{name:<17}| {line}"));
        }
    }
}

async fn supervise(
    name: String,
    mut command: Command,
    mut process: tokio::process::Child,
    restart: Restart,
    stop: CancellationToken,
    deaths: mpsc::Sender<String>,
) {
    let mut delay = FIRST_DELAY;
    loop {
        let born = Instant::now();
        // Held open while the process lives, and taken out first: waiting for a child closes its stdin.
        let _stdin = process.stdin.take();
        let status = tokio::select! {
            status = process.wait() => status,
            () = stop.cancelled() => return end(&name, process).await,
        };
        let how = describe(status);
        tracing::warn!(child = name, how, "died");
        // Nobody listens once the team is ready.
        deaths
            .try_send(format!(
                "{name} {how} while the team was starting; its log says why"
            ))
            .unwrap_or_default();
        if restart == Restart::Never {
            return;
        }
        delay = if born.elapsed() > STABLE {
            FIRST_DELAY
        } else {
            (delay * 2).min(LONGEST_DELAY)
        };
        if stop
            .run_until_cancelled(tokio::time::sleep(delay))
            .await
            .is_none()
        {
            return;
        }
        process = match spawn(&name, &mut command) {
            Ok(process) => process,
            Err(failure) => {
                tracing::error!(child = name, ?failure, "cannot be started again");
                return;
            }
        };
    }
}

/// Asks a process to end, and waits for it: whoever waits on this decides how long.
async fn end(name: &str, mut process: tokio::process::Child) {
    if let Some(pid) = process.id().and_then(|id| i32::try_from(id).ok())
        && let Err(error) = kill(Pid::from_raw(pid), Signal::SIGTERM)
    {
        tracing::debug!(child = name, %error, "could not be asked to end");
    }
    let waited = timeout(Duration::from_secs(3600), process.wait()).await;
    if let Ok(Err(error)) = waited {
        tracing::debug!(child = name, %error, "its end is not known");
    }
}

fn describe(status: std::io::Result<ExitStatus>) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    match status {
        Ok(status) => match (status.code(), status.signal()) {
            (Some(code), _) => format!("ended with exit code {code}"),
            (None, Some(signal)) => format!("was killed by signal {signal}"),
            (None, None) => "ended".to_owned(),
        },
        Err(error) => format!("was lost: {error}"),
    }
}
