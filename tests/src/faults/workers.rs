//! Workers that are killed, stopped, or wait for a tool.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use swarm_protocol::RunState;

use super::ledger::What;
use super::scene::{AGENT, FAST, PATIENCE, Scene, count_ended};
use super::tool::DEADLY;
use super::{Outcome, Round, lasts};
use crate::proxy::{Direction, Proxy, Trap};
use crate::{eventually, holds};

/// A model that thinks for a while.
const THOUGHTFUL: [&str; 4] = ["--latency", "1s", "--tokens-per-second", "0"];

/// Of two workers one dies; the other one does its task after the ack wait.
pub async fn killed_while_the_model_thinks(mut round: Round) -> Outcome {
    let mut scene = Scene::start(&THOUGHTFUL).await;
    scene.slots = 2;
    let _coordinator = scene.stack.coordinator().await;
    let mut workers = [scene.worker(AGENT), scene.worker(AGENT)];
    scene.stack.agents_are_ready(2).await;
    let tasks = (0..4).map(|n| format!("ledger t{n} ms=20 hold=0"));
    let runs = scene.submit(AGENT, tasks).await;
    scene.models_at_work(4).await;
    round.strikes_within(Duration::from_millis(900)).await;
    workers[round.pick(2)].kill_9();
    let killed = Instant::now();
    scene.ended(runs.len(), PATIENCE).await;
    scene.outcome(&runs, killed.elapsed()).await
}

/// A call has taken effect, and its worker dies before it can record the result: the call is made again, as its tool allows.
pub async fn killed_after_the_effect(_round: Round) -> Outcome {
    let scene = Scene::start(&FAST).await;
    let _coordinator = scene.stack.coordinator().await;
    let mut first = scene.worker(AGENT);
    scene.stack.agents_are_ready(1).await;
    let run = scene.submit_one(AGENT, "ledger t ms=0 hold=700").await;
    effect(&scene, run.to_string()).await;
    first.kill_9();
    let killed = Instant::now();
    let _second = scene.worker(AGENT);
    scene.ended(1, PATIENCE).await;
    let recovery = killed.elapsed();
    let (history, tally) = scene.check(&[run]).await;
    assert_eq!(history.ended_as(RunState::Completed), 1, "{history:?}");
    assert_eq!(tally.executed_twice, 1, "the tool allows it");
    let effects = scene.ledger.of(&run.to_string(), What::Effect);
    assert_eq!(effects.len(), 2, "{effects:?}");
    let text = history.story(run).text().to_owned();
    assert!(text.contains(&effects[1].entry.to_string()), "{text}");
    Outcome { tally, recovery }
}

/// The same with calls that may be made once only: a person is asked, and what is not allowed is not done.
pub async fn killed_after_the_only_effect(_round: Round) -> Outcome {
    let scene = Scene::start(&FAST).await;
    let _coordinator = scene.stack.coordinator().await;
    let mut runs = Vec::new();
    let mut recovery = Duration::ZERO;
    for (decision, times) in [("deny", 1), ("approve", 2)] {
        let mut first = scene.worker(AGENT);
        let task = format!("ledger_once {decision} ms=0 hold=700");
        let run = scene.submit_one(AGENT, &task).await;
        let id = run.to_string();
        effect(&scene, id.clone()).await;
        first.kill_9();
        let killed = Instant::now();
        let _second = scene.worker(AGENT);
        eventually("a person is asked", PATIENCE, || async {
            let shown = scene.stack.swarm_json(&["runs", "show", &id]).await;
            holds(shown["state"] == "input-required")
        })
        .await;
        recovery = recovery.max(killed.elapsed());
        let effects = scene.ledger.of(&id, What::Effect);
        assert_eq!(effects.len(), 1, "nobody has decided: {effects:?}");
        let (printed, code) = scene.stack.swarm(&["runs", decision, &id]).await;
        assert_eq!(code, 0, "{printed:?}");
        runs.push(run);
        scene.ended(runs.len(), PATIENCE).await;
        let effects = scene.ledger.of(&id, What::Effect);
        assert_eq!(effects.len(), times, "{decision}: {effects:?}");
    }
    let (history, tally) = scene.check(&runs).await;
    assert_eq!(history.ended_as(RunState::Completed), 2, "{history:?}");
    assert_eq!(tally.executed_twice, 1, "where a person said so");
    Outcome { tally, recovery }
}

/// Work that ends every worker that takes it, each of which is started again: it is set aside, and the others flow.
pub async fn poison(_round: Round) -> Outcome {
    let mut scene = Scene::start(&FAST).await;
    scene.lost_after(Duration::from_secs(1));
    let _coordinator = scene.stack.coordinator().await;
    let mut workers = [scene.worker(AGENT), scene.worker(AGENT)];
    scene.stack.agents_are_ready(2).await;
    let began = Instant::now();
    let tasks = [format!("ledger {DEADLY} ms=0 hold=0")].into_iter();
    let others = (0..20).map(|n| format!("ledger t{n} ms=20 hold=0"));
    let runs = scene.submit(AGENT, tasks.chain(others)).await;
    let client = scene.connect_as("client").await;
    eventually("all runs end", PATIENCE, || {
        for worker in &mut workers {
            if worker.has_ended() {
                *worker = scene.worker(AGENT);
            }
        }
        let ended = count_ended(&client);
        async { holds(ended.await? == runs.len() as u64) }
    })
    .await;
    let recovery = began.elapsed();
    let (history, tally) = scene.check(&runs).await;
    let ended = [RunState::Completed, RunState::Failed].map(|state| history.ended_as(state));
    assert_eq!((ended, history.dead), ([20, 1], 1), "{history:?}");
    let result = scene.stack.result(&runs[0].to_string()).await;
    assert_eq!(result["reason"]["code"], "SW-POISON", "{result}");
    let begun = scene.ledger.of(&runs[0].to_string(), What::Begin);
    assert!(begun.len() <= 11, "{} deliveries", begun.len());
    Outcome { tally, recovery }
}

/// The answer is stored and the worker knows it, but the acknowledgement of its work never leaves it.
pub async fn killed_between_result_and_ack(_round: Round) -> Outcome {
    let scene = Scene::start(&FAST).await;
    let _coordinator = scene.stack.coordinator().await;
    let proxy = Proxy::open(&scene.stack.server.url()).await;
    proxy.trap(Trap {
        word: "PUB $JS.ACK.SWARM_WORK",
        after: 0,
        hold: Direction::ToServer,
    });
    let mut first = scene.worker_by(AGENT, &proxy.url());
    scene.stack.agents_are_ready(1).await;
    let run = scene.submit_one(AGENT, "ledger t ms=0 hold=0").await;
    proxy.trapped(PATIENCE).await;
    first.kill_9();
    proxy.cut();
    let killed = Instant::now();
    let asked = scene.stack.sim.chats("done").await.len();
    let _second = scene.worker(AGENT);
    scene.queues_empty().await;
    let recovery = killed.elapsed();
    let (history, tally) = scene.check(&[run]).await;
    assert!(history.story(run).text().contains("entry"), "{history:?}");
    assert_eq!(tally.executed_twice, 0, "the call was not made again");
    let asked_again = scene.stack.sim.chats("done").await.len() - asked;
    assert_eq!(asked_again, 0, "the model was not asked again");
    Outcome { tally, recovery }
}

/// A call has finished and its result is recorded: whoever takes over answers with it and does not make the call again.
pub async fn killed_after_a_finished_call(mut round: Round) -> Outcome {
    let scene = Scene::start(&FAST).await;
    let _coordinator = scene.stack.coordinator().await;
    let mut first = scene.worker(AGENT);
    scene.stack.agents_are_ready(1).await;
    let slow = "
rules:
- when: {last: user}
  then: [{tool_call: {name: ledger, arguments: {text: t, ms: 20, hold: 0}}}]
- then: [{latency: 1500ms}, {template: 'It is {tool}'}]
";
    scene.stack.sim.follow(slow).await;
    let run = scene.submit_one(AGENT, "Write.").await;
    eventually("the result is recorded", PATIENCE, || async {
        let journal = scene.stack.journal_of(&run.to_string(), AGENT).await;
        holds(journal.iter().any(|entry| entry["type"] == "tool_result"))
    })
    .await;
    round.strikes_within(Duration::from_millis(1200)).await;
    first.kill_9();
    let killed = Instant::now();
    let _second = scene.worker(AGENT);
    scene.ended(1, PATIENCE).await;
    let recovery = killed.elapsed();
    let (history, tally) = scene.check(&[run]).await;
    assert_eq!(tally.executed_twice, 0, "the call was not made again");
    let effects = scene.ledger.of(&run.to_string(), What::Effect);
    assert_eq!(effects.len(), 1, "{effects:?}");
    let text = history.story(run).text().to_owned();
    assert!(text.contains(&effects[0].entry.to_string()), "{text}");
    Outcome { tally, recovery }
}

/// A worker is stopped in the middle of its model's answer and of a call, for longer than it may be silent, and goes on when
/// both tasks have long been done by another one: what it appends is refused, nothing changes, and its model call is given up.
pub async fn stopped_and_continued(mut round: Round) -> Outcome {
    let mut scene = Scene::start(&FAST).await;
    scene.slots = 2;
    scene.tokens = Duration::from_secs(600);
    let _coordinator = scene.stack.coordinator().await;
    let first = scene.worker(AGENT);
    scene.stack.agents_are_ready(1).await;
    // Its model still speaks when it wakes up; the model of the other one answers at once.
    let away = round.size(Duration::from_secs(6), Duration::from_secs(60));
    scene.stack.sim.follow(&speaks_longer_than(away)).await;
    let tasks = ["Speak.", "Write."].map(str::to_owned);
    let mut runs = scene.submit(AGENT, tasks).await;
    let [spoken, written] = [runs[0].to_string(), runs[1].to_string()];
    scene.models_at_work(1).await;
    eventually("the call has begun", PATIENCE, || async {
        holds(scene.ledger.of(&written, What::Begin).len() == 1)
    })
    .await;
    round.strikes_within(Duration::from_secs(1)).await;
    first.signal(Signal::SIGSTOP);
    let stopped = Instant::now();
    let _second = scene.worker(AGENT);
    scene.ended(2, PATIENCE).await;
    let recovery = stopped.elapsed();
    let journals = async || {
        let spoken = scene.stack.journal_of(&spoken, AGENT).await;
        [spoken, scene.stack.journal_of(&written, AGENT).await]
    };
    let before = journals().await;
    lasts(stopped, away).await;
    first.signal(Signal::SIGCONT);
    eventually("its model call is given up", PATIENCE, || async {
        holds(scene.stack.sim.chats("disconnected").await.len() == 1)
    })
    .await;
    eventually("its call has ended", PATIENCE, || async {
        holds(scene.ledger.of(&written, What::Effect).len() == 2)
    })
    .await;
    eventually("both are free", PATIENCE, || async {
        let cards = scene.stack.swarm_json(&["agents", "list"]).await;
        let cards = cards["items"].as_array()?.clone();
        holds(cards.len() == 2 && cards.iter().all(|card| card["busy"] == 0))
    })
    .await;
    let after = journals().await;
    assert_eq!(after, before, "nothing changed");
    let ends = after
        .each_ref()
        .map(|journal| &journal.last().unwrap()["delivery"]);
    assert_eq!(ends, [2, 2], "{after:?}");
    // It is a worker like any other again.
    runs.extend(
        scene
            .submit(AGENT, (0..4).map(|n| format!("Write {n}")))
            .await,
    );
    scene.ended(runs.len(), PATIENCE).await;
    let (history, tally) = scene.check(&runs).await;
    assert_eq!(history.ended_as(RunState::Completed), runs.len());
    assert!(history.story(runs[0]).text().contains("of the other one"));
    Outcome { tally, recovery }
}

/// Rules of a model whose first answer to `Speak` takes longer than this, and that calls a slow tool for anything else.
fn speaks_longer_than(away: Duration) -> String {
    let seconds = usize::try_from(away.as_secs()).unwrap() + 20;
    format!(
        "
rules:
- when: {{user: Speak, call: 1}}
  then: [{{latency: 200ms}}, {{tokens_per_second: 2}}, {{text: '{}'}}]
- when: {{user: Speak}}
  then: [{{text: 'of the other one'}}]
- when: {{last: user}}
  then: [{{tool_call: {{name: ledger, arguments: {{text: t, ms: 3000, hold: 0}}}}}}]
- then: [{{template: 'It is {{tool}}'}}]
",
        "still ".repeat(seconds * 2)
    )
}

/// A tool that takes too long: its attempt ends at its deadline, a cancel ends it at once, and the slot is free again.
pub async fn slow_tool(_round: Round) -> Outcome {
    let mut scene = Scene::start(&FAST).await;
    scene.attempt = Duration::from_secs(2);
    scene.stack.set("SWARM_RUNS_RETRY__MAX", "0");
    let _coordinator = scene.stack.coordinator().await;
    let _worker = scene.worker(AGENT);
    scene.stack.agents_are_ready(1).await;
    let late = scene.submit_one(AGENT, "ledger t ms=600000 hold=0").await;
    let began = Instant::now();
    scene.ended(1, PATIENCE).await;
    let recovery = began.elapsed();
    let canceled = scene.submit_one(AGENT, "ledger u ms=600000 hold=0").await;
    eventually("the call has begun", PATIENCE, || async {
        holds(
            !scene
                .ledger
                .of(&canceled.to_string(), What::Begin)
                .is_empty(),
        )
    })
    .await;
    let id = canceled.to_string();
    scene.stack.swarm(&["runs", "cancel", &id]).await;
    scene.ended(2, PATIENCE).await;
    let next = scene.submit_one(AGENT, "ledger v ms=5 hold=0").await;
    scene.ended(3, PATIENCE).await;
    let (history, tally) = scene.check(&[late, canceled, next]).await;
    let phases = [late, canceled, next].map(|run| history.story(run).phase());
    let expected = [RunState::Failed, RunState::Canceled, RunState::Completed].map(Some);
    assert_eq!(phases, expected, "{history:?}");
    let written: Vec<String> = scene
        .ledger
        .lines()
        .into_iter()
        .filter(|line| line.what == What::Effect)
        .map(|line| line.text)
        .collect();
    assert_eq!(written, ["v"], "what was ended had no effect");
    Outcome { tally, recovery }
}

/// Waits until a call of the run has taken effect.
async fn effect(scene: &Scene, run: String) {
    eventually("the call has taken effect", PATIENCE, || async {
        holds(!scene.ledger.of(&run, What::Effect).is_empty())
    })
    .await;
}
