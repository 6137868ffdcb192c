//! What people do to a run: they hold it up, decide, write, and bring tasks back.

use super::*;

#[test]
fn a_paused_run_starts_nothing_until_it_is_resumed() {
    let mut run = Driver::new(Submission::of_task("t"));
    let pause = Input::Pause { reason: None };
    assert!(run.command("pause", pause.clone()));
    assert!(
        !run.command("pause", pause),
        "a second pause changes nothing"
    );
    assert_eq!(run.phase(), RunState::Paused);
    run.end_with(AGENTS[0], AnswerStatus::Failed, true);
    run.end(AGENTS[1], AnswerStatus::Completed);
    run.end(AGENTS[2], AnswerStatus::Completed);
    let (_, _, due) = run.state().retrying().next().unwrap();
    assert!(!run.due(due));
    // The next deadline is that of the run.
    let deadline = run.state().accepted().unwrap().deadline;
    assert_eq!(run.state().next_deadline(), Some(deadline));
    let resume = Input::Resume { reason: None };
    let at = due.as_millis();
    assert!(run.input_at(at, resume, message(7)));
    assert_eq!(run.log.last().unwrap().effects.len(), 1);
    assert_eq!(run.phase(), RunState::Working);
    run.end(AGENTS[0], AnswerStatus::Completed);
    assert!(run.end("aggregate", AnswerStatus::Completed));
}

#[test]
fn a_resumed_run_goes_on_with_what_was_held_back() {
    let mut run = Driver::new(Submission::of_task("t"));
    run.command("pause", Input::Pause { reason: None });
    for agent in AGENTS {
        run.end(agent, AnswerStatus::Completed);
    }
    assert_eq!(run.state().live().count(), 0);
    assert!(run.command("resume", Input::Resume { reason: None }));
    assert_eq!(run.state().live().count(), 1, "the summary");
}

#[test]
fn an_interrupted_call_waits_for_a_person() {
    let mut run = Driver::new(one());
    assert!(run.suspend("critical_agent", 2));
    assert_eq!(run.phase(), RunState::InputRequired);
    let waiting = run.state().summary().summary.waiting_for.unwrap();
    assert_eq!(
        (waiting.kind, waiting.name.as_deref()),
        (WaitKind::Approval, Some("critical_agent.1.1"))
    );
    let wrong = Input::Decide {
        approval: "critical_agent.1.1",
        call_sha256: "another call",
        decision: CallDecision::Approved,
        reason: None,
    };
    assert!(!run.command("approve", wrong));
    assert!(run.decide_next(CallDecision::Approved));
    assert_eq!(run.phase(), RunState::InputRequired, "one call is left");
    assert!(run.decide_next(CallDecision::Denied));
    assert_eq!(
        run.types(),
        ["accepted", "approval_requested", "approved", "denied"]
    );
    let task: TaskId = "critical_agent".parse().unwrap();
    let dispatch = Effect::Dispatch {
        task: task.clone(),
        attempt: 2,
    };
    assert_eq!(run.log[3].effects, [dispatch]);
    let work = work_for(run.state(), &task, 2, &Contents::new()).unwrap();
    let decisions: Vec<_> = work.decisions.values().copied().collect();
    assert_eq!(decisions, [CallDecision::Approved, CallDecision::Denied]);
    assert_eq!(
        work.budget.model_calls,
        Some(49),
        "the suspended attempt used one"
    );
    let later: Vec<_> = work_for(run.state(), &task, 3, &Contents::new())
        .unwrap()
        .decisions
        .into_values()
        .collect();
    assert_eq!(
        later,
        [CallDecision::Denied],
        "an approval is good for one attempt"
    );
    assert!(run.suspend("critical_agent", 1), "its worker died again");
    assert!(run.decide_next(CallDecision::Denied));
    assert!(run.end("critical_agent", AnswerStatus::Completed));
    assert_eq!(run.result().usage.model_calls, 3);
    assert_eq!(run.result().answers[0].elapsed_ms, 15);
}

#[test]
fn a_suspended_run_goes_on_elsewhere_is_paused_and_is_canceled() {
    let mut run = Driver::new(Submission::of_task("t"));
    assert!(run.suspend(AGENTS[0], 1));
    assert!(run.end_with(AGENTS[1], AnswerStatus::Failed, true));
    let due = run.state().next_deadline().unwrap();
    assert!(run.due(due), "attempts of other tasks go on");
    assert!(run.command("pause", Input::Pause { reason: None }));
    assert!(run.decide_next(CallDecision::Approved));
    assert!(
        run.log.last().unwrap().effects.is_empty(),
        "while it is paused nothing starts"
    );
    assert!(run.command("resume", Input::Resume { reason: None }));
    assert_eq!(run.state().live().count(), 3);
    run.suspend(AGENTS[0], 1);
    run.end(AGENTS[1], AnswerStatus::Completed);
    run.end(AGENTS[2], AnswerStatus::Completed);
    assert_eq!(run.phase(), RunState::InputRequired);
    assert!(run.cancel());
    assert_eq!(run.phase(), RunState::Canceled);
    assert_eq!(run.result().answers[0].status, AnswerStatus::Canceled);
    assert!(!run.decide_next(CallDecision::Approved), "too late");
}

#[test]
fn nobody_decides_in_time() {
    let mut run = Driver::new(one());
    run.suspend("critical_agent", 1);
    let deadline = run.state().next_deadline().unwrap();
    assert!(run.due(deadline));
    assert_eq!(run.phase(), RunState::Failed);
    assert_eq!(
        run.result().answers[0].error.as_ref().unwrap().code,
        "SW-DEADLINE"
    );
}

#[test]
fn a_message_reaches_the_next_attempt() {
    let mut run = Driver::new(one());
    assert!(!run.message("research_agent"), "it has no part in the run");
    assert!(run.message("critical_agent"));
    let wake = Effect::Wake {
        agent: "critical_agent".parse().unwrap(),
    };
    assert_eq!(run.log[1].effects, [wake]);
    let work = work_for(
        run.state(),
        &"critical_agent".parse().unwrap(),
        2,
        &Contents::new(),
    )
    .unwrap();
    assert_eq!(
        (work.messages[0].n, work.messages[0].text.as_str()),
        (2, "hear")
    );
    run.end("critical_agent", AnswerStatus::Completed);
    assert!(!run.message("critical_agent"));
}

#[test]
fn a_task_is_brought_back_while_nothing_was_made_of_its_failure() {
    let mut run = Driver::new(Submission::of_task("t"));
    run.end(AGENTS[0], AnswerStatus::Failed);
    assert!(run.again(AGENTS[0]));
    assert!(!run.again(AGENTS[0]), "it is live");
    assert_eq!(run.state().live().count(), 3);
    AGENTS
        .iter()
        .for_each(|agent| assert!(run.end(agent, AnswerStatus::Completed)));
    assert_eq!(run.result_of(AGENTS[0]).usage.model_calls, 2);
    run.end("aggregate", AnswerStatus::Completed);
    assert!(!run.again(AGENTS[0]));
}
