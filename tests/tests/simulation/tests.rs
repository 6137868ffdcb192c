//! The tests: many seeds hold, a seed repeats, and each mutation is caught.

use std::time::Instant;

use crate::seeds::{from_env, play_seed, play_seeds, report};

/// Seeds of a run.
const SEEDS: u64 = 2_000;

#[test]
fn what_always_holds_holds_whatever_goes_wrong() {
    if let Some(seed) = from_env("SWARM_SIM_SEED") {
        let played = play_seed(seed, None, true);
        if let Some(violation) = played.violation {
            panic!("{}", report(seed, &violation));
        }
        println!(
            "seed {seed} holds; its last steps:\n{}",
            played.trace.join("\n")
        );
        return;
    }
    let began = Instant::now();
    let seeds = from_env("SWARM_SIM_SEEDS").unwrap_or(SEEDS);
    let summary = play_seeds(0..seeds, None);
    println!("{} seeds in {:.1?}", summary.played, began.elapsed());
    println!("{}", summary.coverage.lines().join("\n"));
    if let Some((seed, violation)) = summary.failed {
        panic!("{}", report(seed, &violation));
    }
}
