//! What `swarm up` knows of its processes, in a file that `swarm status` reads.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use swarm_protocol::Timestamp;

/// The file's name in the data directory.
pub(crate) const FILE: &str = "up.json";

/// A `swarm up` and its children.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stack {
    pub(crate) pid: u32,
    pub(crate) url: String,
    pub(crate) started_at: Timestamp,
    /// Whether the whole team has been ready.
    pub(crate) ready: bool,
    pub(crate) simulated: bool,
    pub(crate) children: Vec<Process>,
}

/// A child.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Process {
    pub(crate) name: String,
    /// None while it does not run.
    pub(crate) pid: Option<u32>,
    pub(crate) state: State,
    /// Since when it is in that state.
    pub(crate) since: Timestamp,
    /// How often it was started again.
    pub(crate) restarts: u32,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) last_error: Option<String>,
}

/// What a child is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    Running,
    /// It died and is started again after a delay.
    Restarting,
}

/// The stack as it is now; every change is written to the file.
#[derive(Clone)]
pub(super) struct Board {
    file: PathBuf,
    stack: Arc<Mutex<Stack>>,
}

impl Board {
    pub(super) fn new(file: PathBuf, url: String) -> Self {
        let stack = Stack {
            pid: std::process::id(),
            url,
            started_at: Timestamp::now(),
            ready: false,
            simulated: false,
            children: Vec::new(),
        };
        let board = Self {
            file,
            stack: Arc::new(Mutex::new(stack)),
        };
        board.write(&board.lock());
        board
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut Stack)) {
        let mut stack = self.lock();
        change(&mut stack);
        self.write(&stack);
    }

    /// Whether the whole team has been ready.
    pub(super) fn is_ready(&self) -> bool {
        self.lock().ready
    }

    /// Adds a child. Its place, by which it is changed.
    pub(super) fn add(&self, name: &str) -> usize {
        let mut stack = self.lock();
        stack.children.push(Process {
            name: name.to_owned(),
            pid: None,
            state: State::Running,
            since: Timestamp::now(),
            restarts: 0,
            last_error: None,
        });
        self.write(&stack);
        stack.children.len() - 1
    }

    pub(super) fn change_child(&self, place: usize, change: impl FnOnce(&mut Process)) {
        self.change(|stack| {
            if let Some(child) = stack.children.get_mut(place) {
                change(child);
                child.since = Timestamp::now();
            }
        });
    }

    /// Takes the file away: nothing runs any more.
    pub(super) fn clear(&self) {
        if let Err(error) = std::fs::remove_file(&self.file) {
            tracing::debug!(%error, "the status file was not removed");
        }
    }

    fn write(&self, stack: &Stack) {
        if let Err(error) = replace(&self.file, stack) {
            tracing::warn!(%error, file = %self.file.display(), "the status was not written");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Stack> {
        self.stack.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whoever reads sees the whole of the old text or the whole of the new one.
fn replace(file: &Path, stack: &Stack) -> std::io::Result<()> {
    let text = serde_json::to_vec_pretty(stack)?;
    let new = file.with_extension("new");
    std::fs::write(&new, text)?;
    std::fs::rename(&new, file)
}

/// What the file in a data directory says, when it is there.
pub(crate) fn read(data_dir: &Path) -> Option<Stack> {
    let text = std::fs::read(data_dir.join(FILE)).ok()?;
    serde_json::from_slice(&text).ok()
}
