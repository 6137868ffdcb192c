//! The same requests to real Ollama servers and to the simulator: `make test-ollama`, or some of the cases by
//! `cargo run -p swarm-tests --example ollama -- cancel pool`, of one server with `--on 0.17.4` before. With `--document FILE` it writes what it found.
//!
//! It is a program and no test: the servers it needs take a quarter of an hour to build (`scripts/ollama`). Every case
//! says what each server answers; another answer fails the run, and so does a difference between two of them that has no
//! name, or a name without a difference.
//!
//! Reading order: `case`, `outcome`, `host`, `cases`, `document`.

mod case;
mod cases;
mod document;
mod host;
mod outcome;

use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;

use case::{Case, Found};
use host::{Host, Kind};

/// A case that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::main]
async fn main() -> ExitCode {
    let mut words = Vec::new();
    let mut document = None;
    let mut kinds = Kind::ALL.to_vec();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        if argument == "--document" {
            document = Some(PathBuf::from(arguments.next().expect("--document FILE")));
        } else if argument == "--on" {
            let kind = arguments.next().expect("--on SERVER");
            kinds.retain(|known| known.to_string() == kind);
        } else {
            words.push(argument);
        }
    }
    assert!(
        document.is_none() || (words.is_empty() && kinds == Kind::ALL),
        "a document holds all cases and servers"
    );
    host::check_installed();

    let begun = Instant::now();
    let cases = cases::all();
    let chosen = cases.into_iter().filter(|case| {
        words.is_empty()
            || words
                .iter()
                .any(|word| format!("{}: {}", case.part, case.name).contains(word.as_str()))
    });
    let mut results = Vec::new();
    for case in chosen {
        let found = try_on_all(&case, &kinds).await;
        let faults = case.faults(&found);
        println!(
            "{} {}: {}",
            if faults.is_empty() { "ok  " } else { "FAIL" },
            case.part,
            case.name
        );
        for fault in &faults {
            println!("     {fault}");
        }
        results.push((case, found, faults));
    }
    let failed = results
        .iter()
        .filter(|(_, _, faults)| !faults.is_empty())
        .count();
    println!(
        "{} cases, {failed} failed, {} s",
        results.len(),
        begun.elapsed().as_secs()
    );
    if failed > 0 || results.is_empty() {
        return ExitCode::FAILURE;
    }
    if let Some(path) = document {
        let results: Vec<_> = results
            .iter()
            .map(|(case, found, _)| (case, found))
            .collect();
        std::fs::write(&path, document::page(&results)).expect("the document can be written");
        println!("{} is written", path.display());
    }
    ExitCode::SUCCESS
}

/// What each server makes of a case, each with a process of its own.
async fn try_on_all(case: &Case, kinds: &[Kind]) -> Found {
    let mut found = Found::new();
    for kind in kinds.iter().copied() {
        if case.runs_on(kind) {
            found.insert(kind, try_on(case, kind).await);
        }
    }
    found
}

async fn try_on(case: &Case, kind: Kind) -> String {
    let run = async {
        let host = Host::start(kind, case.limits).await;
        (case.run)(host).await.to_string()
    };
    match tokio::time::timeout(PATIENCE, AssertUnwindSafe(run).catch_unwind()).await {
        Ok(Ok(outcome)) => outcome,
        // What went wrong is on stderr.
        Ok(Err(_panic)) => "the case panicked".to_owned(),
        Err(_elapsed) => format!("nothing within {PATIENCE:?}"),
    }
}
