//! Many seeds on all threads, and what is said about one that fails.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};

use crate::faults::Coverage;
use crate::mutation::Mutation;
use crate::scheduler::{Sim, Violation};
use crate::world::{Played, play};

/// Threads that play seeds.
const THREADS: u64 = 2;

/// Tests that play many seeds do so one after the other: each has all threads.
static PLAYING: Mutex<()> = Mutex::new(());

/// What came of many seeds.
pub struct Summary {
    /// Seeds that were played.
    pub played: u64,
    /// The first seed of a thread that failed, if one did.
    pub failed: Option<(u64, Violation)>,
    /// What happened in all of them.
    pub coverage: Coverage,
}

/// A number of the environment.
pub fn from_env(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is no number: {text}")),
    )
}

/// Plays a seed; a panic breaks an invariant, too.
pub fn play_seed(seed: u64, mutation: Option<Mutation>, traced: bool) -> Played {
    let sim = Sim::new(seed, mutation, traced);
    let played = catch_unwind(AssertUnwindSafe(|| play(&sim)));
    played.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Played {
            violation: Some(Violation {
                rule: "nothing panics",
                found: text.unwrap_or_default(),
            }),
            coverage: Coverage::default(),
            trace: sim.traced(),
        }
    })
}

/// Plays seeds until one fails.
pub fn play_seeds(seeds: std::ops::Range<u64>, mutation: Option<Mutation>) -> Summary {
    let _playing = PLAYING.lock().unwrap_or_else(PoisonError::into_inner);
    let play_part = |part: u64| {
        let mut summary = Summary {
            played: 0,
            failed: None,
            coverage: Coverage::default(),
        };
        for seed in seeds.clone().filter(|seed| seed % THREADS == part) {
            let played = play_seed(seed, mutation, false);
            summary.played += 1;
            summary.coverage.add(&played.coverage);
            if let Some(violation) = played.violation {
                summary.failed = Some((seed, violation));
                break;
            }
        }
        summary
    };
    let parts: Vec<Summary> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|part| scope.spawn(move || play_part(part)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    let mut all = Summary {
        played: 0,
        failed: None,
        coverage: Coverage::default(),
    };
    for part in parts {
        all.played += part.played;
        all.coverage.add(&part.coverage);
        all.failed = all.failed.or(part.failed);
    }
    all
}

/// What is to be known about a seed that fails: what is broken, the last steps, and how to see it again.
pub fn report(seed: u64, violation: &Violation) -> String {
    let again = play_seed(seed, None, true);
    let repeats = if again.violation.as_ref() == Some(violation) {
        "it fails again"
    } else {
        "it does not fail again: the simulation depends on something else than its seed"
    };
    let Violation { rule, found } = violation;
    format!(
        "seed {seed} breaks \"{rule}\": {found}\n\nthe last steps ({repeats}):\n{}\n\nto repeat it:\n  SWARM_SIM_SEED={seed} cargo test -p swarm-tests --test simulation --locked what_always_holds\n",
        again.trace.join("\n")
    )
}
