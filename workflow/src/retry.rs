//! When a task that failed is tried again: later each time, and not all at once.

use std::time::Duration;

use swarm_protocol::{RunId, TaskId};
use uuid::Uuid;

/// Before the second attempt.
const FIRST: Duration = Duration::from_secs(1);

/// At most.
const LONGEST: Duration = Duration::from_secs(60);

/// The pause after the `failures`th failure: doubled each time, of which a part between a half and all is taken. The part
/// follows from run, task and failure, so that whoever decides comes to the same.
#[must_use]
pub fn pause(run: RunId, task: &TaskId, failures: u32) -> Duration {
    let doubled = FIRST.saturating_mul(1 << failures.saturating_sub(1).min(10));
    let whole = doubled.min(LONGEST);
    let seed = Uuid::new_v5(&run.into(), format!("{task}:{failures}").as_bytes());
    let part = f64::from(u32::from_be_bytes(first_bytes(seed))) / f64::from(u32::MAX);
    whole.mul_f64(0.5 + part / 2.0)
}

fn first_bytes(uuid: Uuid) -> [u8; 4] {
    let [a, b, c, d, ..] = uuid.into_bytes();
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_pause_grows_and_is_bounded(run in any::<u128>(), failures in 1..50_u32) {
            let run = RunId::from(Uuid::from_u128(run));
            let task: TaskId = "t".parse().unwrap();
            let pause_of = |failures| pause(run, &task, failures);
            let whole = FIRST.saturating_mul(1 << (failures - 1).min(10)).min(LONGEST);
            prop_assert!(pause_of(failures) >= whole / 2);
            prop_assert!(pause_of(failures) <= whole);
            prop_assert_eq!(pause_of(failures), pause_of(failures));
        }
    }

    #[test]
    fn tasks_of_a_run_do_not_come_back_together() {
        let run = RunId::from(Uuid::from_u128(7));
        let pauses: std::collections::BTreeSet<Duration> = (0..20)
            .map(|n| pause(run, &format!("t{n}").parse().unwrap(), 1))
            .collect();
        assert_eq!(pauses.len(), 20);
    }
}
