//! Child processes: their log lines under their names, restarts, and an orderly end.

use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
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

use super::board::{Board, State};
use crate::exit::{FAILED, Failure};
use crate::output;

/// A child that lived this long starts over with the shortest delay.
const STABLE: Duration = Duration::from_secs(30);
const FIRST_DELAY: Duration = Duration::from_millis(250);
const LONGEST_DELAY: Duration = Duration::from_secs(30);

/// What remains after the drain gets this long before it is killed.
const KILL_PATIENCE: Duration = Duration::from_secs(5);

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
    pub(super) fn start(name: &str, mut command: Command, board: &Board) -> Result<Self, Failure> {
        command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        let said = Said::default();
        let process = spawn(name, &mut command, &said)?;
        let place = board.add(name, process.id());
        let stop = CancellationToken::new();
        let (deaths_in, deaths) = mpsc::channel(8);
        let supervisor = tokio::spawn(supervise(
            name.to_owned(),
            command,
            process,
            stop.clone(),
            Reports {
                said,
                deaths: deaths_in,
                board: board.clone(),
                place,
            },
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

/// What a child said last on stderr.
type Said = Arc<Mutex<String>>;

/// Where the end of a child is told.
struct Reports {
    said: Said,
    /// To whoever waits for the team to be ready.
    deaths: mpsc::Sender<String>,
    board: Board,
    place: usize,
}

impl Reports {
    /// A child has died. Why, as far as it said so.
    fn died(&self, name: &str, status: std::io::Result<ExitStatus>) -> String {
        // Who is killed does not say why.
        let was_killed = status.as_ref().is_ok_and(|status| status.code().is_none());
        let how = describe(status);
        let said = self
            .said
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let why = if was_killed || said.is_empty() {
            how.clone()
        } else {
            format!("{how}: {said}")
        };
        // Nobody listens once the team is ready.
        self.deaths
            .try_send(format!(
                "{name} {how} while the team was starting; its log says why"
            ))
            .unwrap_or_default();
        self.board.change_child(self.place, |child| {
            child.pid = None;
            child.state = State::Restarting;
            child.last_error = Some(why.clone());
        });
        why
    }

    fn ended(&self) {
        self.board
            .change_child(self.place, |child| child.state = State::Ended);
    }

    fn started(&self, pid: Option<u32>) {
        self.board.change_child(self.place, |child| {
            child.pid = pid;
            child.state = State::Running;
            child.restarts += 1;
        });
    }
}

fn spawn(name: &str, command: &mut Command, said: &Said) -> Result<tokio::process::Child, Failure> {
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
        let before = std::mem::take(&mut *said.lock().unwrap_or_else(PoisonError::into_inner));
        tokio::spawn(pass_on(name.to_owned(), stderr, before, Arc::clone(said)));
    }
    Ok(process)
}

/// Passes the lines of a child on. What it said at its end before, word for word, is not said again.
async fn pass_on(name: String, stream: impl AsyncRead + Unpin, before: String, said: Said) {
    let mut lines = BufReader::new(stream).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        // What a server says when all is well is for those who ask for it; so is that the passwords, which the
        // environment holds, are not hashed.
        if line.contains("[INF]") || line.contains("Plaintext passwords") || line == before {
            tracing::debug!(child = name, line);
        } else {
            output::note(&format!("{name:<17}| {line}"));
        }
        *said.lock().unwrap_or_else(PoisonError::into_inner) = line;
    }
}

async fn supervise(
    name: String,
    mut command: Command,
    mut process: tokio::process::Child,
    stop: CancellationToken,
    reports: Reports,
) {
    let mut delay = FIRST_DELAY;
    let mut last = String::new();
    loop {
        let born = Instant::now();
        // Held open while the process lives, and taken out first: waiting for a child closes its stdin.
        let _stdin = process.stdin.take();
        let status = tokio::select! {
            status = process.wait() => status,
            () = stop.cancelled() => return end(&name, process).await,
        };
        let why = reports.died(&name, status);
        if why == last {
            tracing::debug!(child = name, why, "died again");
        } else {
            tracing::warn!(child = name, why, "died");
        }
        last = why;
        delay = if born.elapsed() > STABLE {
            FIRST_DELAY
        } else {
            (delay * 2).min(LONGEST_DELAY)
        };
        let pause = tokio::time::sleep(delay);
        if stop.run_until_cancelled(pause).await.is_none() {
            return;
        }
        process = match spawn(&name, &mut command, &reports.said) {
            Ok(process) => process,
            Err(failure) => {
                tracing::error!(child = name, ?failure, "cannot be started again");
                reports.ended();
                return;
            }
        };
        reports.started(process.id());
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
