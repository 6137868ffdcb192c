//! A look at a host: does it answer, what is it, which models does it have.

use std::time::Duration;

use reqwest::{Client, Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::host::{self, Failure, Host};
use super::{SIMULATED, refusal};
use crate::error::ChatError;

/// How long a host may take for all that is asked of it here.
const PATIENCE: Duration = Duration::from_secs(2);

/// Largest document that is read; a model takes about 400 bytes in the list.
const MAX_DOCUMENT: usize = 4 * 1024 * 1024;

/// What a look at a host found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostReport {
    /// Its base URL, without credentials.
    pub url: String,
    /// What it answered.
    pub outcome: Result<HostState, ChatError>,
}

/// What a host says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostState {
    /// Its version: `0.33.0`.
    pub version: String,
    /// Whether it is a simulator.
    pub simulated: bool,
    /// The names of its models, in its order: `llama3.2:3b`.
    pub models: Vec<String>,
}

impl HostState {
    /// Whether a model is there; a name without a tag means `latest`, as Ollama reads it.
    #[must_use]
    pub fn has_model(&self, name: &str) -> bool {
        let tagged = if name.contains(':') {
            name.to_owned()
        } else {
            format!("{name}:latest")
        };
        self.models.contains(&tagged)
    }
}

#[derive(Deserialize)]
struct Version {
    version: String,
}

#[derive(Deserialize)]
struct Tags {
    models: Option<Vec<Model>>,
}

#[derive(Deserialize)]
struct Model {
    name: String,
}

/// Looks at a host.
pub async fn report(client: &Client, host: &Host) -> HostReport {
    let outcome = match timeout(PATIENCE, state(client, host)).await {
        Ok(outcome) => outcome,
        Err(_elapsed) => Err(unreached(host, format!("no answer within {PATIENCE:?}"))),
    };
    let url = host.shown().to_owned();
    HostReport { url, outcome }
}

async fn state(client: &Client, host: &Host) -> Result<HostState, ChatError> {
    let mut response = get(client, host, "api/version").await?;
    let simulated = response.headers().contains_key(SIMULATED);
    let Version { version } = document(&mut response).await?;
    let Tags { models } = document(&mut get(client, host, "api/tags").await?).await?;
    let models = models
        .unwrap_or_default()
        .into_iter()
        .map(|model| model.name)
        .collect();
    Ok(HostState {
        version,
        simulated,
        models,
    })
}

async fn get(client: &Client, host: &Host, path: &str) -> Result<Response, ChatError> {
    let sent = host::send(|| client.get(host.endpoint(path))).await;
    sent.map_err(|error| match error {
        Failure::Unreached(detail) => unreached(host, detail),
        Failure::Final(error) => error,
    })
}

async fn document<T: DeserializeOwned>(response: &mut Response) -> Result<T, ChatError> {
    let body = host::read_up_to(MAX_DOCUMENT, response).await?;
    let status = response.status();
    if status != StatusCode::OK {
        return Err(refusal::from_status(status.as_u16(), &body, ""));
    }
    serde_json::from_slice(&body).map_err(|error| {
        let detail = format!("{error}: {}", refusal::excerpt(&body));
        ChatError::BadFrame { detail }
    })
}

fn unreached(host: &Host, detail: String) -> ChatError {
    let hosts = vec![host.shown().to_owned()];
    ChatError::Connect { hosts, detail }
}
