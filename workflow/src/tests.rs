//! The engine as a whole: the ways of a run, and properties over any sequence of inputs.

use proptest::prelude::*;
use swarm_protocol::event::{Body, Cause, Effect, Event};
use swarm_protocol::trace::TraceParent;
use swarm_protocol::{Aggregate, AnswerStatus, RunState, Submission, TaskId};

use crate::test_support::{answer, context, message, names, submit, team};
use crate::{Decision, FoldError, Input, State, decide, fold, work_for};

/// A run driven by hand.
#[derive(Default)]
struct Driver {
    state: Option<State>,
    log: Vec<Event>,
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
        match decide(self.state.as_ref(), input, context(at, cause)) {
            Decision::Ignore => false,
            Decision::Append(event) => {
                self.state = Some(fold(self.state.take(), &event).unwrap());
                self.log.push(*event);
                true
            }
        }
    }

    fn end(&mut self, task: &str, status: AnswerStatus) -> bool {
        let task: TaskId = task.parse().unwrap();
        let agent = self
            .state
            .as_ref()
            .and_then(|state| state.agent_of(&task))
            .cloned();
        let agent = agent.unwrap_or_else(|| "nobody".parse().unwrap());
        let answer = answer(&task, &agent, status);
        self.input(
            Input::TaskEnded {
                task: &task,
                attempt: 1,
                answer: &answer,
            },
            message(9),
        )
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

    fn result(&self) -> &swarm_protocol::RunResult {
        self.state.as_ref().unwrap().result.as_ref().unwrap()
    }
}

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
fn answers_that_are_too_large_together_fail_by_name() {
    let mut run = Driver::new(Submission {
        aggregate: Some(Aggregate::Concat),
        ..Submission::of_task("t")
    });
    for agent in AGENTS {
        let (task, agent) = (agent.parse().unwrap(), agent.parse().unwrap());
        let mut answer = answer(&task, &agent, AnswerStatus::Completed);
        answer.text = Some("é".repeat(40 * 1024));
        run.input(
            Input::TaskEnded {
                task: &task,
                attempt: 1,
                answer: &answer,
            },
            message(2),
        );
    }
    assert_eq!(run.phase(), RunState::Failed);
    assert_eq!(run.result().reason.as_ref().unwrap().code, "SW-TOO-LARGE");
    assert!(serde_json::to_vec(run.log.last().unwrap()).unwrap().len() < 10_000);
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
    End(usize, AnswerStatus),
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
        6 => (0usize..4, status.clone()).prop_map(|(i, status)| Happening::End(i, status)),
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
        Just(Aggregate::Summarize)
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
            Happening::End(i, status) => {
                let tasks = &run.state.as_ref().unwrap().tasks;
                if let Some(task) = tasks.get(*i).map(|task| task.id.to_string()) {
                    run.end(&task, *status);
                }
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
    #![proptest_config(ProptestConfig::with_cases(2_000))]

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
    fn a_task_is_dispatched_once_and_ends_once(
        submission in submission(),
        happenings in prop::collection::vec(happening(), 0..24),
    ) {
        let run = play(submission, &happenings);
        let mut dispatched = Vec::new();
        let mut ended = Vec::new();
        for event in &run.log {
            dispatched.extend(event.effects.iter().filter_map(|effect| match effect {
                Effect::Dispatch { task, .. } => Some(task.clone()),
                _ => None,
            }));
            if let Body::StepCompleted(step) | Body::StepFailed(step) = &event.body {
                ended.push(step.task.clone());
            }
        }
        for list in [&mut dispatched, &mut ended] {
            let total = list.len();
            list.sort();
            list.dedup();
            prop_assert_eq!(list.len(), total);
        }
        prop_assert!(ended.iter().all(|task| dispatched.contains(task)));
        let state = run.state.unwrap();
        for (task, attempt) in state.live() {
            let work = work_for(&state, task, attempt);
            prop_assert!(work.is_some_and(|work| Some(&work.agent) == state.agent_of(task)));
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
