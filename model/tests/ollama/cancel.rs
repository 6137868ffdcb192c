//! A stream that is dropped closes its connection, which is how a host learns that nobody waits.

use std::time::Duration;

use futures_util::StreamExt as _;
use swarm_model::ChatModel as _;
use tokio::time::timeout;

use crate::support::{Counts, Fake, SOON, Step, ask, ok, piece, text};

/// A canceled run has to free the host within this time.
const PROMPT: Duration = Duration::from_secs(1);

#[tokio::test]
async fn nothing_is_sent_before_the_stream_is_polled() {
    let fake = Fake::always(vec![Step::Hold]).await;
    let stream = fake.ollama().chat(ask());
    drop(stream);
    // This one is the first request.
    let mut stream = fake.ollama().chat(ask());
    let waited = async {
        tokio::select! {
            event = stream.next() => panic!("{event:?}"),
            () = fake.until(SOON, |counts| counts.requests >= 1) => {}
        }
    };
    waited.await;
    assert_eq!(fake.seen().len(), 1);
}

#[tokio::test]
async fn in_the_middle_of_an_answer() {
    let fake = Fake::always(vec![ok(), piece("x"), Step::Hold]).await;
    let mut stream = fake.ollama().chat(ask());
    assert_eq!(timeout(SOON, stream.next()).await.unwrap(), Some(text("x")));
    drop(stream);
    fake.until(PROMPT, |counts| {
        *counts
            == Counts {
                requests: 1,
                hangups: 1,
            }
    })
    .await;
}

#[tokio::test]
async fn while_waiting_for_the_first_token() {
    let fake = Fake::always(vec![Step::Hold]).await;
    let mut stream = fake.ollama().chat(ask());
    tokio::select! {
        event = stream.next() => panic!("{event:?}"),
        () = fake.until(SOON, |counts| counts.requests == 1) => {}
    }
    drop(stream);
    fake.until(PROMPT, |counts| {
        *counts
            == Counts {
                requests: 1,
                hangups: 1,
            }
    })
    .await;
}

#[tokio::test]
async fn a_poll_that_is_given_up_loses_nothing() {
    let fake = Fake::always(vec![ok(), piece("x"), Step::Hold]).await;
    let mut stream = fake.ollama().chat(ask());
    tokio::select! {
        biased;
        _ = stream.next() => panic!("an answer before the request was sent"),
        () = std::future::ready(()) => {}
    }
    assert_eq!(timeout(SOON, stream.next()).await.unwrap(), Some(text("x")));
    assert_eq!(fake.seen().len(), 1);
}
