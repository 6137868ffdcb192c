//! Everything but chat: what models there are, which are loaded, the version.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::access;
use crate::app::Sim;
use crate::models::{Model, canonical};
use crate::refusal::{JSON, Refusal};
use crate::release::Release;

/// When every model was "pulled".
const MODIFIED_AT: &str = "2026-01-01T00:00:00Z";
/// Stands where a real model has its licence, modelfile and template.
const NOTICE: &str = "SIMULATED by ollama-sim: there is no model behind this name";

/// `GET /`, plain text.
pub async fn root() -> &'static str {
    "Ollama is running (SIMULATED by ollama-sim)"
}

/// `GET /api/version`.
pub async fn version(State(sim): State<Arc<Sim>>) -> Response {
    document(&json!({"version": sim.settings.release.version()}))
}

/// `GET /api/status`: whether models that run elsewhere are answered for.
pub async fn status(State(sim): State<Arc<Sim>>) -> Response {
    let (disabled, source) = match sim.settings.cloud {
        true => (false, "none"),
        false => (true, "env"),
    };
    document(&json!({"cloud": {"disabled": disabled, "source": source}}))
}

/// `GET /api/tags`: all models. Servers from 0.30 on tell capabilities and context lengths here too.
pub async fn tags(State(sim): State<Arc<Sim>>) -> Response {
    let models = sim.host.models();
    let models = models.iter().map(|model| {
        let mut tag = json!({
            "name": model.name,
            "model": model.name,
            "modified_at": MODIFIED_AT,
            "size": model.size,
            "digest": model.digest(),
            "details": model.details(),
        });
        if sim.settings.release.tags_tell_capabilities() {
            let mut details = model.details();
            add(&mut details, "context_length", json!(model.context_length));
            add(
                &mut details,
                "embedding_length",
                json!(model.embedding_length),
            );
            add(&mut tag, "details", details);
            add(&mut tag, "capabilities", json!(model.capabilities));
        }
        add_remote(&mut tag, model);
        tag
    });
    document(&json!({"models": models.collect::<Vec<_>>()}))
}

/// `GET /api/ps`: the models in memory, the one that stays the longest first.
pub async fn ps(State(sim): State<Arc<Sim>>) -> Response {
    let models = sim.scheduler.loaded().into_iter().map(|loaded| {
        let model = loaded.model;
        json!({
            "name": model.name,
            "model": model.name,
            "size": model.size,
            "digest": model.digest(),
            "details": model.details(),
            "expires_at": loaded.until,
            "size_vram": 0,
            "context_length": loaded.window,
        })
    });
    document(&json!({"models": models.collect::<Vec<_>>()}))
}

/// `POST /api/show` with `{"model"}`, or `{"name"}` as old clients send it.
pub async fn show(State(sim): State<Arc<Sim>>, body: Bytes) -> Response {
    match describe(&sim, &body) {
        Ok(description) => document(&description),
        Err(refusal) => refusal.into_response(),
    }
}

#[derive(Deserialize)]
struct ShowRequest {
    model: Option<String>,
    name: Option<String>,
}

fn describe(sim: &Sim, body: &[u8]) -> Result<Value, Refusal> {
    let request: ShowRequest =
        serde_json::from_slice(body).map_err(|error| Refusal::bad_json(&error, body))?;
    let named = [request.model, request.name]
        .into_iter()
        .flatten()
        .find(|name| !name.trim().is_empty());
    let name = named.ok_or_else(|| Refusal::bad_request("model is required"))?;
    let model = access::find(sim, &name, access::DETAILS).map_err(|refusal| {
        // Newer servers name what they looked for.
        match (refusal.status, sim.settings.release) {
            (StatusCode::NOT_FOUND, Release::V0_33) => Refusal::no_model(&canonical(&name)),
            _ => refusal,
        }
    })?;
    let mut description = json!({
        "license": NOTICE,
        "modelfile": format!("# {NOTICE}\nFROM {}\n", model.name),
        "parameters": parameters(&model),
        "template": model.template(),
        "details": model.details(),
        "model_info": model_info(&model),
        "capabilities": model.capabilities,
        "modified_at": MODIFIED_AT,
    });
    for (name, value) in [("system", &model.system), ("requires", &model.requires)] {
        if let Some(value) = value {
            add(&mut description, name, json!(value));
        }
    }
    add_remote(&mut description, &model);
    Ok(description)
}

/// As a modelfile has them: a line each, with the names in a column.
fn parameters(model: &Model) -> String {
    let lines = model.parameters.iter().flat_map(|(name, value)| {
        let values = value.as_array().cloned().unwrap_or(vec![value.clone()]);
        values
            .into_iter()
            .map(move |value| format!("{name:<30} {value}"))
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn add_remote(document: &mut Value, model: &Model) {
    if let Some(remote) = &model.remote {
        add(document, "remote_model", json!(remote.model));
        add(document, "remote_host", json!(remote.host));
    }
}

fn add(document: &mut Value, name: &str, value: Value) {
    if let Some(fields) = document.as_object_mut() {
        fields.insert(name.to_owned(), value);
    }
}

fn model_info(model: &Model) -> Map<String, Value> {
    let family = &model.family;
    Map::from_iter([
        ("general.architecture".to_owned(), json!(family)),
        (
            "general.parameter_count".to_owned(),
            json!(model.parameter_count),
        ),
        (
            format!("{family}.context_length"),
            json!(model.context_length),
        ),
        (
            format!("{family}.embedding_length"),
            json!(model.embedding_length),
        ),
    ])
}

/// A document that is sent whole.
pub fn document(value: &Value) -> Response {
    ([(header::CONTENT_TYPE, JSON)], value.to_string()).into_response()
}
