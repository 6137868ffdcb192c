//! What holds whatever happens to a run.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// Something that may happen to a run.
#[derive(Debug, Clone)]
enum Happening {
    End(usize, AnswerStatus, bool),
    Suspend(usize, usize),
    Decide(CallDecision),
    Message(usize),
    Again(usize),
    Pause,
    Resume,
    Due(u16),
    EndAggregate(AnswerStatus),
    Stranger,
    Cancel,
    SubmitAgain,
}

fn happening() -> impl Strategy<Value = Happening> {
    let status = prop_oneof![
        Just(AnswerStatus::Completed),
        Just(AnswerStatus::Failed),
        Just(AnswerStatus::Canceled)
    ];
    prop_oneof![
        8 => (0usize..4, status.clone(), any::<bool>())
            .prop_map(|(i, status, retryable)| Happening::End(i, status, retryable)),
        3 => (0usize..4, 1usize..3).prop_map(|(i, calls)| Happening::Suspend(i, calls)),
        3 => prop_oneof![Just(CallDecision::Approved), Just(CallDecision::Denied)].prop_map(Happening::Decide),
        1 => (0usize..3).prop_map(Happening::Message),
        1 => (0usize..3).prop_map(Happening::Again),
        1 => Just(Happening::Pause),
        2 => Just(Happening::Resume),
        6 => (0u16..4).prop_map(Happening::Due),
        2 => status.prop_map(Happening::EndAggregate),
        1 => Just(Happening::Stranger),
        1 => Just(Happening::Cancel),
        1 => Just(Happening::SubmitAgain),
    ]
}

fn submission() -> impl Strategy<Value = Submission> {
    let agents = prop::option::of(prop::collection::vec(
        prop::sample::select(AGENTS.to_vec()),
        1..4,
    ));
    let aggregate = prop::option::of(prop_oneof![
        Just(Aggregate::Concat),
        Just(Aggregate::Summarize),
        Just(Aggregate::Vote),
        Just(Aggregate::First),
        Just(Aggregate::Json),
    ]);
    (agents, aggregate, prop::option::of(1u32..4)).prop_map(|(agents, aggregate, min_answers)| {
        Submission {
            agents: agents.map(|agents| names(&agents)),
            aggregate,
            min_answers,
            ..Submission::of_task("t")
        }
    })
}

fn play(submission: Submission, happenings: &[Happening]) -> Driver {
    let mut run = Driver::new(submission);
    for happening in happenings {
        match happening {
            Happening::End(i, status, retryable) => {
                let tasks = &run.state.as_ref().unwrap().tasks;
                if let Some(task) = tasks.get(*i).map(|task| task.id.to_string()) {
                    run.end_with(&task, *status, *retryable);
                }
            }
            Happening::Suspend(i, calls) => {
                let tasks = &run.state.as_ref().unwrap().tasks;
                if let Some(task) = tasks.get(*i).map(|task| task.id.to_string()) {
                    run.suspend(&task, *calls);
                }
            }
            Happening::Decide(decision) => {
                run.decide_next(*decision);
            }
            Happening::Message(i) => {
                run.message(AGENTS[*i]);
            }
            Happening::Again(i) => {
                run.again(AGENTS[*i]);
            }
            Happening::Pause => {
                run.command("pause", Input::Pause { reason: None });
            }
            Happening::Resume => {
                run.command("resume", Input::Resume { reason: None });
            }
            Happening::Due(seconds) => {
                let next = run.state().next_deadline();
                let last = run.log.last().unwrap().at;
                let at = next.unwrap_or(last).max(last);
                run.due(at.after(std::time::Duration::from_secs(u64::from(*seconds))));
            }
            Happening::EndAggregate(status) => {
                run.end("aggregate", *status);
            }
            Happening::Stranger => {
                run.end("stranger", AnswerStatus::Completed);
            }
            Happening::Cancel => {
                run.cancel();
            }
            Happening::SubmitAgain => {
                let (submit, team) = (submit(Submission::of_task("again")), team());
                assert!(!run.input(Input::Submit(&submit, &team), message(3)));
            }
        }
    }
    run
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn logs_are_gapless_and_replay_to_the_live_state(
        submission in submission(),
        happenings in prop::collection::vec(happening(), 0..24),
    ) {
        let run = play(submission, &happenings);
        for (i, event) in run.log.iter().enumerate() {
            prop_assert_eq!(event.n, i as u64 + 1);
        }
        let mut replayed = None;
        for event in &run.log {
            let bytes = serde_json::to_vec(event).unwrap();
            let read: Event = serde_json::from_slice(&bytes).unwrap();
            prop_assert_eq!(&read, event);
            replayed = Some(fold(replayed, &read).unwrap());
        }
        prop_assert_eq!(replayed, run.state);
    }

    #[test]
    fn a_terminal_event_is_the_last_and_only_one(
        submission in submission(),
        happenings in prop::collection::vec(happening(), 0..24),
    ) {
        let run = play(submission, &happenings);
        let terminal = run.log.iter().position(|event| event.body.result().is_some());
        let state = run.state.unwrap();
        prop_assert_eq!(state.phase.is_terminal(), terminal.is_some());
        if let Some(at) = terminal {
            prop_assert_eq!(at, run.log.len() - 1);
            prop_assert_eq!(state.live().count(), 0);
        }
    }

    #[test]
    fn an_attempt_is_dispatched_once_and_a_task_ends_once(
        submission in submission(),
        happenings in prop::collection::vec(happening(), 0..24),
    ) {
        let run = play(submission, &happenings);
        let mut dispatched = Vec::new();
        let mut ended = Vec::new();
        let mut state = None;
        for event in &run.log {
            // Brought back: its end does not count any more.
            if let (Body::Dispatched(dispatched), Some(state)) = (&event.body, &state) {
                let state: &State = state;
                ended.retain(|task| !dispatched.tasks.contains(task) || state.answer(task).is_none());
            }
            state = Some(fold(state, event).unwrap());
            dispatched.extend(event.effects.iter().filter_map(|effect| match effect {
                Effect::Dispatch { task, attempt } => Some((task.clone(), *attempt)),
                _ => None,
            }));
            if let Body::StepCompleted(step) | Body::StepFailed(step) = &event.body {
                ended.push(step.task.clone());
            }
        }
        let different = |count: usize, total: usize| count == total;
        let attempts: BTreeSet<_> = dispatched.iter().collect();
        prop_assert!(different(attempts.len(), dispatched.len()));
        prop_assert!(different(ended.iter().collect::<BTreeSet<_>>().len(), ended.len()));
        prop_assert!(ended.iter().all(|task| dispatched.iter().any(|(known, _)| known == task)));
        prop_assert!(run.state().tasks.iter().all(|task| task.failures <= RETRIES));
        let state = run.state.unwrap();
        for (task, attempt) in state.live() {
            let work = work_for(&state, task, attempt, &Contents::new());
            prop_assert!(work.is_some_and(|work| Some(&work.agent) == state.agent_of(task)));
        }
    }

    #[test]
    fn nothing_starts_while_a_run_is_paused_or_canceled(
        submission in submission(),
        happenings in prop::collection::vec(happening(), 0..24),
    ) {
        let run = play(submission, &happenings);
        let mut state = None;
        for event in &run.log {
            let before = state.as_ref().map(|state: &State| state.phase);
            let starts = event.effects.iter().any(|effect| matches!(effect, Effect::Dispatch { .. }));
            let may = match before {
                None | Some(RunState::Working | RunState::InputRequired) => true,
                Some(RunState::Paused) => matches!(event.body, Body::Unpaused(_)),
                Some(_) => false,
            };
            prop_assert!(may || !starts, "{:?} in {:?}", event.body.name(), before);
            state = Some(fold(state, event).unwrap());
        }
    }

    /// An open run has somebody at work, or a time at which it goes on, or a person who held it up.
    #[test]
    fn a_run_is_never_stuck(
        submission in submission(),
        happenings in prop::collection::vec(happening(), 0..24),
    ) {
        let run = play(submission, &happenings);
        let state = run.state();
        if !state.phase.is_terminal() && state.phase != RunState::Paused {
            let waits = state.retrying().next().is_some() || state.undecided().next().is_some();
            prop_assert!(state.live().next().is_some() || waits);
            prop_assert_eq!(state.phase == RunState::InputRequired, state.undecided().next().is_some() && state.phase != RunState::Canceling);
        }
        prop_assert!(state.phase.is_terminal() || state.next_deadline().is_some());
    }

    /// What a person decided goes to the attempt after the one that was suspended, and to no other.
    #[test]
    fn an_approval_is_good_for_one_attempt(
        submission in submission(),
        happenings in prop::collection::vec(happening(), 0..24),
    ) {
        let run = play(submission, &happenings);
        let state = run.state();
        for task in &state.tasks {
            for attempt in 1..=task.attempts + 1 {
                let approved = |(_, decision): &(&str, CallDecision)| *decision == CallDecision::Approved;
                let approved = task.decisions_for(attempt).filter(approved).count();
                let asked = task.asked.iter().filter(|asked| asked.attempt + 1 == attempt);
                prop_assert!(approved <= asked.count());
            }
        }
    }

    #[test]
    fn a_summary_waits_for_all_agents_and_for_enough_of_them(
        submission in submission(),
        happenings in prop::collection::vec(happening(), 0..24),
    ) {
        let run = play(submission, &happenings);
        let mut state: Option<State> = None;
        for event in &run.log {
            state = Some(fold(state, event).unwrap());
            let state = state.as_ref().unwrap();
            let aggregate = event.effects.iter().any(|effect| {
                matches!(effect, Effect::Dispatch { task, .. } if task.as_str() == "aggregate")
            });
            let agents = || state.tasks.iter().filter(|task| task.id.as_str() != "aggregate");
            prop_assert!(!aggregate || agents().all(|task| matches!(task.progress, Progress::Ended(_))));
        }
    }

    #[test]
    fn a_run_whose_tasks_all_end_ends(submission in submission(), bad in prop::collection::vec(any::<bool>(), 4)) {
        let mut run = Driver::new(submission);
        for failed in bad.iter().cycle().take(8) {
            let next = run.state.as_ref().unwrap().live().next().map(|(task, _)| task.to_string());
            let Some(task) = next else { break };
            run.end(&task, if *failed { AnswerStatus::Failed } else { AnswerStatus::Completed });
        }
        prop_assert!(run.phase().is_terminal());
    }
}
