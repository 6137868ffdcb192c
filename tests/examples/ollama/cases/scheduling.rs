//! Requests that wait for each other, clients that leave, and runners that die.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};
use swarm_tests::ollama::Limits;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::case::Case;
use crate::host::{Host, body};
use crate::outcome::{Outcome, Reply};

const MODEL: &str = "llama3.2:3b";
const OTHER: &str = "llama3.2:1b";

/// An answer of about two seconds, if nobody ends it before.
fn endless(model: &str) -> Value {
    let options = json!({"num_predict": 4000, "num_ctx": 8192});
    body(model, "<|s:endless|>", json!({"options": options}))
}

/// A short answer, with the same options, so that nothing is loaded anew.
fn short(model: &str) -> Value {
    let options = json!({"num_predict": 4, "num_ctx": 8192});
    body(model, "Hello", json!({"options": options}))
}

/// A request on its way: the first bytes of its answer came.
struct Begun {
    response: reqwest::Response,
}

impl Begun {
    async fn new(host: &Host, body: Value) -> Self {
        let mut response = host.post("/api/chat", body.to_string()).await;
        response.chunk().await.expect("a chunk").expect("a chunk");
        Self { response }
    }

    /// The rest of it, without the first chunk.
    async fn rest(self) -> Reply {
        Reply::read(self.response).await
    }
}

/// A request that is sent in the background; what it comes to, and when.
fn send(host: &Host, body: Value) -> JoinHandle<(Instant, Outcome)> {
    let (url, body) = (host.url(), body.to_string());
    tokio::spawn(async move {
        let client = swarm_tests::ollama::client();
        let sent = client.post(url + "/api/chat").body(body).send().await;
        let reply = Reply::read(sent.expect("the server answers")).await;
        (Instant::now(), reply.outcome())
    })
}

/// The first is being answered while three more come one after the other.
async fn in_order(host: Host) -> Outcome {
    host.chat(short(MODEL)).await;
    let first = Begun::new(&host, endless(MODEL)).await;
    let mut waiting = Vec::new();
    for _ in 0..3 {
        let (asked, is_sent) = oneshot::channel();
        let (url, body) = (host.url(), short(MODEL).to_string());
        waiting.push(tokio::spawn(async move {
            let client = swarm_tests::ollama::client();
            let request = client.post(url + "/api/chat").body(body).build().unwrap();
            // The connection is what the server queues by; nothing tells from outside when it has read it.
            let sending = tokio::spawn(async move { client.execute(request).await });
            asked.send(()).unwrap();
            Reply::read(sending.await.unwrap().unwrap()).await;
            Instant::now()
        }));
        is_sent.await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let rest = first.rest().await;
    let first_ended = Instant::now();
    let ends: Vec<Instant> = join_all(waiting)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    let fair = ends.is_sorted();
    let alone = ends
        .iter()
        .all(|end| *end + Duration::from_millis(50) > first_ended);
    assert!(rest.is_done(), "the first answer ends");
    Outcome::fact(format!(
        "{}, {}",
        if alone {
            "one at a time"
        } else {
            "several at a time"
        },
        if fair { "in order" } else { "in any order" },
    ))
}

/// Two requests and two slots: the short one does not wait for the long one.
async fn side_by_side(host: Host) -> Outcome {
    host.chat(short(MODEL)).await;
    let long = Begun::new(&host, endless(MODEL)).await;
    let (ended, _) = send(&host, short(MODEL)).await.unwrap();
    long.rest().await;
    let apart = ended.elapsed() > Duration::from_millis(200);
    Outcome::fact(if apart {
        "side by side"
    } else {
        "one after the other"
    })
}

/// One model is at work, another waits to be loaded, a third request finds the queue full.
async fn busy(host: Host) -> Outcome {
    host.chat(short(MODEL)).await;
    let at_work = Begun::new(&host, endless(MODEL)).await;
    let requests: Vec<_> = (0..5).map(|_| send(&host, short(OTHER))).collect();
    let outcomes: Vec<Outcome> = join_all(requests)
        .await
        .into_iter()
        .map(|sent| sent.unwrap().1)
        .collect();
    at_work.rest().await;
    let refused = outcomes
        .iter()
        .find(|outcome| matches!(outcome, Outcome::Refused { .. }));
    match refused {
        Some(refused) => refused.clone(),
        None => Outcome::fact("all are answered"),
    }
}

/// The same with five requests for the model that is loaded.
async fn not_busy(host: Host) -> Outcome {
    host.chat(short(MODEL)).await;
    let at_work = Begun::new(&host, endless(MODEL)).await;
    let requests: Vec<_> = (0..5).map(|_| send(&host, short(MODEL))).collect();
    let outcomes: Vec<Outcome> = join_all(requests)
        .await
        .into_iter()
        .map(|sent| sent.unwrap().1)
        .collect();
    at_work.rest().await;
    let refused = outcomes
        .iter()
        .find(|outcome| matches!(outcome, Outcome::Refused { .. }));
    match refused {
        Some(refused) => refused.clone(),
        None => Outcome::fact("all are answered"),
    }
}

/// A client leaves while its answer is being written, and another one asks.
async fn leave_mid_stream(host: Host) -> Outcome {
    host.chat(short(MODEL)).await;
    let begun = Instant::now();
    let whole = host.chat(endless(MODEL)).await;
    let takes = begun.elapsed();
    assert!(whole.is_done(), "{}", whole.outcome());
    let leaving = Begun::new(&host, endless(MODEL)).await;
    drop(leaving);
    let begun = Instant::now();
    host.chat(short(MODEL)).await;
    freed(begun.elapsed(), takes)
}

/// A client leaves while it waits; its answer would have taken a while.
async fn leave_the_queue(host: Host) -> Outcome {
    host.chat(short(MODEL)).await;
    let begun = Instant::now();
    let at_work = Begun::new(&host, endless(MODEL)).await;
    let waiting = send(&host, endless(MODEL));
    tokio::time::sleep(Duration::from_millis(50)).await;
    waiting.abort();
    at_work.rest().await;
    let takes = begun.elapsed();
    let begun = Instant::now();
    host.chat(short(MODEL)).await;
    freed(begun.elapsed(), takes)
}

fn freed(after: Duration, takes: Duration) -> Outcome {
    if after < takes / 3 {
        Outcome::fact("its slot is free at once")
    } else {
        Outcome::fact("its answer is written to the end")
    }
}

/// What runs the model dies while it answers; then it is asked again.
async fn killed(mut host: Host) -> Outcome {
    host.chat(short(MODEL)).await;
    let at_work = Begun::new(&host, endless(MODEL)).await;
    host.real().kill_runners();
    let broken = at_work.rest().await;
    let broken = broken.chunks.last().map(|last| last["error"].clone());
    let after = host.chat(short(MODEL)).await;
    Outcome::fact(format!(
        "200, then error {}; the next request: {}",
        broken.unwrap_or_default(),
        after.outcome()
    ))
}

/// Whether a model is loaded anew for a request that differs from the one before in this.
async fn reloaded(mut host: Host, more: Value) -> Outcome {
    host.chat(short(MODEL)).await;
    let before = host.real().runners();
    let mut body = short(MODEL);
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    host.chat(body).await;
    let after = host.real().runners();
    Outcome::fact(if before == after {
        "not loaded anew"
    } else {
        "loaded anew"
    })
}

/// A request for the model that is loaded comes behind one that waits for another model.
async fn overtaken(host: Host) -> Outcome {
    host.chat(short(MODEL)).await;
    let at_work = Begun::new(&host, endless(MODEL)).await;
    let swap = send(&host, short(OTHER));
    tokio::time::sleep(Duration::from_millis(100)).await;
    let same = send(&host, short(MODEL));
    at_work.rest().await;
    let ((swapped, _), (answered, _)) = (swap.await.unwrap(), same.await.unwrap());
    Outcome::fact(if answered < swapped {
        "it overtakes"
    } else {
        "it waits for the other"
    })
}

pub fn cases() -> Vec<Case> {
    let one = Limits {
        parallel: 1,
        queue: 1,
        loaded: 1,
    };
    let no_runner = "It has no runner that could be looked at or killed.";
    vec![
        Case::new(
            "four requests, one slot",
            |host| Box::pin(in_order(host)),
            "one at a time, in order",
        ),
        Case::new(
            "two requests, two slots",
            |host| Box::pin(side_by_side(host)),
            "side by side",
        )
        .with(Limits {
            parallel: 2,
            ..Limits::default()
        }),
        Case::new(
            "six requests for a loaded model, queue of one",
            |host| Box::pin(not_busy(host)),
            "all are answered",
        )
        .with(one),
        Case::new(
            "five requests that need another model, queue of one",
            |host| Box::pin(busy(host)),
            "?",
        )
        .with(one),
        Case::new(
            "a request for the loaded model, behind one for another",
            |host| Box::pin(overtaken(host)),
            "it overtakes",
        )
        .with(Limits {
            loaded: 1,
            ..Limits::default()
        }),
        Case::new(
            "a client leaves in the middle of its answer",
            |host| Box::pin(leave_mid_stream(host)),
            "its slot is free at once",
        ),
        Case::new(
            "a client leaves the queue",
            |host| Box::pin(leave_the_queue(host)),
            "its slot is free at once",
        ),
        Case::new(
            "the runner is killed in the middle of an answer",
            |host| Box::pin(killed(host)),
            "?",
        )
        .not_simulator(no_runner),
        Case::new(
            "another `num_ctx`",
            |host| {
                Box::pin(reloaded(
                    host,
                    json!({"options": {"num_predict": 4, "num_ctx": 4096}}),
                ))
            },
            "loaded anew",
        )
        .not_simulator(no_runner),
        Case::new(
            "another `shift`",
            |host| Box::pin(reloaded(host, json!({"shift": false}))),
            "loaded anew",
        )
        .but_0_17_4(
            "not loaded anew",
            "`shift` is none of the runner's options before 0.30.",
        )
        .not_simulator(no_runner),
        Case::new(
            "another `temperature`",
            |host| {
                let options = json!({"num_predict": 4, "num_ctx": 8192, "temperature": 1});
                Box::pin(reloaded(host, json!({"options": options})))
            },
            "not loaded anew",
        )
        .not_simulator(no_runner),
    ]
}
