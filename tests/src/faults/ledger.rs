//! What the tools of the tests have done, in a file that outlives them: a line is added when a call begins and when it has
//! taken effect, and none is ever changed.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use swarm_protocol::Timestamp;
use uuid::Uuid;

/// A file of lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger(PathBuf);

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// When.
    pub at: Timestamp,
    /// The worker's process.
    pub pid: u32,
    /// The call.
    #[serde(flatten)]
    pub call: Call,
    /// Which execution of the call: each has its own.
    pub entry: Uuid,
    /// What happened.
    pub what: What,
    /// What the call was told to write.
    pub text: String,
}

/// A call of a task: the same when another worker makes it again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Call {
    /// The run.
    pub run: String,
    /// The task.
    pub task: String,
    /// The id of the call, unique in the task.
    pub call: String,
    /// The tool.
    pub tool: String,
}

/// What a line says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// The call has begun.
    Begin,
    /// It has taken effect. The tool may take a while longer to say so.
    Effect,
}

impl Ledger {
    /// The ledger in this folder, which need not be there yet.
    #[must_use]
    pub fn in_folder(folder: &Path) -> Self {
        Self(folder.join("ledger.jsonl"))
    }

    /// Adds a line, in one write behind all others.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn add(&self, line: &Line) -> std::io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        let mut file = OpenOptions::new().create(true).append(true).open(&self.0)?;
        file.write_all(&text)
    }

    /// All lines.
    #[must_use]
    pub fn lines(&self) -> Vec<Line> {
        let text = std::fs::read_to_string(&self.0).unwrap_or_default();
        text.lines()
            .map(|line| {
                serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"))
            })
            .collect()
    }

    /// Lines of a run that say this.
    #[must_use]
    pub fn of(&self, run: &str, what: What) -> Vec<Line> {
        let lines = self.lines().into_iter();
        lines
            .filter(|line| line.call.run == run && line.what == what)
            .collect()
    }

    /// When each call began, oldest first.
    #[must_use]
    pub fn begins(&self) -> BTreeMap<Call, Vec<Timestamp>> {
        let mut begins: BTreeMap<Call, Vec<Timestamp>> = BTreeMap::new();
        for line in self.lines() {
            if line.what == What::Begin {
                begins.entry(line.call).or_default().push(line.at);
            }
        }
        begins
    }
}
