//! Two deadlines: one up to the first token, one for each further token.

use std::time::{Duration, Instant};

use serde_json::json;
use swarm_model::{ChatError, Deadlines, Ollama, Options};

use crate::support::{Fake, SOON, Step, all, ask, last, ok, only_error, piece, pool, text};

const SHORT: Duration = Duration::from_millis(200);

fn ollama(fake: &Fake, first_token: Duration, between_tokens: Duration) -> Ollama {
    let deadlines = Deadlines {
        connect: SOON,
        first_token,
        first_token_unloaded: SOON * 2,
        between_tokens,
    };
    Ollama::new(Options {
        deadlines,
        ..Options::new(vec![fake.url.clone()])
    })
    .unwrap()
}

#[tokio::test]
async fn no_first_token() {
    let silent = vec![Step::Hold];
    let headers_only = vec![ok(), Step::Hold];
    let half_a_line = vec![ok(), Step::Send(b"4\r\n{\"me\r\n".to_vec()), Step::Hold];
    let half_a_refusal = Step::Send(b"HTTP/1.1 500 No\r\nContent-Length: 9\r\n\r\n{\"er".to_vec());
    for script in [
        silent,
        headers_only,
        half_a_line,
        vec![half_a_refusal, Step::Hold],
    ] {
        let fake = Fake::always(script).await;
        let began = Instant::now();
        let error = only_error(&ollama(&fake, SHORT, SOON)).await;
        assert_eq!(error, ChatError::FirstToken { after: SHORT });
        assert!(began.elapsed() >= SHORT);
        fake.until(SOON, |counts| counts.hangups == 1).await;
        assert_eq!(fake.seen().len(), 1, "not sent twice");
    }
}

#[tokio::test]
async fn a_model_that_has_to_be_loaded_gets_more_time() {
    let fake = Fake::always(vec![Step::Hold]).await;
    fake.says(|about| about.ps = json!({"models": []}));
    let deadlines = Deadlines {
        first_token: SHORT / 2,
        first_token_unloaded: SHORT,
        ..Deadlines::default()
    };
    let ollama = pool(&[&fake], |options| Options {
        deadlines,
        ..options
    });
    let after = SHORT;
    assert_eq!(only_error(&ollama).await, ChatError::FirstToken { after });
}

#[tokio::test]
async fn a_stall() {
    let fake = Fake::always(vec![ok(), piece("x"), Step::Hold]).await;
    let events = all(&ollama(&fake, SOON, SHORT), ask()).await;
    assert_eq!(
        events,
        [text("x"), Err(ChatError::Stalled { after: SHORT })]
    );
    fake.until(SOON, |counts| counts.hangups == 1).await;
}

#[tokio::test]
async fn the_last_event_does_not_wait_for_the_end_of_the_body() {
    let fake = Fake::always(vec![ok(), last(), Step::Hold]).await;
    let began = Instant::now();
    let events = all(&ollama(&fake, SOON, SHORT / 200), ask()).await;
    assert_eq!(events, [crate::support::done("")]);
    assert!(began.elapsed() < SOON / 2);
    fake.until(SOON, |counts| counts.hangups == 1).await;
}
