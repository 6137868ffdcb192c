//! Which host is asked, and how often.

use swarm_model::{ChatError, Ollama, Options};
use url::Url;

use crate::support::{
    Fake, Nobody, Step, all, ask, done, end, last, ok, only_error, piece, shown, text, whole,
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
async fn a_host_that_answers_has_the_say() {
    let second = Fake::always(answer()).await;
    let busy = Fake::always(vec![whole("503 Busy", r#"{"error":"full"}"#)]).await;
    let error = only_error(&ollama(&[&busy.url, &second.url])).await;
    assert_eq!(
        error,
        ChatError::Busy {
            message: "full".into()
        }
    );
    let broken = Fake::always(vec![ok(), end()]).await;
    assert_eq!(
        only_error(&ollama(&[&broken.url, &second.url])).await,
        ChatError::NoDone
    );
    assert_eq!(second.seen(), []);
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
