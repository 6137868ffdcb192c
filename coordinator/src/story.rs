//! The story of a run, told from its log, its journals and what is known of its agents: pure.

use std::collections::BTreeMap;

use swarm_protocol::answer::AnswerStatus;
use swarm_protocol::endpoint::{Explanation, StoryLine, TimeSpent};
use swarm_protocol::event::{Body, Effect, Event};
use swarm_protocol::journal::{self, Approval, Entry, ModelTurn, ToolReturn, ToolStatus};
use swarm_protocol::summary::{WaitKind, WaitingFor};
use swarm_protocol::{AgentName, ErrorBody, RunId, Span, TaskId, Timestamp};

/// What the story is told from.
pub(crate) struct Sources<'a> {
    pub(crate) run: RunId,
    /// The run's log, oldest first.
    pub(crate) events: &'a [Event],
    /// All entries of its journals, oldest first.
    pub(crate) entries: &'a [Entry],
    /// Live tasks that no instance works on, and why as far as that is known.
    pub(crate) waiting: &'a [Waiting],
    /// What it waits for, when somebody could mend that.
    pub(crate) waiting_for: Option<WaitingFor>,
    pub(crate) now: Timestamp,
}

/// A live task that no instance works on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) task: TaskId,
    pub(crate) why: String,
}

/// A stretch of time.
type Stretch = (Timestamp, Timestamp);

/// Tells the story.
pub(crate) fn tell(sources: Sources<'_>) -> Explanation {
    let Sources {
        run,
        events,
        entries,
        waiting,
        waiting_for,
        now,
    } = sources;
    let dispatched = dispatches(events);
    let mut story: Vec<StoryLine> = events.iter().flat_map(of_event).collect();
    story.extend(
        entries
            .iter()
            .flat_map(|entry| of_entry(entry, &dispatched)),
    );
    story.sort_by_key(|line| line.at);
    story.extend(waiting.iter().map(|waiting| {
        let since = dispatched
            .values()
            .flatten()
            .filter(|(task, _)| *task == waiting.task);
        let since = since.map(|(_, at)| *at).max().unwrap_or(now);
        line(
            now,
            format!("{} {}", waiting.task, waiting.why),
            Some(now.since(since)),
        )
    }));
    let end = events
        .last()
        .filter(|event| event.body.result().is_some())
        .map_or(now, |event| event.at);
    let working = stretches(entries, &dispatched, waiting, end);
    Explanation {
        run,
        story,
        time: TimeSpent {
            waiting_ms: idle(submitted_at(events).unwrap_or(end), end, working),
            model_ms: model_ms(entries),
            tool_ms: tool_ms(entries),
        },
        waiting_for,
    }
}

/// When each attempt of each task was dispatched.
type Dispatches = BTreeMap<u32, Vec<(TaskId, Timestamp)>>;

fn dispatches(events: &[Event]) -> Dispatches {
    let mut found = Dispatches::new();
    for event in events {
        for effect in &event.effects {
            if let Effect::Dispatch { task, attempt } = effect {
                found
                    .entry(*attempt)
                    .or_default()
                    .push((task.clone(), event.at));
            }
        }
    }
    found
}

fn dispatched_at(dispatched: &Dispatches, task: &TaskId, attempt: u32) -> Option<Timestamp> {
    let of_attempt = dispatched.get(&attempt)?;
    of_attempt
        .iter()
        .find(|(known, _)| known == task)
        .map(|(_, at)| *at)
}

fn submitted_at(events: &[Event]) -> Option<Timestamp> {
    match &events.first()?.body {
        Body::Accepted(accepted) => Some(accepted.submitted_at),
        _ => None,
    }
}

fn line(at: Timestamp, what: impl Into<String>, took: Option<std::time::Duration>) -> StoryLine {
    StoryLine {
        at,
        what: what.into(),
        took_ms: took.map(millis),
    }
}

fn of_event(event: &Event) -> Vec<StoryLine> {
    let at = event.at;
    let mut lines = match &event.body {
        Body::Accepted(accepted) => vec![
            line(accepted.submitted_at, "submitted", None),
            line(
                at,
                format!("accepted by coordinator {}", event.by),
                Some(at.since(accepted.submitted_at)),
            ),
        ],
        Body::ApprovalRequested(requested) => {
            let approvals = requested.suspended.approvals.iter();
            approvals
                .map(|approval| line(at, asks(approval), None))
                .collect()
        }
        Body::Completed(result) | Body::Failed(result) | Body::Canceled(result) => {
            let took = std::time::Duration::from_millis(result.elapsed_ms);
            let what = format!("{}{}", result.status, because(result.reason.as_ref()));
            vec![line(at, what, Some(took))]
        }
        body => in_words(body, at)
            .into_iter()
            .map(|what| line(at, what, None))
            .collect(),
    };
    let asked: Vec<String> = event.effects.iter().filter_map(asked).collect();
    if !asked.is_empty() {
        lines.push(line(at, format!("asked {}", asked.join(", ")), None));
    }
    lines
}

/// What happened, in one line; nothing where the journals or the effects say it better.
fn in_words(body: &Body, at: Timestamp) -> Option<String> {
    Some(match body {
        Body::Rejected(rejected) => {
            format!("rejected{}", because(rejected.result.reason.as_ref()))
        }
        Body::Retrying(retrying) => format!(
            "{} is tried again in {}: failure {}",
            retrying.task,
            Span(retrying.due.since(at)),
            retrying.failures
        ),
        Body::Approved(decided) => {
            format!(
                "{} approved{}",
                decided.approval,
                said(decided.reason.as_ref())
            )
        }
        Body::Denied(decided) => {
            format!(
                "{} denied{}",
                decided.approval,
                said(decided.reason.as_ref())
            )
        }
        Body::Message(message) => format!("message to {}", message.to),
        Body::Paused(paused) => format!("paused{}", said(paused.reason.as_ref())),
        Body::Unpaused(unpaused) => format!("resumed{}", said(unpaused.reason.as_ref())),
        Body::Canceling(canceling) => {
            format!("cancel asked for{}", said(canceling.reason.as_ref()))
        }
        Body::Deleted(deleted) => format!("deleted after it was {}", deleted.state),
        _ => return None,
    })
}

fn asks(approval: &Approval) -> String {
    format!(
        "a person is asked about {}, {}: {}",
        approval.call.name, approval.approval, approval.reason
    )
}

fn because(reason: Option<&ErrorBody>) -> String {
    reason.map_or_else(String::new, |reason| format!(": {}", reason.message))
}

fn said(reason: Option<&String>) -> String {
    reason.map_or_else(String::new, |reason| format!(": {reason}"))
}

fn asked(effect: &Effect) -> Option<String> {
    match effect {
        Effect::Dispatch { task, attempt: 1 } => Some(task.to_string()),
        Effect::Dispatch { task, attempt } => Some(format!("{task} (attempt {attempt})")),
        _ => None,
    }
}

fn of_entry(entry: &Entry, dispatched: &Dispatches) -> Vec<StoryLine> {
    let task = &entry.task;
    match &entry.body {
        journal::Body::ModelTurn(turn) => {
            let took = std::time::Duration::from_millis(turn.elapsed_ms);
            let what = format!(
                "{task}: a turn of {}, {} tokens{}",
                turn.model,
                turn.usage.output_tokens,
                brought(turn)
            );
            vec![line(entry.at, what, Some(took))]
        }
        journal::Body::ToolResult(result) => {
            let took = std::time::Duration::from_millis(result.elapsed_ms);
            vec![line(entry.at, came_of(task, result), Some(took))]
        }
        journal::Body::CallBegun { .. } => {
            vec![line(
                entry.at,
                format!("{task} makes the call that was approved"),
                None,
            )]
        }
        journal::Body::MessageReceived(message) => {
            let from = message
                .from
                .as_ref()
                .map_or("a person", |from| from.as_str());
            vec![line(
                entry.at,
                format!("{task} read the message of {from}"),
                None,
            )]
        }
        journal::Body::Suspended(suspended) => {
            let took = std::time::Duration::from_millis(suspended.elapsed_ms);
            vec![line(entry.at, format!("{task} suspended"), Some(took))]
        }
        journal::Body::Completed(answer)
        | journal::Body::Failed(answer)
        | journal::Body::Canceled(answer)
        | journal::Body::TimedOut(answer) => {
            let mut lines = Vec::new();
            let worker = entry.delivery.is_some();
            if let Some(began) = worker.then(|| began(entry, answer.elapsed_ms)) {
                let waited =
                    dispatched_at(dispatched, task, entry.attempt).map(|at| began.since(at));
                lines.push(line(began, took_it(entry), waited));
            }
            let ended = match (answer.status, &answer.error) {
                (AnswerStatus::Completed, _) => {
                    format!(
                        "{task} answered: {} tokens by {}",
                        answer.usage.output_tokens, answer.model
                    )
                }
                (AnswerStatus::Failed, Some(error)) => format!("{task} failed: {}", error.message),
                (AnswerStatus::Failed, None) => format!("{task} failed"),
                (AnswerStatus::Canceled, _) => format!("{task} was canceled"),
            };
            let took = std::time::Duration::from_millis(answer.elapsed_ms);
            lines.push(line(entry.at, ended, worker.then_some(took)));
            lines
        }
    }
}

fn took_it(entry: &Entry) -> String {
    let Entry { task, instance, .. } = entry;
    match entry.delivery {
        Some(delivery) if delivery > 1 => format!(
            "{task} taken by instance {instance}, delivery {delivery}: those before it ended without a word (worker gone, cut off, or it gave the work back)"
        ),
        _ => format!("{task} taken by instance {instance}"),
    }
}

fn began(entry: &Entry, elapsed_ms: u64) -> Timestamp {
    let elapsed = i64::try_from(elapsed_ms).unwrap_or(i64::MAX);
    Timestamp::from_millis(entry.at.as_millis().saturating_sub(elapsed))
}

/// When tasks were at work: ended attempts, and live ones that do not wait.
fn stretches(
    entries: &[Entry],
    dispatched: &Dispatches,
    waiting: &[Waiting],
    end: Timestamp,
) -> Vec<Stretch> {
    let ended = |task: &TaskId, attempt: u32| {
        entries
            .iter()
            .any(|entry| entry.task == *task && entry.attempt == attempt && entry.body.is_end())
    };
    let past = entries.iter().filter_map(|entry| {
        let elapsed_ms = match &entry.body {
            journal::Body::Suspended(suspended) => suspended.elapsed_ms,
            body => body.answer()?.elapsed_ms,
        };
        entry
            .delivery
            .map(|_worker| (began(entry, elapsed_ms), entry.at))
    });
    let live = dispatched.iter().flat_map(|(attempt, tasks)| {
        tasks
            .iter()
            .filter(|(task, _)| !ended(task, *attempt) && !waiting.iter().any(|w| w.task == *task))
            .map(|(_, at)| (*at, end))
    });
    past.chain(live).collect()
}

/// Time between two moments in which nothing was at work.
fn idle(from: Timestamp, to: Timestamp, mut working: Vec<Stretch>) -> u64 {
    working.sort();
    let mut idle = std::time::Duration::ZERO;
    let mut reached = from;
    for (begin, end) in working {
        if begin > reached {
            idle += begin.min(to).since(reached);
        }
        reached = reached.max(end);
    }
    if to > reached {
        idle += to.since(reached);
    }
    millis(idle)
}

/// What a turn brought, when it is no answer.
fn brought(turn: &ModelTurn) -> String {
    if let Some(problem) = turn.problem {
        return format!(": {problem}");
    }
    if turn.tool_calls.is_empty() {
        return String::new();
    }
    let names: Vec<&str> = turn
        .tool_calls
        .iter()
        .map(|call| call.name.as_str())
        .collect();
    let found = if turn.salvaged { ", as text" } else { "" };
    format!(": calls {}{found}", names.join(", "))
}

fn came_of(task: &TaskId, result: &ToolReturn) -> String {
    let name = &result.name;
    let repaired: Vec<String> = result
        .repairs
        .iter()
        .map(|repair| match repair.at.as_str() {
            "" => repair.what.clone(),
            at => format!("{at}: {}", repair.what),
        })
        .collect();
    let how = match repaired.as_slice() {
        _ if result.repeated => " from before".to_owned(),
        [] => String::new(),
        repaired => format!(", arguments repaired ({})", repaired.join("; ")),
    };
    match result.result.status {
        ToolStatus::Success => format!("{task}: {name} returned{how}"),
        ToolStatus::Error => format!("{task}: {name} failed{how}"),
    }
}

fn tool_ms(entries: &[Entry]) -> u64 {
    let of_entry = |entry: &Entry| match &entry.body {
        journal::Body::ToolResult(result) => result.elapsed_ms,
        _ => 0,
    };
    entries.iter().map(of_entry).sum()
}

fn model_ms(entries: &[Entry]) -> u64 {
    let of_entry = |entry: &Entry| match &entry.body {
        journal::Body::ModelTurn(turn) => turn.elapsed_ms,
        _ => entry.turn_ms.unwrap_or_default(),
    };
    entries.iter().map(of_entry).sum()
}

fn millis(span: std::time::Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// Why a live task that nobody works on has to wait.
pub(crate) fn why(
    waiting_for: Option<&WaitingFor>,
    agent: &AgentName,
    slots: u32,
    ahead: u64,
) -> String {
    match waiting_for {
        Some(WaitingFor {
            kind: WaitKind::Host,
            name,
            ..
        }) => format!(
            "waits for the model host {}: start `ollama serve` there, or name another one in ollama.hosts",
            name.as_deref().unwrap_or("of its agent")
        ),
        Some(_) => {
            format!("waits for {agent}, which nobody runs: start it with `swarm agent {agent}`")
        }
        None => format!(
            "waits for a free slot of {agent}: {slots} there, {ahead} attempts in its queue; another `swarm agent {agent}` would help"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_is_what_no_stretch_covers() {
        let at = Timestamp::from_millis;
        let idle = |working: &[(i64, i64)]| {
            let working = working.iter().map(|(from, to)| (at(*from), at(*to)));
            idle(at(100), at(200), working.collect())
        };
        assert_eq!(idle(&[]), 100);
        assert_eq!(idle(&[(110, 150), (120, 160)]), 50);
        assert_eq!(idle(&[(150, 160), (90, 120)]), 70);
        assert_eq!(idle(&[(100, 300)]), 0);
        assert_eq!(idle(&[(250, 300)]), 100);
    }
}
