//! Journals replay to what they replayed to.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};
use swarm_agents::agent_loop::{AgentLoop, Settings, Step};
use swarm_bus::fence::{Claim, Verdict, judge};
use swarm_model::ModelFacts;
use swarm_protocol::journal::Entry;
use swarm_protocol::version::read;
use swarm_protocol::work::Work;
use swarm_protocol::{TaskId, Usage, subjects};

use super::files::{cases, messages, recorded};
use super::fold::works;

fn journals(case: &Path) -> BTreeMap<TaskId, Vec<Entry>> {
    let mut journals = BTreeMap::<_, Vec<Entry>>::new();
    for message in messages(case) {
        if let Some((_, task, _)) = subjects::parse_journal(&message.subject) {
            let entry = read(message.payload.as_bytes()).unwrap();
            journals.entry(task).or_default().push(entry);
        }
    }
    journals
}

/// What a later delivery of the attempt does when it finds these entries.
fn replayed(work: &Work, entries: &[Entry]) -> Value {
    let settings = Settings {
        prompt: "You are.".to_owned(),
        model: "scripted:1b".to_owned(),
        max_iterations: 3,
        num_predict: 100,
        tool_mode: None,
    };
    let facts = ModelFacts {
        window: 8192,
        ..ModelFacts::default()
    };
    let mut agent = AgentLoop::new(settings, facts, Vec::new(), work);
    for entry in entries {
        agent.replay(entry, work.attempt);
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
        Step::Call(calls) => json!({ "call": calls }),
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
        let then = recorded(&case, "replay.json", &steps);
        assert_eq!(steps, then, "{}", case.display());
    }
    assert!(taken_over > 0, "no journal is taken over in the middle");
}
