//! Loading, making room, and the line for it.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::support::{SOON, Sim, ask, eventually};

async fn metrics(sim: &Sim) -> Value {
    sim.control(Method::GET, "/sim/metrics")
        .await
        .json()
        .await
        .unwrap()
}

/// Waits until a count has this value.
async fn counted(sim: &Sim, name: &str, value: u64) {
    eventually(SOON, name, async || {
        (metrics(sim).await[name] == value).then_some(())
    })
    .await;
}

fn to(model: &str, user: &str) -> Value {
    let mut body = ask(user);
    body["model"] = json!(model);
    body["stream"] = json!(false);
    body
}

type Answer = JoinHandle<reqwest::Result<reqwest::Response>>;

/// A request that runs until it is aborted.
async fn holding(sim: &Sim, model: &str) -> Answer {
    let user = format!("hold {model}");
    let answer = tokio::spawn(
        sim.chat(&to(model, &format!("{user} [[sim:latency=1h]]")))
            .send(),
    );
    sim.logged(&user, "running").await;
    answer
}

async fn loaded(sim: &Sim) -> Vec<String> {
    let ps: Value = sim.get("/api/ps").await;
    let models = ps["models"].as_array().unwrap().iter();
    let mut names: Vec<_> = models
        .map(|model| model["name"].as_str().unwrap().to_owned())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn loads_take_their_time_once() {
    let sim = Sim::start(&["--load", "100ms"]).await;
    let load = async || {
        sim.whole(&to("llama3.2:1b", "x")).await.1["load_duration"]
            .as_u64()
            .unwrap()
    };
    let limit = u64::try_from(Duration::from_millis(100).as_nanos()).unwrap();
    assert!(load().await >= limit);
    assert!(load().await < limit);
    assert_eq!(metrics(&sim).await["loads"], 1);
}

#[tokio::test]
async fn other_options_of_the_runner_load_again() {
    let sim = Sim::start(&[]).await;
    let mut body = to("llama3.2:1b", "x");
    let steps = [
        (json!({}), true, 0),
        (json!({"temperature": 0}), true, 0),
        (json!({"num_ctx": 4096}), true, 0),
        (json!({"num_ctx": 512}), true, 1),
        (json!({"num_ctx": 512, "num_thread": 1}), true, 2),
        (json!({"num_ctx": 512, "num_thread": 1}), false, 3),
    ];
    for (options, shift, reloads) in steps {
        body["options"] = options.clone();
        body["shift"] = json!(shift);
        assert_eq!(sim.whole(&body).await.0, 200);
        assert_eq!(metrics(&sim).await["reloads"], reloads, "{options} {shift}");
    }
    let old = Sim::start(&["--version-of", "0.17.4"]).await;
    for shift in [true, false] {
        body["shift"] = json!(shift);
        assert_eq!(old.whole(&body).await.0, 200);
    }
    assert_eq!(metrics(&old).await["reloads"], 0);
}

#[tokio::test]
async fn an_idle_model_makes_room() {
    let sim = Sim::start(&["--max-loaded", "2"]).await;
    for model in ["llama3.2:1b", "llama3.2:3b", "gemma2:2b"] {
        assert_eq!(sim.whole(&to(model, "x")).await.0, 200);
    }
    assert_eq!(loaded(&sim).await, ["gemma2:2b", "llama3.2:3b"]);
    let metrics = metrics(&sim).await;
    assert_eq!(
        (&metrics["loads"], &metrics["evictions"]),
        (&json!(3), &json!(1))
    );
}

#[tokio::test]
async fn a_busy_model_is_waited_for_and_overtaken_by_its_own_requests() {
    let sim = Sim::start(&["--max-loaded", "1", "--max-queue", "1"]).await;
    let held = holding(&sim, "llama3.2:1b").await;
    let swaps: Vec<Answer> = ["llama3.2:3b", "gemma2:2b"]
        .map(|model| tokio::spawn(sim.chat(&to(model, "swap")).send()))
        .into();
    counted(&sim, "queue_depth", 2).await;
    let busy = "server busy, please try again.  maximum pending requests exceeded";
    assert_eq!(
        sim.error(&to("qwen3:4b", "one too many")).await,
        (503, busy.to_owned())
    );
    assert_eq!(sim.whole(&to("llama3.2:1b", "overtakes")).await.0, 200);
    assert!(swaps.iter().all(|swap| !swap.is_finished()));
    held.abort();
    for swap in swaps {
        assert_eq!(swap.await.unwrap().unwrap().status(), 200);
    }
    let metrics = metrics(&sim).await;
    let counts = [
        "queue_depth",
        "max_queue_depth",
        "refused",
        "loads",
        "evictions",
    ];
    assert_eq!(
        counts.map(|name| metrics[name].as_u64().unwrap()),
        [0, 2, 1, 3, 2]
    );
}

#[tokio::test]
async fn who_leaves_the_line_makes_room_in_it() {
    let sim = Sim::start(&["--max-loaded", "1"]).await;
    let held = holding(&sim, "llama3.2:1b").await;
    let leaver = tokio::spawn(sim.chat(&to("llama3.2:3b", "leaver")).send());
    counted(&sim, "queue_depth", 1).await;
    leaver.abort();
    counted(&sim, "queue_depth", 0).await;
    let patient = tokio::spawn(sim.chat(&to("gemma2:2b", "patient")).send());
    counted(&sim, "queue_depth", 1).await;
    held.abort();
    assert_eq!(patient.await.unwrap().unwrap().status(), 200);
    assert_eq!(loaded(&sim).await, ["gemma2:2b"]);
    assert_eq!(metrics(&sim).await["loads"], 2);
}

#[tokio::test]
async fn models_go_when_their_time_is_over() {
    let sim = Sim::start(&["--keep-alive", "-1s"]).await;
    let mut body = to("llama3.2:1b", "x");
    sim.whole(&body).await;
    assert_eq!(loaded(&sim).await, ["llama3.2:1b"]);
    body["keep_alive"] = json!(0.01);
    sim.whole(&body).await;
    counted(&sim, "expirations", 1).await;
    assert_eq!(loaded(&sim).await, [""; 0]);
    body["keep_alive"] = json!(0);
    sim.whole(&body).await;
    assert_eq!(loaded(&sim).await, [""; 0]);
}

#[tokio::test]
async fn an_unload_waits_for_the_answer() {
    let sim = Sim::start(&[]).await;
    let held = holding(&sim, "llama3.2:1b").await;
    let unload = json!({"model": "llama3.2:1b", "keep_alive": 0});
    assert_eq!(sim.whole(&unload).await.1["done_reason"], "unload");
    assert_eq!(loaded(&sim).await, ["llama3.2:1b"]);
    held.abort();
    counted(&sim, "expirations", 1).await;
}

#[tokio::test]
async fn everything_is_counted() {
    let sim = Sim::start(&[]).await;
    let answer = sim.whole(&to("gemma2:2b", "x [[sim:tokens=7]]")).await.1;
    sim.error(&to("none", "x")).await;
    let held = holding(&sim, "llama3.2:1b").await;
    let running = metrics(&sim).await;
    assert_eq!(
        (&running["in_flight"], &running["max_in_flight"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(
        running["models"]["llama3.2:1b"],
        json!({"now": 1, "max": 1})
    );
    held.abort();
    counted(&sim, "disconnects", 1).await;
    let metrics = metrics(&sim).await;
    let count = |model: &str, status: u16| json!({"endpoint": "/api/chat", "model": model, "status": status, "count": 1});
    assert_eq!(
        metrics["requests"],
        json!([
            count("gemma2:2b", 200),
            count("llama3.2:1b", 499),
            count("none", 404)
        ])
    );
    assert_eq!(
        (&metrics["prompt_tokens"], &metrics["eval_tokens"]),
        (&answer["prompt_eval_count"], &json!(7))
    );
    let buckets = metrics["first_token_ms"].as_array().unwrap().iter();
    assert_eq!(
        buckets
            .map(|bucket| bucket["count"].as_u64().unwrap())
            .sum::<u64>(),
        1
    );
}

#[tokio::test]
async fn the_log_has_bodies_for_those_who_ask() {
    let sim = Sim::start(&[]).await;
    let body = to("gemma2:2b", "x");
    sim.whole(&body).await;
    let log: Value = sim
        .control(Method::GET, "/sim/log?bodies")
        .await
        .json()
        .await
        .unwrap();
    assert_eq!(log["requests"][0]["body"], body);
    assert_eq!(sim.log().await["requests"][0].get("body"), None);
}
