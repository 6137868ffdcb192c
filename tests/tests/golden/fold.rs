//! Logs fold to what they folded to.

use std::path::Path;

use serde_json::{Value, json};
use swarm_protocol::TaskId;
use swarm_protocol::definition::Action;
use swarm_protocol::event::{Effect, Event};
use swarm_protocol::journal::Entry;
use swarm_protocol::subjects;
use swarm_protocol::summary::Stored;
use swarm_protocol::version::read;
use swarm_protocol::work::Work;
use swarm_workflow::state::{Origin, Progress};
use swarm_workflow::{State, fold, work_for};

use super::files::{Message, cases, messages, recorded};

/// A state after an event, with the work that the event's effects publish.
fn portrait(state: &State, event: &Event) -> Value {
    let (origin, about) = match &state.origin {
        Origin::Accepted(accepted) => ("accepted", serde_json::to_value(accepted)),
        Origin::Rejected(rejected) => ("rejected", serde_json::to_value(rejected)),
        Origin::Deleted(deleted) => ("deleted", serde_json::to_value(deleted)),
    };
    let tasks = state.tasks.iter().map(|task| match &task.progress {
        Progress::Waiting => json!({ "id": task.id, "waiting": true }),
        Progress::Live { attempt } => json!({ "id": task.id, "live": attempt }),
        Progress::Suspended { attempt } => json!({ "id": task.id, "suspended": attempt }),
        Progress::Retrying { attempt, due, .. } => {
            json!({ "id": task.id, "retrying": attempt, "due": due })
        }
        Progress::Ended(answer) => json!({ "id": task.id, "ended": answer }),
    });
    let work = event.effects.iter().filter_map(|effect| match effect {
        Effect::Dispatch { task, attempt } => Some(work(state, task, *attempt)),
        _ => None,
    });
    json!({
        "run": state.run, "n": state.n, "at": state.at, "state": state.phase, origin: about.unwrap(),
        "tasks": tasks.collect::<Vec<_>>(), "cancel_reason": state.cancel_reason, "result": state.result,
        "cause": state.last.0, "effects": state.last.1, "unconfirmed": state.unconfirmed(),
        "submitted_at": state.submitted_at(), "content_sha256": state.content_sha256(), "work": work.collect::<Vec<_>>(),
    })
}

/// The work of an attempt; how answers are put before the summarizer is nobody's contract.
fn work(state: &State, task: &TaskId, attempt: u32) -> Work {
    let mut work = work_for(state, task, attempt).unwrap();
    let step = state.steps().iter().find(|step| step.id == *task).unwrap();
    if matches!(step.action, Action::Aggregate { .. }) {
        work.input = "(the answers)".to_owned();
    }
    work
}

/// Fields that later versions say more about old logs with: they are left out of the comparison.
const ADDED: [&str; 0] = [];

/// What is there now, without the fields that a later version added.
fn as_recorded(now: Value) -> Value {
    match now {
        Value::Object(fields) => fields
            .into_iter()
            .filter(|(name, _)| !ADDED.contains(&name.as_str()))
            .map(|(name, value)| (name, as_recorded(value)))
            .collect(),
        Value::Array(items) => items.into_iter().map(as_recorded).collect(),
        other => other,
    }
}

/// The states of a run, after each of its events.
fn states(case: &Path) -> Vec<(Message, Event, State)> {
    let mut state = None;
    let stored = messages(case).into_iter();
    let events = stored.filter(|message| subjects::run_of_log(&message.subject).is_some());
    events
        .map(|message| {
            let event: Event = read(message.payload.as_bytes()).unwrap();
            let folded = fold(state.take(), &event).unwrap();
            state = Some(folded.clone());
            (message, event, folded)
        })
        .collect()
}

/// All work that a run gave out.
pub fn works(case: &Path) -> Vec<Work> {
    let states = states(case);
    let given = states.iter().flat_map(|(_, event, state)| {
        event.effects.iter().filter_map(|effect| match effect {
            Effect::Dispatch { task, attempt } => Some(work(state, task, *attempt)),
            _ => None,
        })
    });
    given.collect()
}

#[test]
fn stored_logs_fold_to_the_states_they_had() {
    for case in cases() {
        let mut portraits = Vec::new();
        for (message, event, folded) in states(&case) {
            let header = message.headers["Swarm-Summary"].as_str().unwrap();
            let summary = Stored::from_header(header).unwrap();
            let stored: Value = serde_json::from_str(header).unwrap();
            let now = serde_json::to_value(folded.summary()).unwrap();
            assert_eq!(as_recorded(now), stored, "{}: summary", case.display());
            let read = (summary.summary.run, summary.summary.state, summary.at);
            assert_eq!(read, (folded.run, folded.phase, folded.at));
            portraits.push(portrait(&folded, &event));
        }
        let portraits = Value::Array(portraits);
        let then = recorded(&case, "state.json", &portraits);
        assert_eq!(as_recorded(portraits), then, "{}", case.display());
    }
}

#[test]
fn stored_entries_are_read_whole() {
    let mut entries = 0;
    for case in cases() {
        for message in messages(&case) {
            let Some((run, task, leaf)) = subjects::parse_journal(&message.subject) else {
                continue;
            };
            let entry: Entry = read(message.payload.as_bytes()).unwrap();
            assert_eq!(
                (entry.run, &entry.task, entry.body.leaf()),
                (run, &task, leaf)
            );
            let stored: Value = serde_json::from_str(&message.payload).unwrap();
            let now = serde_json::to_value(&entry).unwrap();
            assert_eq!(as_recorded(now), stored, "{}", case.display());
            entries += 1;
        }
    }
    assert!(entries > 0, "no journals");
}

/// Every kind of run is among the files of the first version.
#[test]
fn every_kind_of_run_is_there() {
    let ends: Vec<(String, String)> = cases()
        .iter()
        .map(|case| {
            let last = messages(case).pop().unwrap();
            let event: Event = read(last.payload.as_bytes()).unwrap();
            let name = case.file_stem().unwrap().to_string_lossy().into_owned();
            (name, event.body.name().to_owned())
        })
        .collect();
    for (name, end) in [
        ("canceled", "canceled"),
        ("deleted", "deleted"),
        ("failed", "failed"),
        ("rejected", "rejected"),
        ("single_completed", "completed"),
        ("team_one_failed", "completed"),
        ("team_summarized", "completed"),
        ("several_turns", "completed"),
    ] {
        assert!(
            ends.contains(&(name.to_owned(), end.to_owned())),
            "{name}: {ends:?}"
        );
    }
}
