//! A look at the hosts.

use serde_json::json;
use swarm_model::{ChatError, HostReport, HostState, Ollama, Options};

use url::Url;

use crate::support::{Fake, Nobody, SOON, Step, shown, whole};

fn document(headers: &str, document: &serde_json::Value) -> Vec<Step> {
    let (body, length) = (document.to_string(), document.to_string().len());
    vec![Step::Send(
        format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: {length}\r\n\r\n{body}").into_bytes(),
    )]
}

async fn outcome(fake: &Fake) -> Result<HostState, ChatError> {
    let mut reports = fake.ollama().probe().await;
    assert_eq!(reports.len(), 1);
    let HostReport { url, outcome } = reports.remove(0);
    assert_eq!(url, shown(&fake.url));
    outcome
}

#[tokio::test]
async fn a_host_with_models() {
    let tags = json!({"models": [{"name": "llama3.2:3b", "size": 2}, {"name": "gemma2:2b", "details": {"families": null}}]});
    let version = json!({"version": "0.33.0"});
    for (header, simulated) in [("", false), ("X-Ollama-Sim: 1\r\n", true)] {
        let fake = Fake::start(vec![document(header, &version), document(header, &tags)]).await;
        let models = vec!["llama3.2:3b".to_owned(), "gemma2:2b".to_owned()];
        assert_eq!(
            outcome(&fake).await,
            Ok(HostState {
                version: "0.33.0".into(),
                simulated,
                models
            })
        );
        let lines: Vec<String> = fake
            .seen()
            .iter()
            .map(|seen| seen.head.lines().next().unwrap().to_owned())
            .collect();
        assert_eq!(
            lines,
            ["get /api/version http/1.1", "get /api/tags http/1.1"]
        );
    }
}

#[tokio::test]
async fn a_host_without_models() {
    let version = json!({"version": "0.33.0"});
    let fake = Fake::start(vec![
        document("", &version),
        document("", &json!({"models": null})),
    ])
    .await;
    assert_eq!(
        outcome(&fake).await,
        Ok(HostState {
            version: "0.33.0".into(),
            simulated: false,
            models: vec![]
        })
    );
}

#[tokio::test]
async fn something_else_than_ollama() {
    let fake = Fake::always(vec![whole("200 OK", "<html>")]).await;
    let detail = "expected value at line 1 column 1: \"<html>\"".to_owned();
    assert_eq!(outcome(&fake).await, Err(ChatError::BadFrame { detail }));
    let fake = Fake::always(vec![whole("404 Not Found", "404 page not found")]).await;
    let message = "\"404 page not found\"".to_owned();
    assert_eq!(
        outcome(&fake).await,
        Err(ChatError::Http {
            status: 404,
            message
        })
    );
}

#[tokio::test]
async fn hosts_are_looked_at_at_once_and_not_for_long() {
    let (first, second) = (
        Fake::always(vec![Step::Hold]).await,
        Fake::always(vec![Step::Hold]).await,
    );
    let absent = Nobody::new();
    let hosts = vec![first.url.clone(), second.url.clone(), absent.url.clone()];
    let ollama = Ollama::new(Options::new(hosts.clone())).unwrap();
    let both_are_asked = async {
        first.until(SOON, |counts| counts.requests == 1).await;
        second.until(SOON, |counts| counts.requests == 1).await;
        assert_eq!(
            first.counts().hangups,
            0,
            "the second is asked while the first is waited for"
        );
    };
    let (reports, ()) = tokio::join!(ollama.probe(), both_are_asked);
    let details = [
        "no answer within 2s",
        "no answer within 2s",
        absent.refusal.as_str(),
    ];
    let report = |(url, detail): (&Url, &str)| {
        let (url, detail) = (shown(url), detail.to_owned());
        let error = ChatError::Connect {
            hosts: vec![url.clone()],
            detail,
        };
        HostReport {
            url,
            outcome: Err(error),
        }
    };
    let expected: Vec<HostReport> = hosts.iter().zip(details).map(report).collect();
    assert_eq!(reports, expected);
}
