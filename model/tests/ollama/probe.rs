//! A look at the hosts.

use serde_json::json;
use swarm_model::{ChatError, CloudSwitch, HostModel, HostReport, HostState, Ollama, Options};

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
    let version = json!({"version": "0.33.0"});
    let status = json!({"cloud": {"disabled": true, "source": "env"}});
    let tags = json!({"models": [
        {"name": "llama3.2:3b", "size": 2, "digest": "d3"},
        {"name": "copy:latest", "digest": "d4", "remote_model": "gpt-oss:120b", "remote_host": "https://ollama.com:443"},
        {"name": "gemma2:2b", "details": {"families": null}},
    ]});
    let ps = json!({"models": [{"name": "gemma2:2b", "context_length": 8192}]});
    for (header, simulated) in [("", false), ("X-Ollama-Sim: 1\r\n", true)] {
        let scripts = [&version, &status, &tags, &ps].map(|said| document(header, said));
        let fake = Fake::bare(scripts.to_vec()).await;
        let model = |name: &str, digest: &str, is_remote| HostModel {
            name: name.into(),
            digest: digest.into(),
            is_remote,
        };
        let state = HostState {
            version: "0.33.0".into(),
            simulated,
            models: vec![
                model("llama3.2:3b", "d3", false),
                model("copy:latest", "d4", true),
                model("gemma2:2b", "", false),
            ],
            loaded: vec!["gemma2:2b".into()],
            cloud: CloudSwitch::Off,
        };
        let has =
            ["llama3.2:3b", "Gemma2:2B", "copy", "llama3.2"].map(|name| state.has_model(name));
        assert_eq!(has, [true, true, false, false]);
        assert!(state.has_loaded("gemma2:2b") && !state.has_loaded("llama3.2:3b"));
        assert_eq!(outcome(&fake).await, Ok(state));
        let lines: Vec<String> = fake
            .seen()
            .iter()
            .map(|seen| seen.head.lines().next().unwrap().to_owned())
            .collect();
        let paths = ["version", "status", "tags", "ps"];
        assert_eq!(lines, paths.map(|path| format!("get /api/{path} http/1.1")));
    }
}

#[tokio::test]
async fn an_old_host_without_models() {
    let version = json!({"version": "0.12.10"});
    let fake = Fake::bare(vec![
        document("", &version),
        vec![whole("404 Not Found", "404 page not found")],
        document("", &json!({"models": null})),
        document("", &json!({"models": []})),
    ])
    .await;
    let state = HostState {
        version: "0.12.10".into(),
        simulated: false,
        models: vec![],
        loaded: vec![],
        cloud: CloudSwitch::Unsaid,
    };
    assert_eq!(outcome(&fake).await, Ok(state));
}

#[tokio::test]
async fn something_else_than_ollama() {
    let fake = Fake::bare(vec![vec![whole("200 OK", "<html>")]]).await;
    let detail = "expected value at line 1 column 1: \"<html>\"".to_owned();
    assert_eq!(outcome(&fake).await, Err(ChatError::BadFrame { detail }));
    let fake = Fake::bare(vec![vec![whole("404 Not Found", "404 page not found")]]).await;
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
        Fake::bare(vec![vec![Step::Hold]]).await,
        Fake::bare(vec![vec![Step::Hold]]).await,
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
