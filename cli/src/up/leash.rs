//! What is left of a `swarm up` that was killed: children that nobody supervises.
//!
//! Each child holds the lock on a file of its own for as long as it lives: the file is its stdout, which no child writes to
//! and which is open for reading only. So nobody guesses whether the process whose id stands in the file is still that
//! child. Process ids are given away again; a lock is not.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Serialize;
use tokio::process::Command;

use super::child::{KILL_PATIENCE, is_foundation};

/// The folder of the files in the data directory.
const FOLDER: &str = "children";

const EXTENSION: &str = "pid";
const PERIOD: Duration = Duration::from_millis(10);

/// The file that one child holds.
pub(super) struct Leash {
    file: PathBuf,
}

impl Leash {
    /// For the `place`th child of a data directory.
    pub(super) fn new(data_dir: &Path, place: usize, name: &str) -> Self {
        let file = data_dir
            .join(FOLDER)
            .join(format!("{place}-{name}.{EXTENSION}"));
        Self { file }
    }

    /// Starts a command that holds the file.
    ///
    /// # Errors
    /// When the file or the process cannot be made.
    pub(super) fn spawn(&self, command: &mut Command) -> std::io::Result<tokio::process::Child> {
        if let Some(folder) = self.file.parent() {
            std::fs::create_dir_all(folder)?;
        }
        // A new file: what held the old one, if anything still does, is somebody else.
        if let Err(error) = std::fs::remove_file(&self.file)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            return Err(error);
        }
        File::create_new(&self.file)?;
        let held = File::open(&self.file)?;
        held.lock()?;
        let child = command.stdout(Stdio::from(held)).spawn();
        // The command is used again, and must not hold what its child held.
        command.stdout(Stdio::null());
        let child = child?;
        if let Some(pid) = child.id() {
            std::fs::write(&self.file, pid.to_string())?;
        }
        Ok(child)
    }
}

/// A child that outlived its `swarm up`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Left {
    pub(crate) name: String,
    pub(crate) pid: i32,
    #[serde(skip)]
    file: PathBuf,
}

impl std::fmt::Display for Left {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, process {}", self.name, self.pid)
    }
}

/// The children in a data directory that live. When nobody holds that directory, they are left over.
pub(crate) fn living(data_dir: &Path) -> Vec<Left> {
    let entries = std::fs::read_dir(data_dir.join(FOLDER));
    let mut files: Vec<PathBuf> = entries
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|file| file.extension().is_some_and(|ext| ext == EXTENSION))
        .collect();
    files.sort();
    files.into_iter().filter_map(held).collect()
}

fn held(file: PathBuf) -> Option<Left> {
    if !is_held(&file) {
        return None;
    }
    let pid = std::fs::read_to_string(&file).ok()?.trim().parse().ok()?;
    let (_place, name) = file.file_stem()?.to_str()?.split_once('-')?;
    let name = name.to_owned();
    Some(Left { name, pid, file })
}

fn is_held(file: &Path) -> bool {
    File::open(file)
        .is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

/// Ends what is left over: the roles first, which give back what they work on, then what they stand on.
pub(super) fn end(left: Vec<Left>, drain: Duration) {
    let (foundations, roles): (Vec<_>, Vec<_>) =
        left.into_iter().partition(|left| is_foundation(&left.name));
    end_all(&roles, drain + KILL_PATIENCE);
    end_all(&foundations, KILL_PATIENCE);
}

fn end_all(left: &[Left], patience: Duration) {
    for (how, patience) in [
        (Signal::SIGTERM, patience),
        (Signal::SIGKILL, KILL_PATIENCE),
    ] {
        let living: Vec<&Left> = left.iter().filter(|left| is_held(&left.file)).collect();
        for left in &living {
            if let Err(error) = kill(Pid::from_raw(left.pid), how) {
                tracing::debug!(%left, %error, "could not be asked to end");
            }
        }
        let deadline = Instant::now() + patience;
        while living.iter().any(|left| is_held(&left.file)) && Instant::now() < deadline {
            std::thread::sleep(PERIOD);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_child_is_known_as_long_as_it_lives() {
        let folder = tempfile_folder();
        let leash = Leash::new(&folder, 0, "some-child");
        let mut command = Command::new("sleep");
        command.arg("1000").kill_on_drop(true);
        for _again in 0..2 {
            let mut child = leash.spawn(&mut command).unwrap();
            let found = living(&folder);
            let names: Vec<&str> = found.iter().map(|left| left.name.as_str()).collect();
            assert_eq!(names, ["some-child"]);
            assert_eq!(u32::try_from(found[0].pid).ok(), child.id());
            let waiting = tokio::spawn(async move { child.wait().await });
            tokio::task::spawn_blocking(move || end(found, Duration::from_secs(1)))
                .await
                .unwrap();
            assert_eq!(living(&folder), []);
            assert!(!waiting.await.unwrap().unwrap().success());
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }

    fn tempfile_folder() -> PathBuf {
        std::env::temp_dir().join(format!("swarm-leash-{}", uuid::Uuid::new_v4()))
    }
}
