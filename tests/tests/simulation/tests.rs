//! The tests: many seeds hold, a seed repeats, and each mutation is caught.

use std::time::Instant;

use crate::expected::{CRASH_POINTS, SEEN};
use crate::mutation::Mutation;
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
    let missing = summary.coverage.missing(&CRASH_POINTS, &SEEN);
    assert!(
        seeds < SEEDS || missing.is_empty(),
        "a simulation that injects nothing proves nothing; these never happened: {missing:#?}"
    );
}

#[test]
fn a_seed_repeats_step_by_step() {
    for seed in 0..8 {
        let [one, two] = [(), ()].map(|()| play_seed(seed, None, true));
        assert_eq!(one.trace, two.trace);
        assert_eq!(one.coverage.lines(), two.coverage.lines());
    }
}

/// A test per mutation: the checker names what it breaks within so many seeds.
macro_rules! caught {
    ($($test:ident: $mutation:ident breaks $rule:literal within $seeds:literal,)*) => {
        $(
            #[test]
            fn $test() {
                let summary = play_seeds(0..$seeds, Some(Mutation::$mutation));
                let (seed, violation) = summary.failed.expect("nobody notices it");
                println!("seed {seed}: {}: {}", violation.rule, violation.found);
                assert!(violation.rule.starts_with($rule), "seed {seed} breaks {violation:?}");
            }
        )*
    };
}

caught! {
    an_early_ack_is_caught: AckBeforeEffects breaks "I1" within 2000,
    effects_that_are_not_repeated_are_caught: NoRepeatedEffects breaks "I1" within 2000,
    a_blind_append_is_caught: BlindAppend breaks "I" within 2000,
    a_trusted_cache_is_caught: TrustsCache breaks "I" within 2000,
    a_blind_end_is_caught: BlindEnd breaks "I2" within 2000,
    commands_that_nobody_sweeps_are_caught: NoSweep breaks "I1" within 2000,
    effects_left_behind_are_caught: LeavesUnconfirmed breaks "I1" within 2000,
    an_append_taken_for_lost_is_caught: ForgetsOwnAppend breaks "I2" within 2000,
    deadlines_that_nobody_keeps_are_caught: NoDeadlines breaks "I1" within 2000,
    an_old_summary_is_caught: OldSummary breaks "I10" within 2000,
    a_conflict_that_is_taken_is_caught: NoConflict breaks "I1" within 2000,
    an_ignored_verdict_is_caught: IgnoresVerdict breaks "I2" within 2000,
    an_ack_before_the_end_is_caught: AckBeforeEnd breaks "I1" within 2000,
    a_call_without_asking_is_caught: RunsWithoutAsking breaks "I8" within 2000,
    a_call_that_comes_later_is_caught: AsksAboutTheNext breaks "I8" within 2000,
    a_decision_for_ever_is_caught: DecisionHoldsForEver breaks "I8" within 2000,
    forgotten_results_are_caught: ForgetsResults breaks "I" within 2000,
    a_forgotten_journal_is_caught: ForgetsJournal breaks "I8" within 2000,
    poison_that_goes_on_is_caught: NoPoison breaks "I1" within 2000,
    an_ack_of_live_work_is_caught: AcksWhatIsLive breaks "I1" within 2000,
}
