use serde_json::json;

use super::super::ledger::{Call, Line, What};
use super::*;
use crate::tools;

type Messages = Vec<(String, Value)>;

const AT: i64 = 1_700_000_000_000;

/// What version 0.1.0 stored of a run of several turns, and the result of a call before its end.
fn stored() -> (RunId, Messages) {
    let file = tools::repository().join("tests/golden/0.1.0/several_turns.jsonl");
    let text = std::fs::read_to_string(file).unwrap();
    let messages = text.lines().map(|line| {
        let message: Value = serde_json::from_str(line).unwrap();
        let payload = message["payload"].as_str().unwrap();
        let subject = message["subject"].as_str().unwrap().to_owned();
        (subject, serde_json::from_str(payload).unwrap())
    });
    let mut messages: Messages = messages.collect();
    let run = subjects::run_of_log(&messages[0].0).unwrap();
    let end = end_in(&messages);
    let (subject, mut result) = messages[end].clone();
    result["type"] = json!("tool_result");
    result["data"] = json!({
        "toolUseId": "call_1", "status": "success", "content": [{"text": "done"}], "name": "ledger", "elapsed_ms": 1,
    });
    messages.insert(end, (subject.replace(".end", ".log"), result));
    (run, messages)
}

fn end_in(messages: &[(String, Value)]) -> usize {
    let end = messages
        .iter()
        .position(|(subject, _)| subject.ends_with(".end"));
    end.unwrap()
}

fn problems(messages: &[(String, Value)], run: RunId, ledger: &Ledger) -> (Tally, String) {
    let mut history = History::default();
    for (subject, payload) in messages {
        let at = Timestamp::from_millis(AT);
        let payload = payload.to_string();
        history.take(subject, Kind::Entry, payload.as_bytes(), at);
    }
    let (tally, problems) = history.judge(&[run], ledger);
    (tally, problems.join("\n"))
}

fn nothing_written() -> (tempfile::TempDir, Ledger) {
    let folder = tempfile::TempDir::new().unwrap();
    let ledger = Ledger::in_folder(folder.path());
    (folder, ledger)
}

#[test]
fn a_history_that_holds() {
    let (run, messages) = stored();
    let (_folder, ledger) = nothing_written();
    let (tally, found) = problems(&messages, run, &ledger);
    assert_eq!(found, "");
    let expected = Tally {
        tasks: 1,
        ..Tally::default()
    };
    assert_eq!(tally, expected);
}

#[test]
fn what_is_missing_doubled_or_altered_is_found() {
    let (run, whole) = stored();
    let (_folder, ledger) = nothing_written();
    let (end, last) = (end_in(&whole), whole.len() - 1);
    let with = |change: &dyn Fn(&mut Messages)| {
        let mut messages = whole.clone();
        change(&mut messages);
        problems(&messages, run, &ledger)
    };
    let (tally, found) = with(&|messages| drop(messages.pop()));
    assert!(found.contains("has not ended"), "{found}");
    assert_eq!((tally.lost, tally.recorded_twice), (1, 0));

    let (tally, found) = with(&|messages| messages.clear());
    assert!(found.contains("has no log"), "{found}");
    assert_eq!(tally.lost, 1);

    let (_, found) = with(&|messages| drop(messages.remove(0)));
    assert!(found.contains("does not fold"), "{found}");

    let (tally, found) = with(&|messages| messages.push(messages[last].clone()));
    assert!(found.contains("has 2 ends"), "{found}");
    assert_eq!(tally.recorded_twice, 1);

    let (tally, found) = with(&|messages| messages.push(messages[end].clone()));
    assert!(found.contains("has 2 ends"), "{found}");
    assert_eq!(tally.recorded_twice, 2, "an end, and an answer");

    let (_, found) = with(&|messages| messages[end].1["data"]["text"] = json!("another"));
    assert!(found.contains("and its journal holds"), "{found}");

    let (tally, found) = with(&|messages| messages.push(messages[end - 1].clone()));
    assert!(found.contains("call "), "{found}");
    assert_eq!(tally.recorded_twice, 1);

    let other = RunId::random();
    let (_, found) = problems(&whole, other, &ledger);
    assert!(found.contains("was never submitted"), "{found}");
}

#[test]
fn a_call_that_runs_after_its_result_is_stored_is_found() {
    let (run, messages) = stored();
    let (_, result) = &messages[end_in(&messages) - 1];
    for (later, found) in [(500, false), (1500, true)] {
        let (_folder, ledger) = nothing_written();
        for at in [AT - 10, AT + later] {
            let line = Line {
                at: Timestamp::from_millis(at),
                pid: 1,
                call: Call {
                    run: run.to_string(),
                    task: result["task"].as_str().unwrap().to_owned(),
                    call: result["data"]["toolUseId"].as_str().unwrap().to_owned(),
                    tool: "ledger".to_owned(),
                },
                entry: uuid::Uuid::nil(),
                what: What::Begin,
                text: String::new(),
            };
            ledger.add(&line).unwrap();
        }
        let (tally, problems) = problems(&messages, run, &ledger);
        assert_eq!(tally.executed_twice, 1);
        assert_eq!(
            problems.contains("and its result is of"),
            found,
            "{problems}"
        );
    }
}
