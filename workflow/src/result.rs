//! The result of a run that ends.

use std::cmp::Reverse;
use std::time::Duration;

use serde_json::Value;
use swarm_protocol::definition::Action;
use swarm_protocol::limits::{MAX_ENCODED, MAX_INLINE, encoded_len, encoded_prefix};
use swarm_protocol::{
    Aggregate, Answer, AnswerStatus, BlobRef, Code, ErrorBody, RunId, RunResult, RunState,
    Submission, TaskId, Timestamp, Usage, Version, blob,
};

use crate::aggregate::combine;
use crate::blobs::Ledger;
use crate::next::{Ending, Text, join};
use crate::state::{Progress, State};

/// What a reference takes of a message, in bytes.
const REF_SIZE: usize = 140;

/// A text of so many bytes as JSON saves nothing by being a blob: its beginning and the references take as much.
const SMALL: usize = 4 * 1024;

/// The result of a submission that became no run.
#[must_use]
pub fn rejected(run: RunId, reason: ErrorBody, elapsed: Duration) -> RunResult {
    RunResult {
        v: Version,
        run,
        status: RunState::Rejected,
        text: String::new(),
        blob: None,
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

/// The result of a run whose tasks have all ended.
pub(crate) fn of_run(
    state: &State,
    ending: Ending,
    at: Timestamp,
    ledger: &mut Ledger<'_>,
) -> RunResult {
    let Ending {
        mut status,
        text,
        mut reason,
    } = ending;
    let answers: Vec<Answer> = state
        .steps()
        .iter()
        .filter(|step| matches!(step.action, Action::Agent { .. }))
        .filter_map(|step| answer_of(state, &step.id, reason.as_ref()))
        .collect();
    let made = made(state, &text, &answers, ledger).unwrap_or_else(|lost| {
        // What ended the run before is the reason, not that its text is lost as well.
        if reason.is_none() {
            (status, reason) = (Some(RunState::Failed), Some(lost));
        }
        Made::of(concat(&answers))
    });
    let ended = state.steps().iter();
    let ended = ended.filter_map(|step| state.answer(&step.id));
    let submitted_at = state
        .accepted()
        .map_or(at, |accepted| accepted.submitted_at);
    let result = RunResult {
        v: Version,
        run: state.run,
        status: status.unwrap_or(RunState::Failed),
        text: made.text,
        blob: made.blob,
        data: made.data,
        reason,
        aggregate: aggregate(state),
        usage: state.used(),
        simulated: ended.clone().any(|answer| answer.simulated),
        answers,
        elapsed_ms: millis(at.since(submitted_at)),
        refs: Vec::new(),
    };
    fitted(result, ledger)
}

/// The text of a result.
struct Made {
    text: String,
    blob: Option<BlobRef>,
    data: Option<Value>,
}

impl Made {
    fn of(text: String) -> Self {
        Self {
            text,
            blob: None,
            data: None,
        }
    }
}

fn made(
    state: &State,
    text: &Text,
    answers: &[Answer],
    ledger: &mut Ledger<'_>,
) -> Result<Made, ErrorBody> {
    let needs = || join(state).into_iter().flat_map(|join| join.needs);
    match text {
        Text::Of(task) => {
            let answer = state.answer(task);
            let text = answer.and_then(|answer| answer.text.clone());
            Ok(Made {
                blob: answer.and_then(|answer| answer.blob.clone()),
                ..Made::of(text.unwrap_or_default())
            })
        }
        Text::Combined(mode @ (Aggregate::Vote | Aggregate::Json)) => {
            let needed: Vec<&Answer> = needs().filter_map(|task| state.answer(task)).collect();
            let whole = ledger.whole(&needed)?;
            let combined = combine(*mode, &whole.iter().collect::<Vec<_>>());
            Ok(Made {
                data: combined.data,
                ..Made::of(combined.text.unwrap_or_default())
            })
        }
        Text::Answers | Text::Combined(_) => {
            let whole = ledger.whole(&answers.iter().collect::<Vec<_>>())?;
            Ok(Made::of(concat(&whole)))
        }
    }
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
                blob: None,
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

/// A result that a message can hold: texts that are too large, or too large together, are blobs that it refers to, and
/// have their beginning in it.
fn fitted(mut result: RunResult, ledger: &mut Ledger<'_>) -> RunResult {
    let mut data = None;
    if let Some(large) = result.data.take_if(|data| json_len(data) > MAX_ENCODED / 4) {
        data = Some(ledger.put(large.to_string(), blob::JSON));
    }
    let document = json_len(&result);
    let answers = result.answers.iter_mut();
    let answers = answers.filter_map(|answer| Some((answer.text.as_mut()?, &mut answer.blob)));
    let texts = std::iter::once((&mut result.text, &mut result.blob)).chain(answers);
    take_out(texts.collect(), document, MAX_ENCODED, ledger);
    let answers = result.answers.iter();
    let refs = [&result.blob, &data].into_iter().flatten();
    let refs = refs.chain(answers.filter_map(|answer| answer.blob.as_ref()));
    result.refs = distinct(refs);
    if json_len(&result) > MAX_ENCODED {
        shorten(&mut result, data.as_ref(), ledger);
    }
    result
}

/// Takes texts out of a document until its size, of which they are a part, is no more than `room`: those that are large by
/// themselves, then the largest of the others.
fn take_out(
    mut texts: Vec<(&mut String, &mut Option<BlobRef>)>,
    mut document: usize,
    room: usize,
    ledger: &mut Ledger<'_>,
) {
    let here = texts.iter().filter(|(_, blob)| blob.is_some()).count();
    document += here * REF_SIZE;
    texts.retain(|(_, blob)| blob.is_none());
    texts.sort_by_key(|(text, _)| Reverse(encoded_len(text)));
    for (text, blob) in texts {
        let before = encoded_len(text);
        let is_large = text.len() > MAX_INLINE;
        if !is_large && (document <= room || before <= SMALL) {
            continue;
        }
        *blob = Some(ledger.take_out(text));
        document = (document + encoded_len(text) + 2 * REF_SIZE).saturating_sub(before);
    }
}

/// The last resort, for runs of very many answers: they are one blob all together, and what the message has room for is
/// their beginnings.
fn shorten(result: &mut RunResult, data: Option<&BlobRef>, ledger: &mut Ledger<'_>) {
    let all = serde_json::to_string(&result.answers).unwrap_or_default();
    let all = ledger.put(all, blob::ANSWERS);
    result.refs = distinct(result.blob.iter().chain(data).chain([&all]));
    let texts: Vec<Option<String>> = result
        .answers
        .iter_mut()
        .map(|answer| {
            answer.blob = None;
            if let Some(error) = &mut answer.error {
                error.message = cut(&error.message, SMALL / 8);
            }
            answer.text.replace(String::new())
        })
        .collect();
    if let Some(reason) = &mut result.reason {
        reason.message = cut(&reason.message, SMALL);
    }
    let room = MAX_ENCODED.saturating_sub(json_len(result)) / result.answers.len().max(1);
    for (answer, text) in result.answers.iter_mut().zip(texts) {
        answer.text = text.map(|text| cut(&text, room));
    }
}

/// Of finished answers of a run those that the beginning of its repetition holds, in their order; the others are made again.
pub(crate) fn taken_over(
    mut answers: Vec<Answer>,
    submission: &Submission,
    from: RunId,
    ledger: &mut Ledger<'_>,
) -> Vec<Answer> {
    let room = MAX_ENCODED.saturating_sub(json_len(submission));
    answers
        .iter()
        .filter_map(|answer| answer.blob.as_ref())
        .for_each(|blob| ledger.copy(blob, from));
    let document = json_len(&answers);
    let texts = answers.iter_mut();
    let texts = texts.filter_map(|answer| Some((answer.text.as_mut()?, &mut answer.blob)));
    take_out(texts.collect(), document, room, ledger);
    let mut used = 0;
    answers.retain(|answer| {
        used += json_len(answer);
        used <= room
    });
    answers
}

/// Each once, in their order.
fn distinct<'a>(refs: impl Iterator<Item = &'a BlobRef>) -> Vec<BlobRef> {
    let mut distinct: Vec<BlobRef> = Vec::new();
    for blob in refs {
        if !distinct.iter().any(|known| known.sha256 == blob.sha256) {
            distinct.push(blob.clone());
        }
    }
    distinct
}

/// A text that takes at most `room` bytes as JSON writes it.
fn cut(text: &str, room: usize) -> String {
    if encoded_len(text) <= room {
        return text.to_owned();
    }
    match encoded_prefix(text, room.saturating_sub('…'.len_utf8())) {
        "" => String::new(),
        beginning => format!("{beginning}…"),
    }
}

/// Bytes of a document as JSON writes it.
fn json_len(document: &impl serde::Serialize) -> usize {
    serde_json::to_vec(document).map_or(usize::MAX, |json| json.len())
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
