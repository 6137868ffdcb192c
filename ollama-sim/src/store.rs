//! `POST /api/pull` and `DELETE /api/delete`: which models are served. Nothing is downloaded.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::app::Sim;
use crate::catalog;
use crate::models::{self, Model};
use crate::refusal::Refusal;
use crate::release::Release;

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
    let lines = match known(&name) {
        Ok(model) => {
            let lines = progress(&model);
            sim.host.add(model);
            lines
        }
        Err(refusal) if !stream => return refusal.into_response(),
        Err(refusal) => vec![
            json!({"status": "pulling manifest"}),
            json!({"error": refusal.message}),
        ],
    };
    if !stream {
        return catalog::document(&json!({"status": "success"}));
    }
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let kind = [(header::CONTENT_TYPE, "application/x-ndjson")];
    (kind, Body::from(text)).into_response()
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
    [json!({"status": "pulling manifest"})]
        .into_iter()
        .chain(layer)
        .chain(statuses)
        .collect()
}
