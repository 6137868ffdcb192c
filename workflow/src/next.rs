//! What follows when something has ended: other work, or the end of the run.

use swarm_protocol::definition::{Action, Step};
use swarm_protocol::{
    Aggregate, Answer, AnswerStatus, Code, ErrorBody, RunState, Span, TaskId, Timestamp,
};

use crate::state::{Progress, State};

/// What follows.
#[derive(Debug)]
pub(crate) enum Next {
    /// Others are at work, or will be.
    Wait,
    /// The aggregate step's task is to be done.
    Dispatch(TaskId),
    /// The run is over.
    End(Ending),
}

/// How a run ends.
#[derive(Debug, Default)]
pub(crate) struct Ending {
    pub(crate) status: Option<RunState>,
    pub(crate) text: Text,
    /// When it is not completed.
    pub(crate) reason: Option<ErrorBody>,
}

/// The text of a run that ends.
#[derive(Debug, Default)]
pub(crate) enum Text {
    /// The answers, under their names.
    #[default]
    Answers,
    /// That of one answer.
    Of(TaskId),
    /// What the answers come to in this way.
    Combined(Aggregate),
}

impl Ending {
    fn completed(text: Text) -> Next {
        Next::End(Self {
            status: Some(RunState::Completed),
            text,
            reason: None,
        })
    }

    /// Failed, with what there is of the answers.
    pub(crate) fn failed(reason: ErrorBody) -> Self {
        Self {
            status: Some(RunState::Failed),
            text: Text::Answers,
            reason: Some(reason),
        }
    }

    pub(crate) fn canceled(state: &State) -> Self {
        Self {
            status: Some(RunState::Canceled),
            reason: Some(canceled_reason(state)),
            ..Self::default()
        }
    }
}

/// The aggregate step of a run, when it has one.
pub(crate) struct Join<'a> {
    pub(crate) step: &'a Step,
    pub(crate) mode: Aggregate,
    pub(crate) needs: &'a [TaskId],
    min_answers: u32,
}

pub(crate) fn join(state: &State) -> Option<Join<'_>> {
    state.steps().iter().find_map(|step| match &step.action {
        Action::Aggregate {
            mode,
            needs,
            min_answers,
            ..
        } => Some(Join {
            step,
            mode: *mode,
            needs,
            min_answers: *min_answers,
        }),
        Action::Agent { .. } => None,
    })
}

/// The task whose answer came first, of those that completed.
pub(crate) fn first(state: &State) -> Option<&TaskId> {
    let completed = state.tasks.iter().filter(|task| {
        let answer = state.answer(&task.id);
        answer.is_some_and(|answer| answer.status == AnswerStatus::Completed)
    });
    completed
        .min_by_key(|task| task.ended_by)
        .map(|task| &task.id)
}

/// What follows in this state, now.
pub(crate) fn next(state: &State, at: Timestamp) -> Next {
    if state.live().next().is_some() {
        return Next::Wait;
    }
    if state.phase == RunState::Canceling {
        return Next::End(Ending::canceled(state));
    }
    let join = join(state);
    let has_first = join
        .as_ref()
        .is_some_and(|join| join.mode == Aggregate::First)
        && first(state).is_some();
    let goes_on = state.tasks.iter().any(|task| {
        matches!(
            task.progress,
            Progress::Retrying { .. } | Progress::Suspended { .. }
        )
    });
    if goes_on && !has_first {
        return Next::Wait;
    }
    match join {
        None => after_single(state),
        Some(join) => after_join(state, &join, at),
    }
}

fn after_single(state: &State) -> Next {
    let answer = state
        .steps()
        .first()
        .and_then(|step| state.answer(&step.id));
    let Some(answer) = answer else {
        let reason = ErrorBody::new(Code::Internal, "the run has no step");
        return Next::End(Ending::failed(reason));
    };
    match end_by(answer) {
        // A single agent's partial text is what there is of a result.
        Next::End(ending) if answer.text.is_some() => Next::End(Ending {
            text: Text::Of(answer.task.clone()),
            ..ending
        }),
        next => next,
    }
}

fn after_join(state: &State, join: &Join<'_>, at: Timestamp) -> Next {
    let Join {
        step,
        mode,
        needs,
        min_answers,
    } = join;
    if let Some(answer) = state.answer(&step.id) {
        return end_by(answer);
    }
    let answers: Vec<&Answer> = needs.iter().filter_map(|task| state.answer(task)).collect();
    let completed = answers
        .iter()
        .filter(|answer| answer.status == AnswerStatus::Completed);
    let completed = u32::try_from(completed.count()).unwrap_or(u32::MAX);
    let wanted = if *mode == Aggregate::First {
        1
    } else {
        *min_answers
    };
    if completed < wanted {
        let reason = too_few(state, needs, completed, wanted);
        return Next::End(Ending::failed(reason));
    }
    if *mode == Aggregate::Summarize {
        return match overdue(state, at) {
            Some(reason) => Next::End(Ending::failed(reason)),
            None => Next::Dispatch(step.id.clone()),
        };
    }
    Ending::completed(match (mode, first(state)) {
        (Aggregate::First, Some(first)) => Text::Of(first.clone()),
        _ => Text::Combined(*mode),
    })
}

/// The run ends as the task did that gives its answer.
fn end_by(answer: &Answer) -> Next {
    match (&answer.status, &answer.text) {
        (AnswerStatus::Completed, Some(_)) => Ending::completed(Text::Of(answer.task.clone())),
        _ => {
            let unnamed = || {
                let message = format!("{} ended without an answer", answer.task);
                ErrorBody::new(Code::Internal, message)
            };
            let reason = answer.error.clone().unwrap_or_else(unnamed);
            Next::End(Ending::failed(reason))
        }
    }
}

/// Why the run must not go on, when its time is over.
pub(crate) fn overdue(state: &State, at: Timestamp) -> Option<ErrorBody> {
    let accepted = state
        .accepted()
        .filter(|accepted| at >= accepted.deadline)?;
    let total = Span(accepted.deadline.since(accepted.submitted_at));
    let message = format!(
        "the run took longer than {total}: submit with a longer `timeout`, or raise runs.deadlines.total"
    );
    Some(ErrorBody::new(Code::Deadline, message))
}

fn too_few(state: &State, needs: &[TaskId], completed: u32, min_answers: u32) -> ErrorBody {
    let failures = needs
        .iter()
        .filter_map(|task| state.answer(task))
        .filter_map(|answer| {
            answer
                .error
                .as_ref()
                .map(|error| format!("{}: {}", answer.task, error.message))
        });
    let failures = failures.collect::<Vec<_>>().join("; ");
    let message = format!(
        "{completed} of {} agents answered, {min_answers} needed; {failures}",
        needs.len()
    );
    ErrorBody::new(Code::TooFewAnswers, message)
}

fn canceled_reason(state: &State) -> ErrorBody {
    let said = state
        .cancel_reason
        .as_ref()
        .map(|reason| format!(": {reason}"))
        .unwrap_or_default();
    ErrorBody::new(Code::Canceled, format!("canceled on request{said}"))
}
