//! Child processes: their log lines under their names, restarts, and an orderly end.

use std::collections::{HashSet, VecDeque};
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use swarm_protocol::Code;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::Command;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::board::{Board, State};
use super::leash::Leash;
use crate::args::LogFormat;
use crate::exit::{FAILED, Failure, UNREACHABLE, USAGE};
use crate::output;

/// A child that lived this long starts over with the shortest delay.
const STABLE: Duration = Duration::from_secs(30);
const FIRST_DELAY: Duration = Duration::from_millis(250);
const LONGEST_DELAY: Duration = Duration::from_secs(30);

/// What remains after the drain gets this long before it is killed.
pub(super) const KILL_PATIENCE: Duration = Duration::from_secs(5);

/// The last line of a process that has ended is waited for this long.
const LAST_LINE_PATIENCE: Duration = Duration::from_millis(500);

/// So many of a child's last lines are remembered.
const REMEMBERED: usize = 64;

/// What a role says last, when it ends for a reason, begins so.
const LAST_WORDS: &str = "swarm: ";

/// How children are looked after.
#[derive(Clone)]
pub(super) struct Supervision {
    pub(super) board: Board,
    pub(super) data_dir: PathBuf,
    /// How their lines are passed on.
    pub(super) log: LogFormat,
}

/// A child under supervision.
pub(super) struct Child {
    name: String,
    stop: CancellationToken,
    supervisor: JoinHandle<()>,
    deaths: mpsc::Receiver<Failure>,
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
        supervision: &Supervision,
    ) -> Result<Self, Failure> {
        command
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        let place = supervision.board.add(name);
        let stop = CancellationToken::new();
        let (deaths_in, deaths) = mpsc::channel(8);
        let mut supervised = Supervised {
            name: name.to_owned(),
            leash: Leash::new(&supervision.data_dir, place, name),
            command,
            log: supervision.log,
            said: Said::default(),
            listening: None,
            deaths: deaths_in,
            board: supervision.board.clone(),
            place,
        };
        let process = supervised.spawn()?;
        let supervisor = tokio::spawn(supervised.keep(process, stop.clone()));
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
        loop {
            let died = self
                .children
                .iter_mut()
                .find_map(|child| child.deaths.try_recv().ok());
            match died {
                Some(failure) => return failure,
                None => tokio::time::sleep(Duration::from_millis(50)).await,
            }
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
pub(super) fn is_foundation(name: &str) -> bool {
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

/// The last lines of a child's life, oldest first.
type Said = Arc<Mutex<VecDeque<String>>>;

/// A child, and where what becomes of it is told.
struct Supervised {
    name: String,
    leash: Leash,
    command: Command,
    log: LogFormat,
    said: Said,
    /// Passes its lines on.
    listening: Option<JoinHandle<()>>,
    /// To whoever waits for the team to be ready.
    deaths: mpsc::Sender<Failure>,
    board: Board,
    place: usize,
}

impl Supervised {
    fn spawn(&mut self) -> Result<tokio::process::Child, Failure> {
        let mut process = self.leash.spawn(&mut self.command).map_err(|error| {
            let program = self.command.as_std().get_program().display();
            Failure::new(
                FAILED,
                Code::Unavailable,
                format!("{}: {program} cannot be started: {error}", self.name),
            )
        })?;
        if let Some(stderr) = process.stderr.take() {
            let before = std::mem::take(&mut *lock(&self.said));
            let voice = Voice {
                name: self.name.clone(),
                log: self.log,
                before: before.into_iter().collect(),
                said: Arc::clone(&self.said),
            };
            self.listening = Some(tokio::spawn(voice.pass_on(stderr)));
        }
        self.board.change_child(self.place, |child| {
            child.pid = process.id();
            child.state = State::Running;
        });
        Ok(process)
    }

    /// Starts the process again whenever it dies, after a delay that grows, until the stop.
    async fn keep(mut self, mut process: tokio::process::Child, stop: CancellationToken) {
        let mut delays = Delays::default();
        let mut last = String::new();
        loop {
            let born = Instant::now();
            // Held open while the process lives, and taken out first: waiting for a child closes its stdin.
            let _stdin = process.stdin.take();
            let status = tokio::select! {
                status = process.wait() => status,
                () = stop.cancelled() => return end(&self.name, process).await,
            };
            self.hear_it_out().await;
            self.died(status, &mut last);
            let mut lived = born.elapsed();
            process = loop {
                let pause = tokio::time::sleep(delays.after(lived));
                if stop.run_until_cancelled(pause).await.is_none() {
                    return;
                }
                match self.spawn() {
                    Ok(process) => break process,
                    Err(failure) => {
                        lived = Duration::ZERO;
                        let why = failure.error.map(|error| error.message);
                        self.tell(why.unwrap_or_default(), &mut last);
                    }
                }
            };
            self.board
                .change_child(self.place, |child| child.restarts += 1);
        }
    }

    /// The last line may still be on its way when a process has ended.
    async fn hear_it_out(&mut self) {
        let Some(listening) = self.listening.take() else {
            return;
        };
        if let Ok(Err(error)) = timeout(LAST_LINE_PATIENCE, listening).await {
            tracing::debug!(%error, "its lines were not passed on");
        }
    }

    fn died(&self, status: std::io::Result<ExitStatus>, last: &mut String) {
        let code = status.as_ref().ok().and_then(ExitStatus::code);
        let how = describe(status);
        let said = lock(&self.said).back().cloned();
        // Who is killed does not say why.
        let said = said.filter(|_| code.is_some());
        let said = said.map(|line| line.strip_prefix(LAST_WORDS).unwrap_or(&line).to_owned());
        let why = match &said {
            Some(said) => format!("{how}: {said}"),
            None => how,
        };
        if !self.board.is_ready() {
            let code = code.and_then(|code| u8::try_from(code).ok());
            let code = code.filter(|code| [USAGE, UNREACHABLE].contains(code));
            let failure = Failure::new(
                code.unwrap_or(FAILED),
                Code::Unavailable,
                format!("{} {why}", self.name),
            );
            // It has room for the first ones, and only those are told.
            self.deaths.try_send(failure).unwrap_or_default();
        }
        self.tell(why, last);
    }

    /// Says why the child does not run, unless that is what was said before.
    fn tell(&self, why: String, last: &mut String) {
        let child = self.name.as_str();
        // While the team is starting, the first death is what `up` ends with.
        if why == *last || !self.board.is_ready() {
            tracing::debug!(child, why, "died");
        } else {
            tracing::error!(child, why, "died; it is started again");
        }
        last.clone_from(&why);
        self.board.change_child(self.place, |child| {
            child.pid = None;
            child.state = State::Restarting;
            child.last_error = Some(why);
        });
    }
}

/// The pauses before a child is started again.
struct Delays {
    next: Duration,
}

impl Default for Delays {
    fn default() -> Self {
        Self { next: FIRST_DELAY }
    }
}

impl Delays {
    /// The pause after a life of this length.
    fn after(&mut self, lived: Duration) -> Duration {
        if lived > STABLE {
            self.next = FIRST_DELAY;
        }
        let pause = self.next;
        self.next = (pause * 2).min(LONGEST_DELAY);
        pause
    }
}

/// The lines of one life of a child.
struct Voice {
    name: String,
    log: LogFormat,
    /// What it said in the life before.
    before: HashSet<String>,
    said: Said,
}

impl Voice {
    /// Passes the lines on. What was said in the life before, word for word, is not said again.
    async fn pass_on(self, stream: impl AsyncRead + Unpin) {
        let mut lines = BufReader::new(stream).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            if self.is_news(&line) {
                self.say(&line);
            } else {
                tracing::debug!(child = self.name, line);
            }
            let mut said = lock(&self.said);
            if said.len() == REMEMBERED {
                said.pop_front();
            }
            said.push_back(line);
        }
    }

    /// What a server says when all is well is for those who ask for it; so is that the passwords, which the environment
    /// holds, are not hashed. Last words are told with the death.
    fn is_news(&self, line: &str) -> bool {
        !(line.contains("[INF]")
            || line.contains("Plaintext passwords")
            || line.starts_with(LAST_WORDS)
            || self.before.contains(line))
    }

    fn say(&self, line: &str) {
        match self.log {
            LogFormat::Text => output::note(&format!("{:<17}| {line}", self.name)),
            LogFormat::Json if line.starts_with('{') => output::note(line),
            LogFormat::Json => {
                output::note(&json!({ "child": self.name, "message": line }).to_string());
            }
        }
    }
}

fn lock(said: &Said) -> MutexGuard<'_, VecDeque<String>> {
    said.lock().unwrap_or_else(PoisonError::into_inner)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_until_a_child_has_lived_for_long() {
        let mut delays = Delays::default();
        let pauses: Vec<u128> = (0..9)
            .map(|_| delays.after(Duration::ZERO).as_millis())
            .collect();
        assert_eq!(
            pauses,
            [250, 500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]
        );
        assert_eq!(delays.after(STABLE * 2), FIRST_DELAY);
    }
}
