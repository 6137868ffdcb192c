//! One quick round of each fault of `swarm_tests::faults`.

use swarm_tests::faults::{ALL, Round, fault};

/// The seed of the rounds here; `make faults` has others.
const SEED: u64 = 1;

async fn quick(id: &str) {
    let fault = fault(id).unwrap_or_else(|| panic!("there is no fault {id}"));
    let outcome = fault.round(Round::new(SEED, true)).await;
    let tally = &outcome.tally;
    assert_eq!((tally.lost, tally.recorded_twice), (0, 0), "{outcome:?}");
    assert!(tally.tasks > 0, "{outcome:?}");
}

macro_rules! rounds {
    ($($test:ident $id:literal;)*) => {
        $(#[tokio::test]
        async fn $test() {
            quick($id).await;
        })*

        #[test]
        fn every_fault_has_a_round() {
            let known: Vec<&str> = ALL.iter().map(|fault| fault.id).collect();
            assert_eq!(known, [$($id),*]);
        }
    };
}

rounds! {
    f1 "F1";
    f3 "F3";
    f4 "F4";
}
