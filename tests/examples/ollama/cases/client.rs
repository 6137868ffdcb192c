//! The client of the product: what it makes of what the servers do.

use futures_util::future::join_all;
use std::time::{Duration, Instant};

use futures_util::{FutureExt as _, StreamExt as _};
use serde_json::json;
use swarm_model::{ChatEvent, ChatModel as _, Completion};
use swarm_tests::ollama::Limits;
use swarm_tests::process::free_port;

use super::{ENDLESS, LOST};
use crate::case::Case;
use crate::host::{
    Host, ask, body, client_of, client_outcome, complete, eager_client_of, impatient_client_of,
};
use crate::outcome::Outcome;

const MODEL: &str = "llama3.2:3b";

async fn says(host: Host, model: &str, text: &str) -> Outcome {
    client_outcome(&host.client(), model, text).await
}

async fn looks(host: Host) -> Outcome {
    let look = host.client().look(MODEL).await.expect("the host answers");
    Outcome::fact(if look.has_model {
        "it is there"
    } else {
        "it is not there"
    })
}

/// A machine that is off stands first in the list.
async fn first_is_off(host: Host) -> Outcome {
    let off = format!("http://127.0.0.1:{}", free_port());
    client_outcome(&client_of(&[off, host.url()]), MODEL, "Hello").await
}

async fn all_are_off(_host: Host) -> Outcome {
    let off = format!("http://127.0.0.1:{}", free_port());
    client_outcome(&client_of(&[off]), MODEL, "Hello").await
}

/// The runner dies while an answer is being read.
async fn runner_dies(host: Host) -> Outcome {
    let client = host.client();
    let mut answer = ask(&client, MODEL, ENDLESS);
    let first = answer.next().await.expect("an event").expect("a text");
    assert!(matches!(first, ChatEvent::Text(_)), "{first:?}");
    host.kill_runners().await;
    Outcome::of_client(complete(answer).await)
}

/// The whole machine goes away while an answer is being read.
async fn host_dies(mut host: Host) -> Outcome {
    let client = host.client();
    let mut answer = ask(&client, MODEL, ENDLESS);
    answer.next().await.expect("an event").expect("a text");
    host.kill_9();
    Outcome::of_client(complete(answer).await)
}

/// An answer that is dropped leaves its slot to the next one; there is one slot.
async fn dropped(host: Host) -> Outcome {
    let client = host.client();
    let begun = Instant::now();
    complete(ask(&client, MODEL, ENDLESS))
        .await
        .expect("an answer");
    let takes = begun.elapsed();
    let mut answer = ask(&client, MODEL, ENDLESS);
    answer.next().await.expect("an event").expect("a text");
    drop(answer);
    let options = json!({"num_predict": 1, "num_ctx": 1024});
    // As the client asks, so that nothing is loaded anew.
    let next = body(MODEL, "Hello", json!({"options": options, "shift": false}));
    host.slot_after_leaving(next, takes).await
}

/// Six requests that need another model than the one that is at work; the queue holds one, and the client lets them all go.
async fn busy(host: Host) -> Outcome {
    let client = eager_client_of(&[host.url()], 8);
    // It outlasts the tries of the client.
    let options = json!({"num_predict": 80_000, "num_ctx": 8192});
    let long = body(MODEL, ENDLESS, json!({"options": options}));
    let mut at_work = host.post("/api/chat", long.to_string()).await;
    at_work.chunk().await.expect("a chunk").expect("a chunk");
    let asked = (0..6).map(|_| complete(ask(&client, "llama3.2:1b", "Hello")));
    // One waits until the first answer ends; the others are refused each time.
    let asked = asked.map(|answer| answer.boxed());
    let (refused, _, _) = futures_util::future::select_all(asked).await;
    Outcome::of_client(refused)
}

/// The only slot of the first of two hosts is taken for good, as when it is lost: one call gets a typed error when its time
/// is over, and the next one asks the other host.
async fn slot_is_lost(host: Host) -> Outcome {
    let second = host.another().await;
    // Its window slides, so it takes half a minute and more.
    let options = json!({"num_predict": 80_000, "num_ctx": 1024});
    let taken = body(MODEL, ENDLESS, json!({"options": options}));
    let mut taken = host.post("/api/chat", taken.to_string()).await;
    taken.chunk().await.expect("a chunk").expect("a chunk");
    let client = impatient_client_of(&[host.url(), second.url()], Duration::from_secs(3));
    let first = client_outcome(&client, MODEL, "Hello").await;
    let next = client_outcome(&client, MODEL, "Hello").await;
    Outcome::fact(format!("{first}; the next call: {next}"))
}

/// Twelve requests at once, of two kinds, by one client: each gets its own answer.
async fn many(host: Host) -> Outcome {
    let client = host.client();
    let asked = (0..12).map(|number| {
        let text = if number % 2 == 0 {
            "@s:unicode@"
        } else {
            "@s:final@"
        };
        complete(ask(&client, MODEL, text))
    });
    let mut texts: Vec<String> = join_all(asked)
        .await
        .into_iter()
        .map(|answer| Outcome::said(&answer.expect("an answer").text).to_string())
        .collect();
    texts.sort();
    texts.dedup();
    Outcome::fact(format!("each its own: {}", texts.join(" and ")))
}

/// The tokens the client reports, of a prompt whose length is known: one a byte, and what the template puts around it.
async fn counts(host: Host) -> Outcome {
    let client = host.client();
    let mut counts = Vec::new();
    for text in ["x", "xxxxxxxxxxx"] {
        let Completion {
            input_tokens,
            output_tokens,
            ..
        } = complete(ask(&client, MODEL, text))
            .await
            .expect("an answer");
        assert!(output_tokens > 0, "tokens of the answer are reported");
        counts.push(input_tokens);
    }
    Outcome::fact(format!(
        "{} tokens more for 10 bytes more",
        counts[1] - counts[0]
    ))
}

pub fn cases() -> Vec<Case> {
    vec![
        Case::new("a text", |host| Box::pin(says(host, MODEL, "Hello")), "a text, Stop"),
        Case::new(
            "a text beyond ASCII",
            |host| Box::pin(says(host, MODEL, "@s:unicode@")),
            "\"Grüße aus 東京, 42 °C 🦀.\", Stop",
        ),
        Case::new(
            "an empty text",
            |host| Box::pin(says(host, MODEL, "@s:empty@")),
            "\"\", Stop",
        ),
        Case::new(
            "thinking",
            |host| Box::pin(says(host, "swarm-thinking", "Add 2 and 2")),
            "\"The answer is 4.\", Stop",
        ),
        Case::new(
            "tokens of a prompt",
            |host| Box::pin(counts(host)),
            "10 tokens more for 10 bytes more",
        ),
        Case::new(
            "does the host have the model?",
            |host| Box::pin(looks(host)),
            "it is there",
        ),
        Case::new(
            "a model that is not there",
            |host| Box::pin(says(host, "nowhere:1b", "Hello")),
            "SW-MODEL-MISSING: model `nowhere:1b` is not on the host; run `ollama pull nowhere:1b`",
        ),
        Case::new(
            "a cloud model",
            |host| Box::pin(says(host, "gpt-oss:120b-cloud", "Hello")),
            "SW-MODEL-CLOUD: model `gpt-oss:120b-cloud` runs in a cloud; only local models are asked",
        ),
        Case::new(
            "one token for ever",
            |host| Box::pin(says(host, MODEL, "@s:loop@")),
            "SW-MODEL-BROKEN: the answer ended before it was complete",
        ),
        Case::new(
            "a text that `num_predict` cuts",
            |host| Box::pin(says(host, MODEL, ENDLESS)),
            "\"line 0 of a text without an end, line 1 of a text without an end, line 2 of a text without\"…, Length",
        ),
        Case::new(
            "a prompt of 3,000 tokens in a window of 1,024",
            |host| Box::pin(async move { says(host, MODEL, &"x".repeat(3000)).await }),
            "SW-MODEL-CONTEXT: the chat is longer than the context window: request (3008 tokens) exceeds the available context size (1024 tokens), try increasing it",
        ).but_0_17_4("SW-MODEL-CONTEXT: the chat is longer than the context window: the input length exceeds the context length", "Another wording, without numbers."),
        Case::new("a host that is busy", |host| Box::pin(busy(host)), "SW-MODEL-BUSY: the host is busy: server busy, please try again.  maximum pending requests exceeded").with(Limits {
            parallel: 1,
            queue: 1,
            loaded: 1,
        }),
        Case::new("twelve answers at once", |host| Box::pin(many(host)), "each its own: \"Grüße aus 東京, 42 °C 🦀.\" and \"It is 22 degrees in Paris.\"").with(Limits {
            parallel: 2,
            ..Limits::default()
        }),
        Case::new(
            "an answer is dropped, and another asked for",
            |host| Box::pin(dropped(host)),
            "its slot is free at once, or else lost",
        ).but_simulators("its slot is free at once", LOST),
        Case::new(
            "the slot of the first host is lost",
            |host| Box::pin(slot_is_lost(host)),
            "SW-MODEL-TIMEOUT: no first token within 3s; the next call: a text, Stop",
        ),
        Case::new(
            "the first host is off",
            |host| Box::pin(first_is_off(host)),
            "a text, Stop",
        ),
        Case::new("all hosts are off", |host| Box::pin(all_are_off(host)), "SW-MODEL-UNREACHABLE: no Ollama host answers at http://HOST (Connection refused (os error 111)); is `ollama serve` running there?"),
        Case::new(
            "the runner is killed in the middle of an answer",
            |host| Box::pin(runner_dies(host)),
            "SW-MODEL-BROKEN: the answer broke off: an error was encountered while running the model: unexpected EOF",
        ),
        Case::new(
            "the host is killed in the middle of an answer",
            |host| Box::pin(host_dies(host)),
            "SW-MODEL-BROKEN: the answer broke off: the connection was lost: unexpected EOF during chunk size line",
        ),
    ]
}
