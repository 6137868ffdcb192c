//! `swarm up --detach` and `swarm down`.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use swarm_protocol::Code;

use super::{READY_PATIENCE, board, home, leash};
use crate::data_dir;
use crate::exit::{FAILED, Failure};
use crate::output::{self, Format};

/// The log of a detached stack, in the data directory.
const LOG: &str = "logs/up.log";

/// A log that is larger is put aside at the next start.
const LARGEST_LOG: u64 = 16 * 1024 * 1024;

const PERIOD: Duration = Duration::from_millis(25);

/// Of a stack that did not start, so much of the end of its log is shown.
const SHOWN: u64 = 2048;

/// Beyond the drain, a stack gets this long to end its processes.
const DOWN_PATIENCE: Duration = Duration::from_secs(20);

/// Starts the stack in a process of its own, and returns when it is ready.
pub(crate) fn detach(format: Format) -> Result<(), Failure> {
    let directory = data_dir::path()?;
    // Taken and given back at once: whoever has it is named, and a directory that cannot be used is, too.
    drop(home::Home::open(&directory)?);
    let path = directory.join(LOG);
    let log = open_log(&path).map_err(|error| {
        Failure::usage(format!(
            "{}: the log cannot be written: {error}",
            path.display()
        ))
    })?;
    let begin = log.metadata().map_or(0, |metadata| metadata.len());
    let mut child = start(log).map_err(|error| {
        Failure::new(
            FAILED,
            Code::Internal,
            format!("swarm up cannot be started: {error}"),
        )
    })?;
    match wait_until_ready(&mut child, &directory) {
        Outcome::Ready => {
            let pid = child.id();
            output::note(&format!(
                "swarm is up, process {pid}; its log is {}; `swarm status` shows it, `swarm down` stops it",
                path.display()
            ));
            Ok(())
        }
        Outcome::Ended(status) => {
            let said = tail(&path, begin);
            output::note(match format {
                Format::Text => said.trim_end(),
                // The error, without what was logged before it.
                Format::Json => said.lines().last().unwrap_or_default(),
            });
            let code = status.code().and_then(|code| u8::try_from(code).ok());
            Err(Failure::silent(code.unwrap_or(FAILED)))
        }
        Outcome::Late => {
            if format == Format::Text {
                output::note(tail(&path, begin).trim_end());
            }
            Err(Failure::new(
                FAILED,
                Code::Unavailable,
                format!(
                    "process {} is not ready yet; `swarm status` shows it, `swarm down` stops it",
                    child.id()
                ),
            ))
        }
    }
}

enum Outcome {
    Ready,
    Ended(ExitStatus),
    Late,
}

fn open_log(path: &Path) -> std::io::Result<File> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    if std::fs::metadata(path).is_ok_and(|metadata| metadata.len() > LARGEST_LOG) {
        std::fs::rename(path, path.with_extension("log.1"))?;
    }
    OpenOptions::new().create(true).append(true).open(path)
}

/// This command again, without `--detach`, in a process group that the terminal's signals do not reach.
fn start(log: File) -> std::io::Result<Child> {
    use std::os::unix::process::CommandExt as _;
    let arguments = std::env::args_os()
        .skip(1)
        .filter(|argument| argument != "--detach");
    Command::new(std::env::current_exe()?)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0)
        .spawn()
}

fn wait_until_ready(child: &mut Child, directory: &Path) -> Outcome {
    let deadline = Instant::now() + READY_PATIENCE * 2;
    while Instant::now() < deadline {
        if let Ok(Some(status)) = child.try_wait() {
            return Outcome::Ended(status);
        }
        if board::read(directory).is_some_and(|stack| stack.ready && stack.pid == child.id()) {
            return Outcome::Ready;
        }
        std::thread::sleep(PERIOD);
    }
    Outcome::Late
}

fn tail(path: &PathBuf, begin: u64) -> String {
    let read = || -> std::io::Result<String> {
        let mut file = File::open(path)?;
        let end = file.metadata()?.len();
        file.seek(SeekFrom::Start(begin.max(end.saturating_sub(SHOWN))))?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    };
    read().unwrap_or_default()
}

/// Stops the stack of the data directory, and returns when it has ended.
pub(crate) fn down(drain: Duration) -> Result<(), Failure> {
    let directory = data_dir::path()?;
    let Some(pid) = home::holder(&directory) else {
        let left = leash::living(&directory);
        if !left.is_empty() {
            let ended: Vec<String> = left.iter().map(ToString::to_string).collect();
            leash::end(left, drain);
            output::note(&format!(
                "swarm is down; a `swarm up` that was killed had left {}",
                ended.join("; ")
            ));
            return Ok(());
        }
        output::note(&format!("nothing is running in {}", directory.display()));
        return Ok(());
    };
    let process = Pid::from_raw(pid);
    kill(process, Signal::SIGTERM).map_err(|error| {
        Failure::new(
            FAILED,
            Code::Unavailable,
            format!("process {pid} cannot be stopped: {error}"),
        )
    })?;
    let deadline = Instant::now() + drain + DOWN_PATIENCE;
    while home::holder(&directory) == Some(pid) {
        if Instant::now() > deadline {
            let message = format!(
                "process {pid} has not ended within {:?}; `kill -9 {pid}` ends it, and no task is lost",
                drain + DOWN_PATIENCE
            );
            return Err(Failure::new(FAILED, Code::Deadline, message));
        }
        std::thread::sleep(PERIOD);
    }
    output::note(&format!("swarm is down, process {pid} has ended"));
    Ok(())
}
