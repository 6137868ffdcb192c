//! Rounds of faults with real processes: `make faults ROUNDS=3`, or `ONLY=F1,F8 SEED=7` for some with a seed. With
//! `--document FILE` it writes what the rounds came to.
//!
//! A round that does not hold is told with the command that does it again, and fails the program.
//!
//! Reading order: `report`.

mod report;

use std::path::PathBuf;
use std::process::ExitCode;

use futures_util::{StreamExt as _, stream};
use swarm_tests::faults::{ALL, Fault, Round, fault};

use report::{Done, Report};

/// So many faults are done at a time, and beside them one of the heavy ones.
const AT_ONCE: usize = 4;

/// What the command line asks for.
struct Asked {
    rounds: u64,
    only: Vec<String>,
    seed: u64,
    quick: bool,
    document: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let asked = Asked::read(std::env::args().skip(1));
    if let Some(unknown) = asked.only.iter().find(|id| fault(id).is_none()) {
        let known: Vec<&str> = ALL.iter().map(|fault| fault.id).collect();
        eprintln!(
            "there is no fault {unknown}: there are {}",
            known.join(", ")
        );
        return ExitCode::from(2);
    }
    let faults: Vec<&'static Fault> = ALL
        .iter()
        .filter(|fault| asked.only.is_empty() || asked.only.iter().any(|id| id == fault.id))
        .collect();
    let some = |heavy: bool, at_once: usize| {
        let faults = faults.iter().filter(move |fault| fault.heavy == heavy);
        let rounds = faults.flat_map(|fault| (0..asked.rounds).map(move |n| (*fault, n)));
        let rounds = rounds.map(|(fault, n)| one(fault, asked.seed + n, asked.quick));
        stream::iter(rounds).buffered(at_once).collect::<Vec<_>>()
    };
    let (mut done, heavy) = tokio::join!(some(false, AT_ONCE), some(true, 1));
    done.extend(heavy);
    let report = Report::new(&faults, &done);
    println!("{report}");
    if !report.holds() {
        return ExitCode::FAILURE;
    }
    if let Some(file) = asked.document {
        report.write(&file, &done);
    }
    ExitCode::SUCCESS
}

async fn one(fault: &'static Fault, seed: u64, quick: bool) -> Done {
    let round = Round::new(seed, quick);
    // A task of its own, so that a round that panics ends nothing but itself.
    let outcome = tokio::spawn(fault.round(round)).await;
    if let Err(error) = &outcome {
        eprintln!("{}: {error}; once more: {}", fault.id, fault.again(seed));
    }
    Done {
        fault,
        seed,
        outcome: outcome.ok(),
    }
}

impl Asked {
    fn read(mut arguments: impl Iterator<Item = String>) -> Self {
        let mut asked = Self {
            rounds: 1,
            only: Vec::new(),
            seed: u64::from(uuid::Uuid::new_v4().as_fields().0),
            quick: false,
            document: None,
        };
        while let Some(argument) = arguments.next() {
            let mut value = || {
                arguments
                    .next()
                    .unwrap_or_else(|| panic!("{argument} VALUE"))
            };
            let number = |text: String| {
                text.parse()
                    .unwrap_or_else(|error| panic!("{text}: {error}"))
            };
            match argument.as_str() {
                "--rounds" => asked.rounds = number(value()),
                "--seed" => asked.seed = number(value()),
                "--only" => asked.only = value().split(',').map(str::to_owned).collect(),
                "--quick" => asked.quick = true,
                "--document" => asked.document = Some(value().into()),
                other => panic!("{other}: there are --rounds, --seed, --only, --quick, --document"),
            }
        }
        let whole = asked.only.is_empty() && !asked.quick;
        assert!(
            whole || asked.document.is_none(),
            "a document holds all faults"
        );
        asked
    }
}
