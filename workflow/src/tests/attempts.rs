//! What follows when attempts fail, when the time is over, and when a run is done again.

use super::*;

#[test]
fn a_task_that_failed_is_tried_again_later_and_its_use_counts() {
    let mut run = Driver::new(one());
    assert!(run.end_with("critical_agent", AnswerStatus::Failed, true));
    assert_eq!(run.types(), ["accepted", "retrying"]);
    let summary = run.state().summary().summary;
    assert_eq!(summary.waiting_for.unwrap().kind, WaitKind::Retry);
    let due = summary.deadline.unwrap();
    assert!(due < run.state().accepted().unwrap().deadline);
    assert!(!run.due(Timestamp::from_millis(due.as_millis() - 1)));
    assert!(run.due(due));
    assert!(!run.due(due), "once");
    let dispatch = Effect::Dispatch {
        task: "critical_agent".parse().unwrap(),
        attempt: 2,
    };
    assert_eq!(run.log[2].effects, [dispatch]);
    let work = work_for(
        run.state(),
        &"critical_agent".parse().unwrap(),
        2,
        &Contents::new(),
    )
    .unwrap();
    assert_eq!(work.budget.model_calls, Some(49), "one was used");
    assert!(run.end("critical_agent", AnswerStatus::Completed));
    assert_eq!(run.result().usage.model_calls, 2);
    assert_eq!(run.result().answers[0].usage.model_calls, 2);
}

#[test]
fn a_task_fails_when_its_attempts_are_used_up_or_its_error_is_lasting() {
    let mut run = Driver::new(one());
    for _ in 0..3 {
        assert!(run.end_with("critical_agent", AnswerStatus::Failed, true));
        let due = run.state().next_deadline().unwrap();
        assert!(run.due(due));
    }
    assert!(run.end_with("critical_agent", AnswerStatus::Failed, true));
    assert_eq!(run.phase(), RunState::Failed);
    let mut run = Driver::new(one());
    assert!(run.end_with("critical_agent", AnswerStatus::Failed, false));
    assert_eq!(run.phase(), RunState::Failed);
}

#[test]
fn a_run_whose_time_is_over_fails_when_nobody_works_on_it() {
    let mut run = Driver::new(one());
    let deadline = run.state().accepted().unwrap().deadline;
    assert!(
        !run.due(deadline),
        "its attempt is ended in its journal first"
    );
    run.end_with("critical_agent", AnswerStatus::Failed, true);
    assert!(run.due(deadline));
    assert_eq!(run.result().reason.as_ref().unwrap().code, "SW-DEADLINE");
    assert_eq!(run.result().answers[0].status, AnswerStatus::Failed);
}

#[test]
fn a_run_has_so_many_events_at_most() {
    let mut run = Driver::new(one());
    while !run.phase().is_terminal() {
        assert!(
            run.command("pause", Input::Pause { reason: None })
                || run.command("resume", Input::Resume { reason: None })
        );
    }
    assert_eq!(run.log.len() as u64, MAX_EVENTS);
    assert_eq!(run.result().reason.as_ref().unwrap().code, "SW-LIMIT");
    let effects = &run.log.last().unwrap().effects;
    assert!(matches!(
        effects[..],
        [
            Effect::Reply { .. },
            Effect::EndTask { .. },
            Effect::SignalCancel
        ]
    ));
}

#[test]
fn a_run_is_repeated_without_what_was_done() {
    let mut old = Driver::new(Submission::of_task("t"));
    old.end(AGENTS[0], AnswerStatus::Completed);
    assert!(
        !Driver::default().command("retry", Input::Repeat(old.state())),
        "it is open"
    );
    old.end(AGENTS[1], AnswerStatus::Failed);
    old.end(AGENTS[2], AnswerStatus::Failed);
    let mut last = Driver::new(Submission {
        min_answers: Some(3),
        ..Submission::of_task("t")
    });
    last.end(AGENTS[0], AnswerStatus::Failed);
    last.end(AGENTS[1], AnswerStatus::Completed);
    last.end(AGENTS[2], AnswerStatus::Completed);
    let mut again = Driver::default();
    again.command("retry", Input::Repeat(last.state()));
    assert_eq!(
        again.state().live().count(),
        1,
        "what ended last is taken over, too"
    );
    let mut new = Driver::default();
    assert!(new.command("retry", Input::Repeat(old.state())));
    assert_eq!(new.state().live().count(), 2);
    assert_eq!(
        new.state().summary().summary.retry_of,
        Some(old.state().run)
    );
    assert!(!new.command("retry", Input::Repeat(old.state())), "once");
    new.end(AGENTS[1], AnswerStatus::Completed);
    new.end(AGENTS[2], AnswerStatus::Completed);
    assert!(new.end("aggregate", AnswerStatus::Completed));
    assert_eq!(
        new.result().answers[0].text.as_deref(),
        Some("text of research_agent")
    );
    assert_eq!(new.result().status, RunState::Completed);
}

#[test]
fn a_run_whose_summary_failed_is_repeated_with_the_summary_alone() {
    let mut old = Driver::new(Submission::of_task("t"));
    for agent in AGENTS {
        old.end(agent, AnswerStatus::Completed);
    }
    old.end("aggregate", AnswerStatus::Failed);
    let mut new = Driver::default();
    assert!(new.command("retry", Input::Repeat(old.state())));
    let live: Vec<_> = new.state().live().map(|(task, _)| task.as_str()).collect();
    assert_eq!(live, ["aggregate"]);
    assert!(new.end("aggregate", AnswerStatus::Completed));
    assert_eq!(new.result().status, RunState::Completed);
    assert_eq!(new.result().answers.len(), 3);
}

#[test]
fn the_first_answer_cancels_the_others() {
    let mut run = Driver::new(aggregated(Aggregate::First));
    run.end(AGENTS[0], AnswerStatus::Failed);
    run.end(AGENTS[1], AnswerStatus::Completed);
    assert_eq!(
        run.log.last().unwrap().effects.len(),
        2,
        "one is live, and told"
    );
    run.end(AGENTS[2], AnswerStatus::Canceled);
    assert_eq!(run.phase(), RunState::Completed);
    assert_eq!(run.result().text, "text of creative_agent");
    assert_eq!(run.result().answers.len(), 3);
}

#[test]
fn after_the_first_answer_nothing_starts() {
    let mut run = Driver::new(aggregated(Aggregate::First));
    run.end_with(AGENTS[0], AnswerStatus::Failed, true);
    run.suspend(AGENTS[1], 1);
    let due = run.state().next_deadline().unwrap();
    let mut other = Driver::new(aggregated(Aggregate::First));
    other.suspend(AGENTS[0], 1);
    other.end(AGENTS[1], AnswerStatus::Completed);
    assert!(other.decide_next(CallDecision::Approved));
    assert!(other.log.last().unwrap().effects.is_empty());
    other.end(AGENTS[2], AnswerStatus::Canceled);
    assert_eq!(other.phase(), RunState::Completed);
    run.end(AGENTS[2], AnswerStatus::Completed);
    assert_eq!(run.phase(), RunState::Completed, "nobody else is at work");
    assert!(!run.due(due));
}
