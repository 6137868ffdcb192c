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
    f1_killed_while_the_model_thinks "F1";
    f2_killed_after_the_effect "F2";
    f2_killed_after_the_only_effect "F2-once";
    f3_killed_between_result_and_ack "F3";
    f3_killed_after_a_finished_call "F3-call";
    f4_coordinator_killed_at_each_step "F4";
    f5_coordinators_all_away "F5";
    f7_clients_killed "F7";
    f8_server_killed_under_load "F8";
    f9_leader_of_three_servers_killed "F9";
    f12_model_refuses "F12";
    f13_model_is_silent "F13";
    f14_model_breaks_off "F14";
    f15_client_too_slow "F15";
    f16_full_disk "F16";
    f17_full_queues "F17";
    f17_full_stream_of_runs "F17-runs";
    f19_doubled_submissions "F19";
    f20_worker_stopped_and_continued "F20";
    f21_partition "F21";
    f22_poison "F22";
    f25_flood "F25";
    f26_slow_tool "F26";
    f30_coordinator_stopped_and_continued "F30";
    f33_older_log "F33";
    cancel_in_a_flood "cancel";
    storm "storm";
}
