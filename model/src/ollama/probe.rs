//! A look at a host: does it answer, what is it, which models does it have and which are loaded, is its cloud off.

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::time::timeout;

use super::facts::Show;
use super::host::{self, Failure, Host};
use super::names::canonical;
use super::pool::{Standing, Told};
use super::{SIMULATED, refusal};
use crate::error::ChatError;

/// How long a host may take for all that is asked of it here.
const PATIENCE: Duration = Duration::from_secs(2);

/// Largest document that is read; a model takes about 400 bytes in the list, and its vocabulary is not asked for.
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
    /// Its models, in its order.
    pub models: Vec<HostModel>,
    /// The names of those that are loaded, in its order.
    pub loaded: Vec<String>,
    /// Whether it may pass prompts on to a cloud.
    pub cloud: CloudSwitch,
}

/// A model in the list of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostModel {
    /// Its name: `llama3.2:3b`.
    pub name: String,
    /// The digest of its weights and template; empty when the host does not say.
    pub digest: String,
    /// Whether it runs in a cloud, whatever its name says.
    pub is_remote: bool,
}

/// What a host says of its cloud.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloudSwitch {
    /// It is switched off: no prompt leaves the host.
    Off,
    /// It is not.
    On,
    /// The host does not say, as those before 0.16.2.
    Unsaid,
}

impl HostState {
    /// Whether a model is there, on this machine; a name without a tag means `latest`, as Ollama reads it.
    #[must_use]
    pub fn has_model(&self, name: &str) -> bool {
        let name = canonical(name);
        let mut local = self.models.iter().filter(|model| !model.is_remote);
        local.any(|model| canonical(&model.name) == name)
    }

    /// Whether a model is loaded.
    #[must_use]
    pub fn has_loaded(&self, name: &str) -> bool {
        let name = canonical(name);
        self.loaded.iter().any(|loaded| canonical(loaded) == name)
    }

    pub(super) fn told(self, strict: bool) -> Told {
        let standing = |model: HostModel| {
            let standing = if model.is_remote {
                Standing::Remote
            } else {
                Standing::Local(model.digest)
            };
            (canonical(&model.name), standing)
        };
        Told {
            models: self.models.into_iter().map(standing).collect(),
            loaded: self.loaded.iter().map(|name| canonical(name)).collect(),
            cloud_is_on: strict && self.cloud == CloudSwitch::On,
        }
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
    digest: Option<String>,
    remote_host: Option<String>,
    remote_model: Option<String>,
}

impl From<Model> for HostModel {
    fn from(model: Model) -> Self {
        Self {
            is_remote: is_remote(&model.remote_host, &model.remote_model),
            name: model.name,
            digest: model.digest.unwrap_or_default(),
        }
    }
}

/// Whether a document with these fields is of a model that runs in a cloud.
pub fn is_remote(host: &Option<String>, model: &Option<String>) -> bool {
    [host, model]
        .into_iter()
        .flatten()
        .any(|remote| !remote.is_empty())
}

#[derive(Deserialize)]
struct Status {
    cloud: Cloud,
}

#[derive(Deserialize)]
struct Cloud {
    disabled: bool,
}

/// Looks at a host.
pub async fn report(client: &Client, host: &Host) -> HostReport {
    let outcome = patient(host, async {
        let mut response = get(client, host, "api/version").await?;
        let simulated = response.headers().contains_key(SIMULATED);
        let Version { version } = document(&mut response, "").await?;
        Ok(HostState {
            version,
            simulated,
            ..look(client, host).await?
        })
    });
    let outcome = outcome.await;
    let url = host.shown().to_owned();
    HostReport { url, outcome }
}

/// What has to be known of a host before it is asked; without its version.
///
/// # Errors
/// [`ChatError::Connect`] when it does not answer in time; any other when something else answers.
pub async fn state(client: &Client, host: &Host) -> Result<HostState, ChatError> {
    patient(host, look(client, host)).await
}

/// The models that a host has loaded.
///
/// # Errors
/// Those of [`state`].
pub async fn loaded(client: &Client, host: &Host) -> Result<Vec<String>, ChatError> {
    patient(host, list(client, host, "api/ps")).await.map(names)
}

/// What a host says of its copy of a model.
///
/// # Errors
/// [`ChatError::Cloud`] when it runs in a cloud, [`ChatError::ModelNotFound`], and those of [`state`].
pub async fn show(client: &Client, host: &Host, model: &str) -> Result<Show, ChatError> {
    patient(host, async {
        let body = Bytes::from(json!({"model": model}).to_string());
        let post = || {
            let post = client.post(host.endpoint("api/show"));
            post.header(CONTENT_TYPE, "application/json")
                .body(body.clone())
        };
        let mut response = host::send(post).await.map_err(|error| gone(host, error))?;
        let show: Show = document(&mut response, model).await?;
        if show.is_remote() {
            let model = model.to_owned();
            return Err(ChatError::Cloud { model });
        }
        Ok(show)
    })
    .await
}

async fn look(client: &Client, host: &Host) -> Result<HostState, ChatError> {
    let cloud = cloud(client, host).await?;
    let models = list(client, host, "api/tags").await?;
    let loaded = names(list(client, host, "api/ps").await?);
    Ok(HostState {
        version: String::new(),
        simulated: false,
        models: models.into_iter().map(HostModel::from).collect(),
        loaded,
        cloud,
    })
}

async fn cloud(client: &Client, host: &Host) -> Result<CloudSwitch, ChatError> {
    let mut response = get(client, host, "api/status").await?;
    if response.status() == StatusCode::NOT_FOUND {
        // Read, so that the connection serves again.
        host::read_up_to(MAX_DOCUMENT, &mut response).await?;
        return Ok(CloudSwitch::Unsaid);
    }
    let Status { cloud } = document(&mut response, "").await?;
    Ok(if cloud.disabled {
        CloudSwitch::Off
    } else {
        CloudSwitch::On
    })
}

async fn list(client: &Client, host: &Host, path: &str) -> Result<Vec<Model>, ChatError> {
    let Tags { models } = document(&mut get(client, host, path).await?, "").await?;
    Ok(models.unwrap_or_default())
}

fn names(models: Vec<Model>) -> Vec<String> {
    models.into_iter().map(|model| model.name).collect()
}

async fn patient<T>(
    host: &Host,
    looking: impl Future<Output = Result<T, ChatError>>,
) -> Result<T, ChatError> {
    match timeout(PATIENCE, looking).await {
        Ok(outcome) => outcome,
        Err(_elapsed) => Err(unreached(host, format!("no answer within {PATIENCE:?}"))),
    }
}

async fn get(client: &Client, host: &Host, path: &str) -> Result<Response, ChatError> {
    let sent = host::send(|| client.get(host.endpoint(path))).await;
    sent.map_err(|error| gone(host, error))
}

fn gone(host: &Host, error: Failure) -> ChatError {
    match error {
        Failure::Unreached(detail) => unreached(host, detail),
        Failure::Elsewhere => unreached(host, "it has no such model".to_owned()),
        Failure::Final(error) => error,
    }
}

async fn document<T: DeserializeOwned>(
    response: &mut Response,
    model: &str,
) -> Result<T, ChatError> {
    let body = host::read_up_to(MAX_DOCUMENT, response).await?;
    let status = response.status();
    if status != StatusCode::OK {
        return Err(refusal::from_status(status.as_u16(), &body, model));
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
