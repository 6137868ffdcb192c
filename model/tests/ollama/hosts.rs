//! Which host is asked, and how often.

use futures_util::{FutureExt as _, StreamExt as _};
use serde_json::json;
use swarm_model::{ChatError, ChatModel as _, Ollama, Options};
use tokio::time::timeout;
use url::Url;

use crate::support::{
    About, Fake, Nobody, SOON, Step, all, ask, done, end, last, line, ok, only_error, piece, pool,
    shown, text, whole,
};

fn ollama(hosts: &[&Url]) -> Ollama {
    Ollama::new(Options::new(hosts.iter().copied().cloned().collect())).unwrap()
}

fn answer() -> Vec<Step> {
    vec![ok(), piece("x"), last(), end()]
}

/// The URL with credentials.
fn secret(url: &Url) -> Url {
    let mut url = url.clone();
    url.set_username("user").unwrap();
    url.set_password(Some("secret")).unwrap();
    url
}

#[tokio::test]
async fn the_next_host_is_asked_when_one_is_not_there() {
    let (first, second) = (Fake::always(answer()).await, Fake::always(answer()).await);
    let ollama = ollama(&[&Nobody::new().url, &first.url, &second.url]);
    assert_eq!(all(&ollama, ask()).await, [text("x"), done("x")]);
    assert_eq!((first.seen().len(), second.seen().len()), (1, 0));
}

#[tokio::test]
async fn the_next_host_is_asked_when_one_closes_without_a_word() {
    let (first, second) = (
        Fake::always(vec![Step::Close]).await,
        Fake::always(answer()).await,
    );
    let events = all(&ollama(&[&first.url, &second.url]), ask()).await;
    assert_eq!(events, [text("x"), done("x")]);
    assert_eq!((first.seen().len(), second.seen().len()), (2, 1));
}

#[tokio::test]
async fn no_host_is_there() {
    let (first, second) = (Nobody::new(), Nobody::new());
    let error = only_error(&ollama(&[&secret(&first.url), &second.url])).await;
    let hosts = vec![shown(&first.url), shown(&second.url)];
    assert_eq!(
        error,
        ChatError::Connect {
            hosts,
            detail: first.refusal.clone()
        }
    );
    assert!(
        !format!("{error} {error:?}").contains("secret"),
        "{error:?}"
    );
}

#[tokio::test]
async fn each_cause_is_told() {
    let (mute, absent) = (Fake::always(vec![Step::Close]).await, Nobody::new());
    let error = only_error(&ollama(&[&mute.url, &absent.url])).await;
    let hosts = vec![shown(&mute.url), shown(&absent.url)];
    let detail = format!(
        "connection closed before message completed; {}",
        absent.refusal
    );
    assert_eq!(error, ChatError::Connect { hosts, detail });
}

#[tokio::test]
async fn a_connection_that_was_lost_is_replaced_once() {
    let fake = Fake::start(vec![vec![Step::Close], answer()]).await;
    assert_eq!(all(&fake.ollama(), ask()).await, [text("x"), done("x")]);
    let seen = fake.seen();
    assert_eq!(
        (seen.len(), &seen[0].body, seen[1].connection),
        (2, &seen[1].body, 1)
    );
}

#[tokio::test]
async fn a_connection_of_the_pool_that_was_closed_meanwhile_is_replaced() {
    let closing = [answer(), vec![Step::Close]].concat();
    let fake = Fake::always(closing).await;
    let ollama = fake.ollama();
    for _ in 0..20 {
        assert_eq!(all(&ollama, ask()).await, [text("x"), done("x")]);
    }
}

#[tokio::test]
async fn a_busy_host_is_no_answer_when_another_has_room() {
    let second = Fake::always(answer()).await;
    let busy = Fake::always(vec![whole("503 Busy", r#"{"error":"full"}"#)]).await;
    let events = all(&ollama(&[&busy.url, &second.url]), ask()).await;
    assert_eq!(events, [text("x"), done("x")]);
    assert_eq!((busy.seen().len(), second.seen().len()), (1, 1));
}

#[tokio::test]
async fn busy_hosts_are_asked_a_few_times() {
    let full = || whole("503 Busy", r#"{"error":"full"}"#);
    let (first, second) = (
        Fake::always(vec![full()]).await,
        Fake::always(vec![full()]).await,
    );
    let error = only_error(&ollama(&[&first.url, &second.url])).await;
    let message = "full".to_owned();
    assert_eq!(error, ChatError::Busy { message });
    assert_eq!((first.seen().len(), second.seen().len()), (3, 3));
    let recovers = Fake::start(vec![vec![full()], answer()]).await;
    assert_eq!(all(&recovers.ollama(), ask()).await, [text("x"), done("x")]);
}

#[tokio::test]
async fn what_a_host_has_begun_to_answer_is_asked_of_no_other() {
    for script in [
        vec![ok(), end()],
        vec![ok(), piece("x"), Step::Close],
        vec![whole("500 No", r#"{"error":"out of memory"}"#)],
    ] {
        let (broken, second) = (Fake::always(script).await, Fake::always(answer()).await);
        let events = all(&ollama(&[&broken.url, &second.url]), ask()).await;
        assert!(events.last().unwrap().is_err(), "{events:?}");
        assert_eq!((broken.seen().len(), second.seen().len()), (1, 0));
    }
}

#[tokio::test]
async fn a_host_without_the_model_is_not_asked() {
    let without = About {
        tags: json!({"models": [{"name": "other:latest"}]}),
        ..About::default()
    };
    let (first, second) = (
        Fake::with(without.clone(), answer()).await,
        Fake::always(answer()).await,
    );
    let both = ollama(&[&first.url, &second.url]);
    assert_eq!(all(&both, ask()).await, [text("x"), done("x")]);
    assert_eq!((first.seen().len(), second.seen().len()), (0, 1));
    // When the one that may have it is away, it is not said to be missing.
    let absent = Nobody::new();
    let error = only_error(&ollama(&[&first.url, &absent.url])).await;
    let (hosts, detail) = (vec![shown(&absent.url)], absent.refusal.clone());
    assert_eq!(error, ChatError::Connect { hosts, detail });
    let model = "m".to_owned();
    assert_eq!(
        only_error(&first.ollama()).await,
        ChatError::ModelNotFound { model }
    );
}

#[tokio::test]
async fn a_model_that_was_removed_meanwhile_is_looked_for_elsewhere() {
    let gone = vec![whole("404 Not Found", r#"{"error":"model 'm' not found"}"#)];
    let (first, second) = (Fake::always(gone).await, Fake::always(answer()).await);
    let both = ollama(&[&first.url, &second.url]);
    for _ in 0..2 {
        assert_eq!(all(&both, ask()).await, [text("x"), done("x")]);
    }
    assert_eq!((first.seen().len(), second.seen().len()), (1, 2));
}

#[tokio::test]
async fn the_host_that_has_the_model_loaded_comes_first() {
    let nothing = About {
        ps: json!({"models": []}),
        ..About::default()
    };
    let (first, second) = (
        Fake::with(nothing, answer()).await,
        Fake::always(answer()).await,
    );
    assert_eq!(
        all(&ollama(&[&first.url, &second.url]), ask()).await,
        [text("x"), done("x")]
    );
    assert_eq!((first.seen().len(), second.seen().len()), (0, 1));
}

#[tokio::test]
async fn a_host_has_so_many_requests_in_flight_and_no_more() {
    let script = vec![ok(), Step::Await, piece("x"), last(), end()];
    let (first, second) = (
        Fake::always(script.clone()).await,
        Fake::always(script).await,
    );
    let both = pool(&[&first, &second], |options| Options {
        parallel: 2,
        ..options
    });
    let chats: Vec<_> = (0..6)
        .map(|_| {
            let both = both.clone();
            tokio::spawn(async move { all(&both, ask()).await })
        })
        .collect();
    let seen = || (first.seen().len(), second.seen().len());
    let four = async {
        first.until(SOON, |counts| counts.requests == 2).await;
        second.until(SOON, |counts| counts.requests == 2).await;
    };
    four.await;
    assert_eq!(seen(), (2, 2));
    // One ends, and its slot is taken by the next.
    first.go_on(1);
    first.until(SOON, |counts| counts.requests == 3).await;
    assert_eq!(seen(), (3, 2));
    first.go_on(9);
    second.go_on(9);
    for chat in chats {
        assert_eq!(chat.await.unwrap(), [text("x"), done("x")]);
    }
    assert_eq!(seen().0 + seen().1, 6);
}

#[tokio::test]
async fn who_gives_up_waiting_for_a_slot_takes_none() {
    let script = vec![ok(), Step::Await, piece("x"), last(), end()];
    let fake = Fake::always(script).await;
    let ollama = fake.ollama();
    let mut held = ollama.chat(ask());
    tokio::select! {
        event = held.next() => panic!("{event:?}"),
        () = fake.until(SOON, |counts| counts.requests == 1) => {}
    }
    let mut waiting = ollama.chat(ask());
    assert!(waiting.next().now_or_never().is_none());
    drop(waiting);
    fake.go_on(2);
    let rest: Vec<_> = held.collect().await;
    assert_eq!(rest, [text("x"), done("x")]);
    assert_eq!(all(&ollama, ask()).await, [text("x"), done("x")]);
    assert_eq!(fake.seen().len(), 2);
    // A slot is free as well when its chat is dropped in the middle.
    let mut dropped = ollama.chat(ask());
    tokio::select! {
        event = dropped.next() => panic!("{event:?}"),
        () = fake.until(SOON, |counts| counts.requests == 3) => {}
    }
    drop(dropped);
    fake.go_on(2);
    assert_eq!(all(&ollama, ask()).await, [text("x"), done("x")]);
}

#[tokio::test]
async fn a_host_that_died_is_left_alone_and_comes_back() {
    let (first, second) = (
        Fake::start(vec![vec![ok(), piece("x"), Step::Close], answer()]).await,
        Fake::always(answer()).await,
    );
    let both = ollama(&[&first.url, &second.url]);
    assert!(all(&both, ask()).await.last().unwrap().is_err());
    assert_eq!(all(&both, ask()).await, [text("x"), done("x")]);
    assert_eq!((first.seen().len(), second.seen().len()), (1, 1));
    // It is looked at after a while, without anybody waiting for that, and then asked again.
    let back = async {
        while first.seen().len() == 1 {
            assert_eq!(all(&both, ask()).await, [text("x"), done("x")]);
        }
    };
    timeout(SOON, back).await.unwrap();
}

#[tokio::test]
async fn a_warm_up_loads_once_with_the_options_of_a_chat() {
    let loaded = line(
        json!({"model": "m", "message": {"role": "assistant", "content": ""}, "done_reason": "load", "done": true}),
    );
    let cold = About {
        ps: json!({"models": []}),
        ..About::default()
    };
    let fake = Fake::with(cold, vec![ok(), loaded, end()]).await;
    let ollama = fake.ollama();
    for _ in 0..2 {
        assert_eq!(ollama.warm_up("m").await, Ok(()));
    }
    let seen = fake.seen();
    let expected = json!({
        "model": "m",
        "messages": [],
        "options": {"num_ctx": 8192},
        "stream": true,
        "truncate": false,
        "shift": false,
    });
    assert_eq!((seen.len(), &seen[0].body), (1, &expected));
    let model = "m:cloud".to_owned();
    assert_eq!(
        ollama.warm_up("m:cloud").await,
        Err(ChatError::Cloud { model })
    );
}

#[tokio::test]
async fn credentials_and_a_prefix_are_used() {
    let fake = Fake::always(answer()).await;
    let url = secret(&fake.url.join("pre/fix").unwrap());
    let ollama = ollama(&[&url]);
    assert_eq!(all(&ollama, ask()).await, [text("x"), done("x")]);
    let head = fake.seen().remove(0).head;
    assert!(
        head.starts_with("post /pre/fix/api/chat http/1.1\r\n"),
        "{head}"
    );
    // Base64 of `user:secret`, in lower case as the fake keeps it.
    assert!(
        head.contains("\r\nauthorization: basic dxnlcjpzzwnyzxq=\r\n"),
        "{head}"
    );
    let shown = format!("Ollama {{ hosts: [\"{}/pre/fix\"], .. }}", shown(&fake.url));
    assert_eq!(format!("{ollama:?}"), shown);
}

#[test]
fn a_proxy_of_the_environment_is_not_used() {
    let absent = tokio::runtime::Runtime::new()
        .unwrap()
        .block_on(async { Nobody::new() });
    let mut test = std::process::Command::new(std::env::current_exe().unwrap());
    test.args(["--exact", "answers::a_request_and_its_answer"]);
    for variable in ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
        test.env(variable, absent.url.as_str());
    }
    test.env_remove("NO_PROXY").env_remove("no_proxy");
    let output = test.output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && told.contains("1 passed"),
        "{told}"
    );
}
