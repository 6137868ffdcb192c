//! The golden files: what was stored, and what it is to lead to.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};
use swarm_tests::tools;

/// A stored message as a golden file has it.
#[derive(Deserialize)]
pub struct Message {
    pub subject: String,
    pub headers: Map<String, Value>,
    pub payload: String,
}

/// The stored messages of all cases of all versions.
pub fn cases() -> Vec<PathBuf> {
    let versions = entries(&tools::repository().join("tests/golden"));
    let files = versions
        .filter(|path| path.is_dir())
        .flat_map(|version| entries(&version));
    let mut logs: Vec<PathBuf> = files
        .filter(|file| {
            file.extension()
                .is_some_and(|extension| extension == "jsonl")
        })
        .collect();
    logs.sort();
    logs
}

fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
}

/// The messages of a case, in the order of the stream.
pub fn messages(case: &Path) -> Vec<Message> {
    let text = fs::read_to_string(case).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// What a case is to lead to, by the file beside it; written when it is new and `SWARM_GOLDEN=add` is set, and never again.
pub fn recorded(case: &Path, extension: &str, now: &Value) -> Value {
    let file = case.with_extension(extension);
    if !file.exists() && std::env::var("SWARM_GOLDEN").is_ok_and(|mode| mode == "add") {
        fs::write(&file, format!("{now:#}\n")).unwrap();
    }
    let text = fs::read_to_string(&file)
        .unwrap_or_else(|error| panic!("{}: {error}; see tests/golden/README.md", file.display()));
    serde_json::from_str(&text).unwrap()
}
