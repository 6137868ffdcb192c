//! The engine as a whole: the ways of a run, and properties over any sequence of inputs.

use std::collections::BTreeMap;

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

mod attempts;
mod blobs;
mod driver;
mod people;
mod properties;

use driver::Driver;

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
