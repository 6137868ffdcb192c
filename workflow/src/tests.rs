//! The engine as a whole: the ways of a run, and properties over any sequence of inputs.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use swarm_protocol::event::{Body, Cause, Effect, Event};
use swarm_protocol::journal::CallDecision;
use swarm_protocol::limits::MAX_EVENTS;
use swarm_protocol::summary::WaitKind;
use swarm_protocol::trace::TraceParent;
use swarm_protocol::{
    Aggregate, AnswerStatus, Code, ErrorBody, RunState, Submission, TaskId, Timestamp,
};

use crate::state::Progress;
use crate::test_support::{answer, context, message, names, submit, suspended, team};
use crate::{Blob, Contents, Decision, FoldError, Input, State, decide, fold, work_for};

mod blobs;

/// A run driven by hand.
#[derive(Default)]
struct Driver {
    state: Option<State>,
    log: Vec<Event>,
    /// Texts that are in the store, by their hash.
    there: BTreeMap<String, String>,
    /// What was fetched of them.
    contents: Contents,
    /// What it had stored.
    stored: Vec<Blob>,
}

impl Driver {
    fn new(submission: Submission) -> Self {
        let mut driver = Self::default();
        let (submit, team) = (submit(submission), team());
        driver.input(Input::Submit(&submit, &team), message(1));
        driver
    }

    fn input(&mut self, input: Input<'_>, cause: Cause) -> bool {
        let at = 1000 + i64::try_from(self.log.len()).unwrap();
        self.input_at(at, input, cause)
    }

    fn input_at(&mut self, at: i64, input: Input<'_>, cause: Cause) -> bool {
        match decide(
            self.state.as_ref(),
            input.clone(),
            context(at, cause.clone()),
            &self.contents,
        ) {
            Decision::Ignore => false,
            Decision::Fetch(wanted) => {
                let all = self.contents.keys().collect::<BTreeSet<_>>();
                assert!(wanted.iter().any(|blob| !all.contains(&blob.sha256)));
                for blob in wanted {
                    let lost = ErrorBody::new(Code::BlobMissing, "lost");
                    let text = self.there.get(&blob.sha256).cloned().ok_or(lost);
                    self.contents.insert(blob.sha256, text);
                }
                self.input_at(at, input, cause)
            }
            Decision::Append { event, blobs } => {
                self.stored.extend(blobs);
                self.state = Some(fold(self.state.take(), &event).unwrap());
                self.log.push(*event);
                true
            }
        }
    }

    fn end(&mut self, task: &str, status: AnswerStatus) -> bool {
        self.end_with(task, status, false)
    }

    /// The live attempt of a task ends; an error may be one that is worth another try.
    fn end_with(&mut self, task: &str, status: AnswerStatus, retryable: bool) -> bool {
        let task: TaskId = task.parse().unwrap();
        let live = self
            .state
            .as_ref()
            .and_then(|state| match state.progress(&task) {
                Some(Progress::Live { attempt }) => Some(*attempt),
                _ => None,
            });
        let agent = self
            .state
            .as_ref()
            .and_then(|state| state.agent_of(&task))
            .cloned();
        let agent = agent.unwrap_or_else(|| "nobody".parse().unwrap());
        let mut answer = answer(&task, &agent, status);
        if let Some(error) = &mut answer.error {
            error.retryable = retryable;
        }
        self.input(
            Input::TaskEnded {
                task: &task,
                attempt: live.unwrap_or(1),
                answer: &answer,
            },
            message(9),
        )
    }

    /// The live attempt of a task waits for a person to decide about so many calls.
    fn suspend(&mut self, task: &str, calls: usize) -> bool {
        let task: TaskId = task.parse().unwrap();
        let known = self.state().task(&task);
        let Some((attempt, agent)) = known
            .map(|known| known.attempts)
            .zip(self.state().agent_of(&task))
        else {
            return false;
        };
        let suspended = suspended(&task, agent, attempt, calls);
        let input = Input::TaskSuspended {
            task: &task,
            attempt,
            suspended: &suspended,
        };
        self.input(input, message(8))
    }

    /// A person decides about the oldest call that waits for it.
    fn decide_next(&mut self, decision: CallDecision) -> bool {
        let asked = self.state().undecided().next();
        let Some(approval) = asked.map(|(_, asked)| asked.approval.clone()) else {
            return false;
        };
        let input = Input::Decide {
            approval: &approval.approval,
            call_sha256: &approval.call_sha256,
            decision,
            reason: None,
        };
        self.command("approve", input)
    }

    fn again(&mut self, task: &str) -> bool {
        let task: TaskId = task.parse().unwrap();
        self.command("dead.requeue", Input::Again { task: &task })
    }

    fn message(&mut self, to: &str) -> bool {
        let to = to.parse().unwrap();
        self.command(
            "message",
            Input::Message {
                to: &to,
                text: "hear",
            },
        )
    }

    fn command(&mut self, endpoint: &str, input: Input<'_>) -> bool {
        let cause = Cause::Endpoint {
            endpoint: endpoint.into(),
        };
        self.input(input, cause)
    }

    /// Time passes until this moment.
    fn due(&mut self, at: Timestamp) -> bool {
        let cause = Cause::Deadline {
            deadline: "run".into(),
        };
        self.input_at(at.as_millis(), Input::Due, cause)
    }

    fn state(&self) -> &State {
        self.state.as_ref().unwrap()
    }

    fn cancel(&mut self) -> bool {
        let cause = Cause::Endpoint {
            endpoint: "cancel".into(),
        };
        self.input(
            Input::Cancel {
                reason: Some("why".into()),
            },
            cause,
        )
    }

    fn types(&self) -> Vec<&'static str> {
        self.log.iter().map(|event| event.body.name()).collect()
    }

    fn phase(&self) -> RunState {
        self.state.as_ref().unwrap().phase
    }

    fn result_of(&self, task: &str) -> &swarm_protocol::Answer {
        self.state().answer(&task.parse().unwrap()).unwrap()
    }

    fn result(&self) -> &swarm_protocol::RunResult {
        self.state.as_ref().unwrap().result.as_ref().unwrap()
    }
}

/// Of the team.
const RETRIES: u32 = 3;

const AGENTS: [&str; 3] = ["research_agent", "creative_agent", "critical_agent"];

#[test]
fn a_run_is_a_span_beneath_its_submitter_and_knows_when_it_dispatched() {
    let submitter: TraceParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        .parse()
        .unwrap();
    let mut submit = submit(Submission::of_task("t"));
    submit.traceparent = Some(submitter);
    let mut run = Driver::default();
    run.input(Input::Submit(&submit, &team()), message(1));
    for agent in AGENTS {
        run.end(agent, AnswerStatus::Completed);
    }
    let state = run.state.unwrap();
    assert_eq!(state.submitter(), Some(submitter));
    assert_eq!(
        state.trace(),
        TraceParent::of_run(state.run, Some(submitter))
    );
    let dispatched = |task: &str| state.dispatched_at(&task.parse().unwrap());
    assert_eq!(
        [AGENTS[0], "aggregate", "nobody"].map(dispatched),
        [Some(run.log[0].at), Some(run.log.last().unwrap().at), None]
    );
}

#[test]
fn three_agents_and_a_summary() {
    let mut run = Driver::new(Submission::of_task("t"));
    for agent in AGENTS {
        assert!(run.end(agent, AnswerStatus::Completed));
    }
    let work = work_for(
        run.state.as_ref().unwrap(),
        &"aggregate".parse().unwrap(),
        1,
        &Contents::new(),
    )
    .unwrap();
    assert_eq!(work.agent.as_str(), "summarizer_agent");
    let expected = "# Task\n\nt\n\n# Answers\n\n## research_agent\n\ntext of research_agent\n\n## creative_agent\n\n\
                    text of creative_agent\n\n## critical_agent\n\ntext of critical_agent\n";
    assert_eq!(work.input, expected);
    assert!(run.end("aggregate", AnswerStatus::Completed));
    assert_eq!(
        run.types(),
        [
            "accepted",
            "step_completed",
            "step_completed",
            "step_completed",
            "completed"
        ]
    );
    assert_eq!(
        run.log.last().unwrap().effects,
        [Effect::Reply {
            subject: "_INBOX.x".into()
        }]
    );
    let result = run.result();
    assert_eq!(
        (result.text.as_str(), result.answers.len()),
        ("text of aggregate", 3)
    );
    assert_eq!((result.usage.model_calls, result.elapsed_ms), (4, 1004));
    assert_eq!(result.aggregate, Some(Aggregate::Summarize));
}

#[test]
fn concat_needs_no_agent() {
    let mut run = Driver::new(Submission {
        aggregate: Some(Aggregate::Concat),
        ..Submission::of_task("t")
    });
    run.end(AGENTS[0], AnswerStatus::Completed);
    run.end(AGENTS[1], AnswerStatus::Failed);
    run.end(AGENTS[2], AnswerStatus::Completed);
    assert_eq!(
        run.types(),
        ["accepted", "step_completed", "step_failed", "completed"]
    );
    let expected = "## research_agent\n\ntext of research_agent\n\n## critical_agent\n\ntext of critical_agent";
    assert_eq!(run.result().text, expected);
    assert_eq!(run.result().answers[1].status, AnswerStatus::Failed);
}

#[test]
fn too_few_answers_fail_with_what_there_is() {
    let mut run = Driver::new(Submission::of_task("t"));
    run.end(AGENTS[0], AnswerStatus::Completed);
    run.end(AGENTS[1], AnswerStatus::Failed);
    run.end(AGENTS[2], AnswerStatus::Failed);
    assert_eq!(run.phase(), RunState::Failed);
    let reason = run.result().reason.as_ref().unwrap();
    let message = "1 of 3 agents answered, 2 needed; creative_agent: creative_agent broke; critical_agent: critical_agent broke";
    assert_eq!(
        (reason.code.as_str(), reason.message.as_str()),
        ("SW-TOO-FEW-ANSWERS", message)
    );
    assert_eq!(
        run.result().text,
        "## research_agent\n\ntext of research_agent"
    );
}

#[test]
fn one_agent_gives_the_runs_answer() {
    let mut run = Driver::new(Submission {
        agents: Some(names(&["critical_agent"])),
        ..Submission::of_task("t")
    });
    run.end("critical_agent", AnswerStatus::Completed);
    assert_eq!(run.types(), ["accepted", "completed"]);
    assert_eq!(
        (run.result().text.as_str(), run.result().aggregate),
        ("text of critical_agent", None)
    );
}

#[test]
fn a_failed_summary_fails_the_run_and_keeps_the_answers() {
    let mut run = Driver::new(Submission::of_task("t"));
    AGENTS
        .iter()
        .for_each(|agent| assert!(run.end(agent, AnswerStatus::Completed)));
    run.end("aggregate", AnswerStatus::Failed);
    assert_eq!(run.phase(), RunState::Failed);
    assert!(run.result().text.contains("text of creative_agent"));
}

#[test]
fn a_cancel_ends_live_tasks_and_then_the_run() {
    let mut run = Driver::new(Submission::of_task("t"));
    run.end(AGENTS[0], AnswerStatus::Completed);
    assert!(run.cancel());
    let canceling = run.log.last().unwrap().clone();
    assert_eq!(canceling.effects.len(), 3);
    assert!(run.state.as_ref().unwrap().summary().summary.unconfirmed);
    assert!(!run.cancel(), "a second cancel changes nothing");
    assert!(run.end(AGENTS[1], AnswerStatus::Canceled));
    assert!(
        run.end(AGENTS[2], AnswerStatus::Completed),
        "whoever was faster than the cancel has its answer kept"
    );
    assert_eq!(
        run.types(),
        [
            "accepted",
            "step_completed",
            "canceling",
            "step_failed",
            "canceled"
        ]
    );
    assert_eq!(
        run.result().reason.as_ref().unwrap().message,
        "canceled on request: why"
    );
}

fn one() -> Submission {
    Submission {
        agents: Some(names(&["critical_agent"])),
        ..Submission::of_task("t")
    }
}

fn aggregated(aggregate: Aggregate) -> Submission {
    Submission {
        aggregate: Some(aggregate),
        ..Submission::of_task("t")
    }
}

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
fn a_vote_and_an_object_have_data() {
    for (aggregate, data) in [
        (Aggregate::Vote, "text of research_agent"),
        (Aggregate::Json, "research_agent"),
    ] {
        let mut run = Driver::new(aggregated(aggregate));
        for agent in AGENTS {
            run.end(agent, AnswerStatus::Completed);
        }
        assert_eq!(run.phase(), RunState::Completed);
        assert!(run.result().data.as_ref().unwrap().get(data).is_some());
    }
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

#[test]
fn a_wrong_submission_is_a_rejected_run() {
    let run = Driver::new(Submission {
        agents: Some(names(&["nobody"])),
        ..Submission::of_task("t")
    });
    assert_eq!(
        (run.types(), run.phase()),
        (vec!["rejected"], RunState::Rejected)
    );
    assert_eq!(
        run.log[0].effects,
        [Effect::Reply {
            subject: "_INBOX.x".into()
        }]
    );
}

#[test]
fn a_broken_log_is_named() {
    let mut run = Driver::new(Submission::of_task("t"));
    run.end(AGENTS[0], AnswerStatus::Completed);
    assert_eq!(
        fold(None, &run.log[1]),
        Err(FoldError::Gap { last: 0, found: 2 })
    );
    let first = fold(None, &run.log[0]).unwrap();
    assert_eq!(
        fold(Some(first), &run.log[0]),
        Err(FoldError::Gap { last: 1, found: 1 })
    );
}

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
