//! Runners that are killed, and slots that are lost.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{SOON, Sim, ask, ask_whole, eventually, lines};

const DIED: &str = "an error was encountered while running the model: unexpected EOF";

async fn kill(sim: &Sim) {
    let response = sim.control(Method::DELETE, "/sim/runners").await;
    assert_eq!(response.status(), 204);
}

async fn count(sim: &Sim, name: &str) -> u64 {
    let metrics: Value = sim.told("/sim/metrics").await;
    metrics[name].as_u64().unwrap()
}

#[tokio::test]
async fn an_answer_breaks_off_when_its_runner_is_killed() {
    for (release, gone) in [
        ("0.33.0", "llama-server process no longer running: unknown "),
        ("0.17.4", "llama runner process no longer running: -1 "),
    ] {
        let sim = Sim::start(&["--version-of", release, "--parallel", "1"]).await;
        let mut running = sim.chat(&ask("run [[sim:tps=0.01]]")).send().await.unwrap();
        running.chunk().await.unwrap().unwrap();
        let waiting = tokio::spawn(sim.chat(&ask("wait")).send());
        sim.logged("wait", "running").await;
        kill(&sim).await;
        let told = lines(&running.text().await.unwrap());
        assert_eq!(told, [json!({"error": DIED})]);
        let waited = waiting.await.unwrap().unwrap();
        assert_eq!(waited.status(), 500);
        assert_eq!(
            waited.text().await.unwrap(),
            json!({"error": gone}).to_string()
        );
        // It is loaded again for the next one.
        assert_eq!(sim.whole(&ask("next")).await.0, 200);
        assert_eq!(
            (count(&sim, "loads").await, count(&sim, "killed").await),
            (2, 1)
        );
    }
}

#[tokio::test]
async fn nothing_was_sent_when_the_runner_was_killed() {
    let sim = Sim::start(&[]).await;
    for body in [
        ask("a [[sim:latency=1h]]"),
        ask_whole("b [[sim:tps=0.01]]"),
        ask("c [[sim:fault=hang]]"),
    ] {
        let waiting = tokio::spawn(sim.chat(&body).send());
        sim.until(SOON, "running", 1).await;
        eventually(SOON, "a loaded model", async || {
            kill(&sim).await;
            waiting.is_finished().then_some(())
        })
        .await;
        let answer = waiting.await.unwrap().unwrap();
        assert_eq!(answer.status(), 500);
        let error = answer.text().await.unwrap();
        assert!(error.contains("running"), "{error}");
    }
}

#[tokio::test]
async fn a_slot_can_be_lost() {
    let sim = Sim::start(&["--parallel", "1"]).await;
    let lost = ask("leave [[sim:fault=lost_slot]][[sim:tps=0.01]]");
    let mut leaving = sim.chat(&lost).send().await.unwrap();
    leaving.chunk().await.unwrap().unwrap();
    drop(leaving);
    sim.until(SOON, "disconnected", 1).await;
    let waiting = tokio::spawn(sim.chat(&ask("wait")).send());
    sim.logged("wait", "running").await;
    // Another model has slots of its own.
    let mut other = ask("other");
    other["model"] = json!("gemma2:2b");
    assert_eq!(sim.whole(&other).await.0, 200);
    assert!(!waiting.is_finished());
    assert_eq!(count(&sim, "lost_slots").await, 1);
    kill(&sim).await;
    assert_eq!(waiting.await.unwrap().unwrap().status(), 500);
    assert_eq!(sim.whole(&ask("next")).await.0, 200);
    // An answer that ends loses nothing.
    assert_eq!(sim.whole(&ask("x [[sim:fault=lost_slot]]")).await.0, 200);
    assert_eq!(sim.whole(&ask("next")).await.0, 200);
}
