//! Requests that wait for each other, clients that leave, and runners that die.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};
use swarm_tests::ollama::Limits;
use tokio::task::JoinHandle;

use super::{ENDLESS, LOST};
use crate::case::Case;
use crate::host::{Host, body};
use crate::outcome::{Outcome, Reply};

const MODEL: &str = "llama3.2:3b";
const OTHER: &str = "llama3.2:1b";

/// An answer of about two seconds, if nobody ends it before.
pub fn endless(model: &str) -> Value {
    let options = json!({"num_predict": 4000, "num_ctx": 8192});
    body(model, ENDLESS, json!({"options": options}))
}

/// A short answer, with the same options, so that nothing is loaded anew.
pub fn short(model: &str) -> Value {
    let options = json!({"num_predict": 4, "num_ctx": 8192});
    body(model, "Hello", json!({"options": options}))
}

/// A request that is being answered.
struct Begun {
    response: reqwest::Response,
    read: Vec<u8>,
}

impl Begun {
    async fn new(host: &Host, body: Value) -> Self {
        let mut response = host.post("/api/chat", body.to_string()).await;
        let first = response.chunk().await.expect("a chunk").expect("a chunk");
        Self {
            response,
            read: first.to_vec(),
        }
    }

    /// The whole answer.
    async fn whole(mut self) -> Reply {
        while let Some(chunk) = self.response.chunk().await.expect("a chunk") {
            self.read.extend_from_slice(&chunk);
        }
        Reply::of_stream(&self.read)
    }
}

/// A request that is sent in the background.
fn send(host: &Host, body: Value) -> JoinHandle<Reply> {
    let (url, body) = (host.url(), body.to_string());
    tokio::spawn(async move {
        let client = swarm_tests::ollama::client();
        let sent = client.post(url + "/api/chat").body(body).send().await;
        Reply::read(sent.expect("the server answers")).await
    })
}

/// Until a request that was sent waits in the server. Nothing tells from outside when it does.
async fn until_it_waits() {
    tokio::time::sleep(Duration::from_millis(100)).await;
}

/// The first is being answered while three more come one after the other.
async fn in_order(host: Host) -> Outcome {
    host.chat(short(MODEL)).await;
    let first = Begun::new(&host, endless(MODEL)).await;
    let mut waiting = Vec::new();
    for _ in 0..3 {
        waiting.push(send(&host, short(MODEL)));
        until_it_waits().await;
    }
    let mut spans = vec![first.whole().await.span()];
    for reply in waiting {
        spans.push(reply.await.expect("an answer").span());
    }
    let alone = spans.windows(2).all(|pair| pair[0].1 <= pair[1].0);
    Outcome::fact(if alone {
        "one at a time, in order"
    } else {
        "not in order, or several at a time"
    })
}

/// Two requests and two slots: the short one does not wait for the long one.
async fn side_by_side(host: Host) -> Outcome {
    host.chat(short(MODEL)).await;
    let long = Begun::new(&host, endless(MODEL)).await;
    let (_, short_ended) = send(&host, short(MODEL)).await.expect("an answer").span();
    let (_, long_ended) = long.whole().await.span();
    Outcome::fact(if short_ended < long_ended {
        "side by side"
    } else {
        "one after the other"
    })
}

/// The first refusal among five more requests, while one is being answered.
async fn five_more(host: Host, model: &str) -> Outcome {
    host.chat(short(MODEL)).await;
    let at_work = Begun::new(&host, endless(MODEL)).await;
    let requests: Vec<_> = (0..5).map(|_| send(&host, short(model))).collect();
    let replies = join_all(requests).await;
    at_work.whole().await;
    let mut outcomes = replies
        .into_iter()
        .map(|reply| reply.expect("an answer").outcome());
    let refused = outcomes.find(|outcome| matches!(outcome, Outcome::Refused { .. }));
    refused.unwrap_or_else(|| Outcome::fact("all are answered"))
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
    host.slot_after_leaving(short(MODEL), takes).await
}

/// A client leaves while it waits; its answer would have taken a while.
async fn leave_the_queue(host: Host) -> Outcome {
    host.chat(short(MODEL)).await;
    let begun = Instant::now();
    let at_work = Begun::new(&host, endless(MODEL)).await;
    let waiting = send(&host, endless(MODEL));
    until_it_waits().await;
    waiting.abort();
    at_work.whole().await;
    let takes = begun.elapsed();
    let begun = Instant::now();
    host.chat(short(MODEL)).await;
    Outcome::fact(if begun.elapsed() < takes / 3 {
        "its answer is not written"
    } else {
        "its answer is written to the end"
    })
}

/// What runs the model dies while it answers; then it is asked again.
async fn killed(host: Host) -> Outcome {
    host.chat(short(MODEL)).await;
    let at_work = Begun::new(&host, endless(MODEL)).await;
    host.kill_runners().await;
    let broken = at_work.whole().await;
    let broken = broken.chunks.last().map(|last| last["error"].clone());
    let after = host.chat(short(MODEL)).await;
    Outcome::fact(format!(
        "200, then error {}; the next request: {}",
        broken.unwrap_or_default(),
        after.outcome()
    ))
}

/// Whether a model is loaded anew for a request that differs from the one before in this.
async fn reloaded(host: Host, more: Value) -> Outcome {
    host.chat(short(MODEL)).await;
    let before = host.loads().await;
    let mut body = short(MODEL);
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    host.chat(body).await;
    let after = host.loads().await;
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
    until_it_waits().await;
    let same = send(&host, short(MODEL));
    at_work.whole().await;
    let (_, swapped) = swap.await.expect("an answer").span();
    let (_, answered) = same.await.expect("an answer").span();
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
            |host| Box::pin(five_more(host, MODEL)),
            "all are answered",
        )
        .with(one),
        Case::new(
            "five requests that need another model, queue of one",
            |host| Box::pin(five_more(host, OTHER)),
            "503 `server busy, please try again.  maximum pending requests exceeded`",
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
            "its slot is free at once, or else lost",
        )
        .but_simulators("its slot is free at once", LOST),
        Case::new(
            "a client leaves the queue",
            |host| Box::pin(leave_the_queue(host)),
            "its answer is not written",
        ),
        Case::new(
            "the runner is killed in the middle of an answer",
            |host| Box::pin(killed(host)),
            "200, then error \"an error was encountered while running the model: unexpected EOF\"; the next request: \"Hello, this mode\", done length",
        ),
        Case::new(
            "another `num_ctx`",
            |host| {
                Box::pin(reloaded(
                    host,
                    json!({"options": {"num_predict": 4, "num_ctx": 4096}}),
                ))
            },
            "loaded anew",
        ),
        Case::new(
            "another `shift`",
            |host| Box::pin(reloaded(host, json!({"shift": false}))),
            "loaded anew",
        )
        .but_0_17_4(
            "not loaded anew",
            "`shift` is none of the runner's options before 0.30.",
        ),
        Case::new(
            "another `temperature`",
            |host| {
                let options = json!({"num_predict": 4, "num_ctx": 8192, "temperature": 1});
                Box::pin(reloaded(host, json!({"options": options})))
            },
            "not loaded anew",
        ),
    ]
}
