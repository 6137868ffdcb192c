//! Journals that released versions stored replay to what they replayed to then. See `tests/golden/README.md`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Value, json};
use swarm_agents::agent_loop::{AgentLoop, Settings, Step};
use swarm_bus::fence::{Claim, Verdict, judge};
use swarm_protocol::journal::{Body, Entry};
use swarm_protocol::version::read;
use swarm_protocol::work::Work;
use swarm_protocol::{TaskId, Usage, subjects};

/// A stored message as a golden file has it.
#[derive(Deserialize)]
struct Message {
    subject: String,
    payload: String,
}

/// A state as `workflow` recorded it, as far as it is needed here.
#[derive(Deserialize)]
struct Portrait {
    work: Vec<Work>,
}

fn cases() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden");
    let versions = fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let files = versions.filter(|path| path.is_dir()).flat_map(|version| {
        fs::read_dir(version)
            .unwrap()
            .map(|entry| entry.unwrap().path())
    });
    let mut logs: Vec<PathBuf> = files
        .filter(|file| {
            file.extension()
                .is_some_and(|extension| extension == "jsonl")
        })
        .collect();
    logs.sort();
    logs
}

fn journals(case: &Path) -> BTreeMap<TaskId, Vec<Entry>> {
    let mut journals = BTreeMap::<_, Vec<Entry>>::new();
    for line in fs::read_to_string(case).unwrap().lines() {
        let message: Message = serde_json::from_str(line).unwrap();
        if let Some((_, task, _)) = subjects::parse_journal(&message.subject) {
            let entry = read(message.payload.as_bytes()).unwrap();
            journals.entry(task).or_default().push(entry);
        }
    }
    journals
}

fn works(case: &Path) -> Vec<Work> {
    let text = fs::read_to_string(case.with_extension("state.json")).unwrap();
    let portraits: Vec<Portrait> = serde_json::from_str(&text).unwrap();
    portraits
        .into_iter()
        .flat_map(|portrait| portrait.work)
        .collect()
}

/// What a later delivery of the attempt does when it finds these entries.
fn replayed(work: &Work, entries: &[Entry]) -> Value {
    let settings = Settings {
        prompt: "You are.".to_owned(),
        model: "scripted:1b".to_owned(),
        max_iterations: 3,
        num_predict: 100,
    };
    let mut agent = AgentLoop::new(settings, work);
    for entry in entries {
        if let Body::ModelTurn(turn) = &entry.body {
            agent.take(turn);
        }
    }
    let last = entries.last();
    let claim = Claim {
        run: work.run,
        task: work.task.clone(),
        attempt: work.attempt,
        work_seq: last.and_then(|last| last.work_seq).unwrap_or(1),
        delivery: last.and_then(|last| last.delivery).unwrap_or(0) + 1,
    };
    let verdict = judge(last, &claim);
    // What is said to a model is nobody's contract; and what has ended takes no step.
    let step = match agent.step() {
        _ if verdict == Verdict::Ended => Value::Null,
        Step::Ask(request) => json!({ "ask": request.model }),
        Step::Answer(text) => json!({ "answer": text }),
        Step::Fail(error) => json!({ "fail": error }),
    };
    let Usage {
        input_tokens,
        output_tokens,
        model_calls,
        tool_calls,
        ..
    } = agent.usage();
    let usage = json!({
        "input_tokens": input_tokens, "output_tokens": output_tokens, "model_calls": model_calls, "tool_calls": tool_calls,
    });
    json!({
        "task": work.task, "entries": entries.len(), "verdict": format!("{verdict:?}"), "step": step,
        "usage": usage, "elapsed_ms": agent.elapsed_ms(), "simulated": agent.simulated(),
    })
}

#[test]
fn stored_journals_replay_to_the_steps_they_led_to() {
    let mut taken_over = 0;
    for case in cases() {
        let works = works(&case);
        let mut steps = Vec::new();
        for (task, entries) in journals(&case) {
            let work = works
                .iter()
                .find(|work| work.task == task)
                .expect("its work");
            steps.extend((0..=entries.len()).map(|known| replayed(work, &entries[..known])));
        }
        taken_over += steps
            .iter()
            .filter(|step| step["verdict"] == "TakeOver")
            .count();
        let steps = Value::Array(steps);
        let file = case.with_extension("replay.json");
        if !file.exists() && std::env::var("SWARM_GOLDEN").is_ok_and(|mode| mode == "add") {
            fs::write(&file, format!("{steps:#}\n")).unwrap();
        }
        let recorded = fs::read_to_string(&file).unwrap_or_else(|error| {
            panic!("{}: {error}; see tests/golden/README.md", file.display())
        });
        let recorded: Value = serde_json::from_str(&recorded).unwrap();
        assert_eq!(steps, recorded, "{}", case.display());
    }
    assert!(taken_over > 0, "no journal is taken over in the middle");
}
