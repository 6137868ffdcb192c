//! Which models are served: `/api/pull`, `push`, `copy`, `create` and `delete`, and files. Nothing is downloaded, and nothing
//! leaves the machine.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::app::Sim;
use crate::models::{self, Model};
use crate::refusal::{JSON, Refusal};
use crate::release::Release;

pub mod blobs;
mod create;

pub use create::create;

/// Progress is told so often for a model.
const STEPS: u64 = 4;
/// Models whose name begins so are in no registry.
const MISSING: &str = "missing";

#[derive(Deserialize)]
struct Named {
    model: Option<String>,
    name: Option<String>,
    stream: Option<bool>,
}

#[derive(Deserialize)]
struct CopyRequest {
    source: Option<String>,
    destination: Option<String>,
}

/// The content type of a document that is told in place of a stream: with a character set, or without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charset {
    Utf8,
    Unsaid,
}

impl Named {
    /// The name and whether a stream is wanted. `nameless` is what is said where there is no name.
    fn read(body: &[u8], nameless: &str) -> Result<(String, bool), Refusal> {
        let named: Self =
            serde_json::from_slice(body).map_err(|error| Refusal::bad_json(&error, body))?;
        let names = [named.model, named.name].into_iter().flatten();
        let name = names
            .map(|name| name.trim().to_owned())
            .find(|name| !name.is_empty());
        let name = name.ok_or_else(|| Refusal::bad_request(nameless))?;
        Ok((name, named.stream.unwrap_or(true)))
    }
}

/// `POST /api/pull`: any model is there, but for those whose name begins with "missing".
pub async fn pull(State(sim): State<Arc<Sim>>, body: Bytes) -> Response {
    let (name, stream) = match Named::read(&body, "invalid model name") {
        Ok(named) => named,
        Err(refusal) => return refusal.into_response(),
    };
    let mut lines = vec![json!({"status": "pulling manifest"})];
    let failure = match known(&name) {
        Ok(model) => {
            lines.extend(progress(&model));
            sim.host.add(model);
            None
        }
        Err(refusal) => Some(refusal),
    };
    told(stream, lines, failure, Charset::Utf8)
}

/// `POST /api/push`: no registry can be reached.
pub async fn push(State(sim): State<Arc<Sim>>, body: Bytes) -> Response {
    let (name, stream) = match Named::read(&body, "model is required") {
        Ok(named) => named,
        Err(refusal) => return refusal.into_response(),
    };
    let mut lines = vec![json!({"status": "retrieving manifest"})];
    let failure = match sim.host.find(&name) {
        Some(model) => {
            let path = model.full_name();
            let (registry, rest) = path.split_once('/').unwrap_or(("", &path));
            let (repository, _) = rest.rsplit_once(':').unwrap_or((rest, ""));
            format!(
                "Head \"https://{registry}/v2/{repository}/blobs/sha256:{}\": dial tcp: lookup {registry}: no such host",
                model.digest()
            )
        }
        None => {
            lines.push(json!({"status": "couldn't retrieve manifest"}));
            let path = models::generic(models::canonical(&name)).full_name();
            let path = path.replace(':', "/");
            format!("open manifests/{path}: no such file or directory")
        }
    };
    told(
        stream,
        lines,
        Some(Refusal::internal(failure)),
        Charset::Unsaid,
    )
}

/// `POST /api/copy`.
pub async fn copy(State(sim): State<Arc<Sim>>, body: Bytes) -> Response {
    match copied(&sim, &body) {
        Ok(()) => StatusCode::OK.into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

fn copied(sim: &Sim, body: &[u8]) -> Result<(), Refusal> {
    let request: CopyRequest =
        serde_json::from_slice(body).map_err(|error| Refusal::bad_json(&error, body))?;
    let valid = |field: &str, name: Option<String>| {
        let name = name.unwrap_or_default();
        match models::is_valid(&name) {
            true => Ok(name),
            false => Err(Refusal::bad_request(format!("{field} {name:?} is invalid"))),
        }
    };
    let source = valid("source", request.source)?;
    let destination = valid("destination", request.destination)?;
    let found = sim.host.find(&source).ok_or_else(|| Refusal {
        status: StatusCode::NOT_FOUND,
        message: format!("model {source:?} not found"),
    })?;
    let mut model = Model::clone(&found);
    model.digest = Some(found.digest());
    model.name = models::canonical(&destination);
    sim.host.put(model);
    Ok(())
}

/// `DELETE /api/delete`.
pub async fn delete(State(sim): State<Arc<Sim>>, body: Bytes) -> Response {
    let nameless = match sim.settings.release {
        Release::V0_17 => "name \"\" is invalid",
        Release::V0_33 => "model is required",
    };
    let (name, _) = match Named::read(&body, nameless) {
        Ok(named) => named,
        Err(refusal) => return refusal.into_response(),
    };
    let Some(model) = sim.host.find(&name) else {
        return Refusal::no_model(&name).into_response();
    };
    sim.host.remove(&model.name);
    sim.scheduler.unload(&model);
    StatusCode::OK.into_response()
}

/// A stream of lines, or one document: how it ended. In a stream a failure is a line of a 200.
fn told(
    stream: bool,
    mut lines: Vec<Value>,
    failure: Option<Refusal>,
    charset: Charset,
) -> Response {
    if !stream {
        let (status, document) = match failure {
            None => (StatusCode::OK, json!({"status": "success"})),
            Some(refusal) => (refusal.status, json!({"error": refusal.message})),
        };
        let kind = match charset {
            Charset::Utf8 => JSON,
            Charset::Unsaid => "application/json",
        };
        return (status, [(header::CONTENT_TYPE, kind)], document.to_string()).into_response();
    }
    lines.extend(failure.map(|refusal| json!({"error": refusal.message})));
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let kind = [(header::CONTENT_TYPE, "application/x-ndjson")];
    (kind, Body::from(text)).into_response()
}

fn known(name: &str) -> Result<Model, Refusal> {
    if name.starts_with(MISSING) {
        return Err(Refusal::internal(
            "pull model manifest: file does not exist",
        ));
    }
    let models = models::chosen(&[name.to_owned()], Vec::new()).map_err(Refusal::internal)?;
    models
        .into_iter()
        .next()
        .ok_or_else(|| Refusal::internal("no such model"))
}

/// What is told behind the manifest.
fn progress(model: &Model) -> Vec<Value> {
    let digest = model.digest();
    let short: String = digest.chars().take(12).collect();
    let layer = (1..=STEPS).map(|step| {
        json!({
            "status": format!("pulling {short}"),
            "digest": format!("sha256:{digest}"),
            "total": model.size,
            "completed": model.size * step / STEPS,
        })
    });
    let end = ["verifying sha256 digest", "writing manifest", "success"];
    let statuses = end.map(|status| json!({"status": status}));
    layer.chain(statuses).collect()
}
