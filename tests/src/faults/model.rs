//! Model hosts that refuse, are silent, or break off.

use std::time::{Duration, Instant};

use swarm_protocol::RunState;

use super::scene::{AGENT, FAST, PATIENCE, Scene};
use super::{Outcome, Round};

/// Refused with 503, 429 and 500 for a while: each task is tried again and done. A model that is not there is not tried again.
pub async fn refuses(round: Round) -> Outcome {
    let words = ["busy", "limited", "broken", "missing"];
    let rules = "
rules:
- {when: {user: busy}, times: 2, then: [{error: {status: 503, text: 'server busy, please try again'}}]}
- {when: {user: limited}, times: 2, then: [{error: {status: 429, text: 'too many requests'}}]}
- {when: {user: broken}, times: 2, then: [{error: {status: 500, text: 'out of memory'}}]}
- {when: {user: missing}, then: [{error: {status: 404, text: 'model not found'}}]}
- then: [{text: done}]
";
    let done = Expected {
        completed: 3,
        failed: 1,
    };
    troubled(&round, rules, &words, Duration::from_secs(60), done).await
}

/// Silent before the first word, and after the third: given up after a while, and tried again. The slot is free meanwhile.
pub async fn is_silent(round: Round) -> Outcome {
    let words = ["silent", "stalled", "fine"];
    let rules = "
rules:
- {when: {user: silent}, times: 1, then: [{fault: hang}]}
- {when: {user: stalled}, times: 1, then: [{text: one two three four five six}, {fault: {name: stall, after: 3}}]}
- then: [{text: done}]
";
    let done = Expected {
        completed: 3,
        failed: 0,
    };
    let tokens = round.size(Duration::from_secs(2), Duration::from_secs(60));
    troubled(&round, rules, &words, tokens, done).await
}

/// Cut in the middle of an answer, a line that is no JSON, a line of 10 MB, an end without a last word.
pub async fn breaks_off(round: Round) -> Outcome {
    let words = ["cut", "reset", "garbled", "huge", "unfinished"];
    let text = "{text: one two three four five six}";
    let fault = |word: &str, fault: &str| {
        format!(
            "- {{when: {{user: {word}}}, times: 2, then: [{text}, {{fault: {{name: {fault}, after: 3}}}}]}}\n"
        )
    };
    let rules = [
        "rules:\n".to_owned(),
        fault("cut", "cut"),
        fault("reset", "reset"),
        fault("garbled", "bad_line"),
        fault("huge", "huge_line"),
        fault("unfinished", "no_done"),
        "- then: [{text: done}]\n".to_owned(),
    ];
    let done = Expected {
        completed: 5,
        failed: 0,
    };
    let tokens = Duration::from_secs(60);
    troubled(&round, &rules.concat(), &words, tokens, done).await
}

struct Expected {
    completed: usize,
    failed: usize,
}

async fn troubled(
    round: &Round,
    rules: &str,
    words: &[&str],
    tokens: Duration,
    expected: Expected,
) -> Outcome {
    let mut scene = Scene::start(&FAST).await;
    scene.tokens = tokens;
    let _coordinator = scene.stack.coordinator().await;
    let worker = scene.worker(AGENT);
    scene.stack.agents_are_ready(1).await;
    scene.stack.sim.follow(rules).await;
    let began = Instant::now();
    let runs = scene
        .submit(AGENT, words.iter().map(ToString::to_string))
        .await;
    scene.ended(runs.len(), PATIENCE * round.size(1, 5)).await;
    let recovery = began.elapsed();
    let (history, tally) = scene.check(&runs).await;
    let ended = [RunState::Completed, RunState::Failed].map(|state| history.ended_as(state));
    assert_eq!(ended, [expected.completed, expected.failed], "{history:#?}");
    for (run, word) in runs.iter().zip(words) {
        let story = history.story(*run);
        let attempts = story.attempts();
        eprintln!("{word}: {attempts} attempts");
        match story.phase() {
            // Half an answer is none.
            Some(RunState::Completed) => assert_eq!(story.text(), "done"),
            _ => assert_eq!(attempts, 1, "{word}"),
        }
    }
    let peak = worker.peak_memory_kib();
    assert!(peak < super::flood::MOST_MEMORY_KIB, "{peak} KiB");
    Outcome { tally, recovery }
}
