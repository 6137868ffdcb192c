//! The wire shapes as whole documents: what is written is exactly this, what is read back is what was written, and the
//! published JSON Schemas are those of the code.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

use std::fmt::Debug;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use swarm_protocol::card::Card;
use swarm_protocol::chunk::Chunk;
use swarm_protocol::dead::{Dead, Origin};
use swarm_protocol::endpoint::{
    AgentsReply, AskError, OpenError, RegisterReply, RunsReply, StateReply,
};
use swarm_protocol::event::Event;
use swarm_protocol::journal::Entry;
use swarm_protocol::work::Work;
use swarm_protocol::{Code, ErrorBody, RunResult, Submission, Summary, Timestamp};

const RUN: &str = "0b7e1e0c-3f5b-5e9a-8c49-0d5a6f7b8c9d";
const AT: &str = "2026-01-02T03:04:05.678Z";

/// The document is read as a `T`, and a `T` is written as the document.
fn same<T: Serialize + DeserializeOwned + PartialEq + Debug>(document: Value) -> T {
    let value: T = serde_json::from_value(document.clone())
        .unwrap_or_else(|error| panic!("{error}: {document}"));
    assert_eq!(serde_json::to_value(&value).unwrap(), document);
    value
}

fn usage() -> Value {
    json!({ "input_tokens": 10, "output_tokens": 20, "model_calls": 1, "tool_calls": 0 })
}

fn answer() -> Value {
    json!({
        "task": "research_agent", "agent": "research_agent", "model": "llama3.2:3b", "status": "completed",
        "text": "Because.", "usage": usage(), "elapsed_ms": 1200,
    })
}

fn blob() -> Value {
    json!({ "sha256": "00ff", "bytes": 200_000, "type": "text/plain" })
}

fn failed_answer() -> Value {
    json!({
        "task": "critical_agent", "agent": "critical_agent", "model": "gemma2:2b", "status": "failed",
        "error": { "code": "SW-MODEL-MISSING", "message": "run `ollama pull gemma2:2b`", "retryable": false },
        "usage": usage(), "elapsed_ms": 3,
    })
}

fn result() -> Value {
    json!({
        "v": 1, "run": RUN, "status": "completed", "text": "Because.", "aggregate": "summarize",
        "answers": [answer(), failed_answer()], "usage": usage(), "elapsed_ms": 2400, "simulated": false, "refs": [],
    })
}

fn definition() -> Value {
    json!({ "steps": [
        { "id": "research_agent", "kind": "agent", "agent": "research_agent" },
        { "id": "aggregate", "kind": "aggregate", "mode": "summarize", "agent": "summarizer_agent",
          "needs": ["research_agent"], "min_answers": 1 },
    ] })
}

fn event(kind: &str, data: &Value, effects: &Value) -> Value {
    json!({
        "v": 1, "run": RUN, "n": 1, "at": AT, "by": "a1b2c3", "cause": { "stream": "SWARM_INBOX", "seq": 17 },
        "type": kind, "data": data, "effects": effects,
    })
}

#[test]
fn submission() {
    same::<Submission>(json!({ "task": "Why?" }));
    same::<Submission>(json!({
        "task": "Why?", "agents": ["research_agent"], "aggregate": "concat", "min_answers": 1, "context": "c",
        "workflow": "w", "inputs": { "topic": "x" }, "timeout": "10m", "queue_timeout": "1m",
        "budget": { "model_calls": 1, "tool_calls": 2, "tokens": 3, "handoffs": 4, "depth": 5 }, "labels": { "k": "v" },
    }));
}

#[test]
fn results_and_errors() {
    same::<RunResult>(result());
    let mut large = result();
    large["ref"] = blob();
    large["answers"][0]["ref"] = blob();
    large["refs"] = json!([blob()]);
    same::<RunResult>(large);
    let mut rejected = result();
    let reason = json!({ "code": "SW-FIELD", "message": "agents is empty", "retryable": false, "field": "agents" });
    rejected["status"] = json!("rejected");
    rejected["reason"] = reason.clone();
    same::<RunResult>(rejected.clone());
    same::<ErrorBody>(reason.clone());
    let mut ask = reason.clone();
    ask["run"] = json!(RUN);
    ask["result"] = rejected;
    same::<AskError>(ask);
    let mut open = reason;
    open["run"] = json!(RUN);
    open["state"] = json!("working");
    same::<OpenError>(open);
}

#[test]
fn events() {
    let accepted = json!({
        "submission": { "task": "Why?" }, "target": "research_agent", "content_sha256": "00ff", "submitted_at": AT,
        "deadline": AT, "definition": definition(), "reply": "_INBOX.x",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    });
    let dispatch = json!([{ "kind": "dispatch", "task": "research_agent", "attempt": 1 }]);
    same::<Event>(event("accepted", &accepted, &dispatch));
    let mut large = accepted.clone();
    large["context_ref"] = blob();
    same::<Event>(event("accepted", &large, &dispatch));
    let ended = json!({ "task": "research_agent", "attempt": 1, "answer": answer() });
    same::<Event>(event("step_completed", &ended, &json!([])));
    let failed = json!({ "task": "critical_agent", "attempt": 1, "answer": failed_answer() });
    same::<Event>(event("step_failed", &failed, &json!([])));
    let effects = json!([{ "kind": "end_task", "task": "research_agent", "attempt": 1 }, { "kind": "signal_cancel" }]);
    same::<Event>(event("canceling", &json!({ "reason": "late" }), &effects));
    let reply = json!([{ "kind": "reply", "subject": "_INBOX.x" }]);
    for kind in ["completed", "failed", "canceled"] {
        same::<Event>(event(kind, &result(), &reply));
    }
    let mut rejected = result();
    rejected["content_sha256"] = json!("00ff");
    rejected["task"] = json!("Why?");
    rejected["traceparent"] = accepted["traceparent"].clone();
    same::<Event>(event("rejected", &rejected, &reply));
}

#[test]
fn causes() {
    for cause in [
        json!({ "endpoint": "cancel" }),
        json!({ "deadline": "total" }),
    ] {
        let mut document = event("canceling", &json!({}), &json!([]));
        document["cause"] = cause;
        same::<Event>(document);
    }
}

#[test]
fn summaries() {
    same::<Summary>(json!({
        "run": RUN, "seq": 17, "task": "Why?", "state": "working", "deadline": AT, "unconfirmed": true,
        "waiting_for": { "kind": "agent", "name": "research_agent", "since": AT }, "submitted_at": AT,
        "labels": { "k": "v" }, "retry_of": RUN,
    }));
    let ended = json!({ "run": RUN, "task": "Why?", "state": "input-required", "submitted_at": AT, "ended_at": AT });
    same::<Summary>(ended.clone());
    same::<RunsReply>(json!({ "items": [ended], "next": "17:x" }));
    same::<StateReply>(json!({ "run": RUN, "state": "canceling" }));
}

#[test]
fn journal_entries() {
    let entry = |kind: &str, data: Value| {
        json!({
            "v": 1, "run": RUN, "task": "research_agent", "attempt": 1, "work_seq": 4, "delivery": 2,
            "instance": "a1b2c3", "at": AT, "type": kind, "data": data,
        })
    };
    let call = json!({ "toolUseId": "t1", "name": "calculator", "input": { "expression": "1+1" } });
    let turn = json!({ "model": "m", "text": "", "tool_calls": [call], "usage": usage(), "elapsed_ms": 5 });
    same::<Entry>(entry("model_turn", turn));
    let content = json!([{ "text": "2" }, { "json": { "value": 2 } }]);
    let tool_result = json!({ "toolUseId": "t1", "name": "calculator", "status": "success", "content": content, "elapsed_ms": 3 });
    same::<Entry>(entry("tool_result", tool_result));
    let repairs = json!([{ "at": "/n", "what": "JSON in a string was read" }]);
    let repeated = json!({ "toolUseId": "t2", "name": "calculator", "status": "error", "content": [], "repairs": repairs,
        "repeated": true, "elapsed_ms": 0 });
    same::<Entry>(entry("tool_result", repeated));
    let empty = json!({ "model": "m", "text": "", "usage": usage(), "elapsed_ms": 5, "mode": "structured", "problem": "not_json" });
    same::<Entry>(entry("model_turn", empty));
    same::<Entry>(entry("completed", answer()));
    same::<Entry>(entry("failed", failed_answer()));
    let mut canceled = entry("canceled", failed_answer());
    canceled
        .as_object_mut()
        .unwrap()
        .retain(|name, _| name != "work_seq" && name != "delivery");
    same::<Entry>(canceled);
}

#[test]
fn work_and_chunks() {
    same::<Work>(json!({
        "v": 1, "run": RUN, "task": "research_agent", "attempt": 1, "agent": "research_agent", "input": "Why?",
        "context": "c", "budget": { "model_calls": 3 }, "deadline": AT,
    }));
    same::<Work>(json!({
        "v": 1, "run": RUN, "task": "research_agent", "attempt": 1, "agent": "research_agent", "input": "Why?",
        "context_ref": blob(), "budget": {}, "deadline": AT,
    }));
    same::<Chunk>(
        json!({ "v": 1, "attempt": 1, "delivery": 2, "seq": 3, "kind": "text", "data": "Bec" }),
    );
}

#[test]
fn cards_and_registration() {
    let card = json!({
        "agent": "research_agent", "instance": "a1b2c3", "description": "d", "model": "llama3.2:3b",
        "capabilities": ["research"], "tools": [], "state": "paused", "reason": "the host is down", "slots": 2, "busy": 1,
        "tasks": [{ "run": RUN, "task": "research_agent", "attempt": 1 }], "host": "h", "pid": 7, "version": "0.1.0",
        "simulated": true, "started_at": AT, "at": AT,
    });
    let read: Card = same(card.clone());
    assert_eq!(read.key(), "research_agent.a1b2c3");
    same::<AgentsReply>(json!({ "items": [card] }));
    same::<RegisterReply>(json!({ "heartbeat_s": 5, "consumer": "research_agent" }));
}

#[test]
fn dead_letters_keep_text_as_text_and_bytes_as_base64() {
    let origin =
        json!({ "subject": "swarm.submit", "stream": "SWARM_INBOX", "seq": 17, "run": RUN });
    let letter = |payload: &[u8]| {
        let at = serde_json::from_value::<Timestamp>(json!(AT)).unwrap();
        let origin: Origin = serde_json::from_value(origin.clone()).unwrap();
        Dead::new(
            at,
            &ErrorBody::new(Code::Conflict, "other content"),
            origin,
            payload,
        )
    };
    let common = json!({ "v": 1, "at": AT, "code": "SW-CONFLICT", "reason": "other content", "origin": origin });
    let mut text = common.clone();
    text["payload"] = json!("Why?");
    assert_eq!(same::<Dead>(text), letter(b"Why?"));
    let mut bytes = common;
    bytes["payload_base64"] = json!("/w==");
    assert_eq!(same::<Dead>(bytes), letter(b"\xff"));
}

#[test]
fn unknown_fields_are_ignored_and_unknown_versions_refused() {
    let mut newer = json!({ "v": 1, "attempt": 1, "delivery": 2, "seq": 3, "kind": "text", "data": "Bec", "new": true });
    assert!(serde_json::from_value::<Chunk>(newer.clone()).is_ok());
    newer["v"] = json!(2);
    let error = serde_json::from_value::<Chunk>(newer)
        .unwrap_err()
        .to_string();
    assert!(error.contains("wire version 2 is not supported"), "{error}");
}

#[test]
fn published_schemas_are_those_of_the_code() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/schemas");
    for (name, schema) in swarm_protocol::schemas::all() {
        let file = folder.join(format!("{name}.json"));
        let published: Value =
            serde_json::from_slice(&std::fs::read(&file).expect(name)).expect(name);
        let actual = serde_json::to_value(&schema).unwrap();
        assert_eq!(
            published, actual,
            "docs/schemas/{name}.json is not up to date: `make schemas` writes it"
        );
    }
}
