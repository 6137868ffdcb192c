//! The result of a run that ends.

use std::time::Duration;

use swarm_protocol::definition::Action;
use swarm_protocol::limits::{MAX_ENCODED, encoded_len};
use swarm_protocol::{
    Aggregate, Answer, AnswerStatus, Code, ErrorBody, RunId, RunResult, RunState, TaskId,
    Timestamp, Usage, Version,
};

use crate::next::Ending;
use crate::state::{Progress, State};

/// Characters that are left of a text when all together are too large.
const CUT_CHARS: usize = 200;

/// The result of a submission that became no run.
#[must_use]
pub fn rejected(run: RunId, reason: ErrorBody, elapsed: Duration) -> RunResult {
    RunResult {
        v: Version,
        run,
        status: RunState::Rejected,
        text: String::new(),
        data: None,
        reason: Some(reason),
        aggregate: None,
        answers: Vec::new(),
        usage: Usage::default(),
        elapsed_ms: millis(elapsed),
        simulated: false,
        refs: Vec::new(),
    }
}

/// The result of a run whose tasks have all ended. Without a `text` it is the answers under their names.
pub(crate) fn of_run(state: &State, ending: Ending, at: Timestamp) -> RunResult {
    let Ending {
        status,
        text,
        data,
        reason,
    } = ending;
    let answers: Vec<Answer> = state
        .steps()
        .iter()
        .filter(|step| matches!(step.action, Action::Agent { .. }))
        .filter_map(|step| answer_of(state, &step.id, reason.as_ref()))
        .collect();
    let text = text.unwrap_or_else(|| concat(&answers));
    let ended = state.steps().iter();
    let ended = ended.filter_map(|step| state.answer(&step.id));
    let submitted_at = state
        .accepted()
        .map_or(at, |accepted| accepted.submitted_at);
    fitted(RunResult {
        v: Version,
        run: state.run,
        status: status.unwrap_or(RunState::Failed),
        text,
        data,
        reason,
        aggregate: aggregate(state),
        usage: state.used(),
        simulated: ended.clone().any(|answer| answer.simulated),
        answers,
        elapsed_ms: millis(at.since(submitted_at)),
        refs: Vec::new(),
    })
}

/// The answer of a task. Of one that was to be tried again, and is not any more, it is its failure; of one that was at
/// work, or waited for a person, it is that the run has ended.
fn answer_of(state: &State, task: &TaskId, reason: Option<&ErrorBody>) -> Option<Answer> {
    let task = state.task(task)?;
    match &task.progress {
        Progress::Ended(answer) => Some((**answer).clone()),
        Progress::Retrying { answer, .. } => Some(Answer {
            usage: task.used,
            elapsed_ms: task.worked_ms,
            ..(**answer).clone()
        }),
        Progress::Waiting => None,
        Progress::Live { .. } | Progress::Suspended { .. } => {
            let ended = || ErrorBody::new(Code::Canceled, "the run had its answer");
            Some(Answer {
                task: task.id.clone(),
                agent: state.agent_of(&task.id)?.clone(),
                model: String::new(),
                status: AnswerStatus::Canceled,
                text: None,
                error: Some(reason.cloned().unwrap_or_else(ended)),
                usage: task.used,
                elapsed_ms: task.worked_ms,
                simulated: false,
            })
        }
    }
}

/// The completed answers, each under its task's name; a single one stands alone.
#[must_use]
pub fn concat(answers: &[Answer]) -> String {
    let completed: Vec<(&Answer, &str)> = answers
        .iter()
        .filter(|answer| answer.status == AnswerStatus::Completed)
        .filter_map(|answer| Some((answer, answer.text.as_deref()?)))
        .collect();
    match completed.as_slice() {
        [(_, text)] if answers.len() == 1 => (*text).to_owned(),
        several => {
            let sections = several
                .iter()
                .map(|(answer, text)| format!("## {}\n\n{}", answer.task, text.trim()));
            sections.collect::<Vec<_>>().join("\n\n")
        }
    }
}

fn aggregate(state: &State) -> Option<Aggregate> {
    state.steps().iter().find_map(|step| match &step.action {
        Action::Aggregate { mode, .. } => Some(*mode),
        Action::Agent { .. } => None,
    })
}

/// A result that a message can hold: one that is too large fails by name, and keeps the beginning of every text.
fn fitted(mut result: RunResult) -> RunResult {
    let answers: usize = result
        .answers
        .iter()
        .filter_map(|answer| answer.text.as_deref())
        .map(encoded_len)
        .sum();
    let texts = encoded_len(&result.text) + answers;
    if texts <= MAX_ENCODED {
        return result;
    }
    let message = format!(
        "the texts of the result are too large together: {} KiB as JSON, at most {} are kept",
        texts / 1024,
        MAX_ENCODED / 1024
    );
    result.status = if result.status == RunState::Completed {
        RunState::Failed
    } else {
        result.status
    };
    result.reason = Some(ErrorBody::new(Code::TooLarge, message));
    cut(&mut result.text);
    result
        .answers
        .iter_mut()
        .filter_map(|answer| answer.text.as_mut())
        .for_each(cut);
    result
}

fn cut(text: &mut String) {
    if let Some((at, _)) = text.char_indices().nth(CUT_CHARS) {
        text.truncate(at);
        text.push('…');
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
