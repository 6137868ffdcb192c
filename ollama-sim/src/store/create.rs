//! `POST /api/create`: a model out of another one, or out of a file.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Charset, told};
use crate::app::Sim;
use crate::models::{self, Model, Reference, Remote, Source};
use crate::refusal::Refusal;

/// To what a model can be quantized.
const QUANTIZATIONS: [&str; 5] = ["F32", "F16", "Q4_K_S", "Q4_K_M", "Q8_0"];

#[derive(Deserialize)]
struct Request {
    model: Option<String>,
    name: Option<String>,
    stream: Option<bool>,
    from: Option<String>,
    files: Option<BTreeMap<String, String>>,
    remote_host: Option<String>,
    quantize: Option<String>,
    system: Option<String>,
    template: Option<String>,
    license: Option<Value>,
    parameters: Option<Map<String, Value>>,
    messages: Option<Vec<Value>>,
}

/// `POST /api/create`.
pub async fn create(State(sim): State<Arc<Sim>>, body: Bytes) -> Response {
    let request: Request = match serde_json::from_slice(&body) {
        Ok(request) => request,
        Err(error) => return Refusal::bad_json(&error, &body).into_response(),
    };
    let names = [&request.model, &request.name].into_iter().flatten();
    let name = names.map(|name| name.trim()).find(|name| !name.is_empty());
    let Some(name) = name.filter(|name| models::is_valid(name)) else {
        return Refusal::bad_request("invalid model name").into_response();
    };
    let mut stream = request.stream.unwrap_or(true);
    let mut lines = Vec::new();
    let made = make(&sim, name, &request, &mut lines);
    if let Ok(model) = &made {
        lines.push(json!({"status": "writing manifest"}));
        lines.push(json!({"status": "success"}));
        sim.host.put(model.clone());
    }
    // What is refused before anything was told has a status.
    stream &= !lines.is_empty();
    told(stream, lines, made.err(), Charset::Unsaid)
}

/// The model, and what is told on the way to it.
fn make(
    sim: &Sim,
    name: &str,
    request: &Request,
    lines: &mut Vec<Value>,
) -> Result<Model, Refusal> {
    let quantization = quantization(request.quantize.as_deref())?;
    let files = request.files.iter().flatten().map(|(_, digest)| digest);
    let mut model = match (request.from.as_deref().map(str::trim), files) {
        (Some(from), _) if !from.is_empty() => based(sim, from, request, lines)?,
        (_, mut files) => match files.next() {
            Some(digest) => read(sim, digest, lines)?,
            None => {
                return Err(Refusal::bad_request(
                    "neither 'from' or 'files' was specified",
                ));
            }
        },
    };
    models::canonical(name).clone_into(&mut model.name);
    if model.remote.is_some() {
        return Ok(model);
    }
    let mut layers = vec![model.digest()];
    layers.push(models::hex(&model.template()));
    for layer in layers {
        lines.push(json!({"status": format!("using existing layer sha256:{layer}")}));
    }
    let parameters = request.parameters.clone().unwrap_or_default();
    let written = [
        request.template.as_ref().map(|text| json!(text)),
        request.license.clone(),
        request.system.as_ref().map(|text| json!(text)),
        request.messages.as_ref().map(|messages| json!(messages)),
        (!parameters.is_empty()).then(|| json!(parameters)),
    ];
    let mut identity = model.digest();
    for layer in written.into_iter().flatten() {
        let layer = models::hex(&layer.to_string());
        identity.push_str(&layer);
        lines.push(json!({"status": format!("creating new layer sha256:{layer}")}));
    }
    model.digest = Some(models::hex(&identity));
    model.system = request.system.clone().or(model.system);
    model.parameters.extend(parameters);
    if let Some(quantization) = quantization {
        model.quantization = quantization;
    }
    Ok(model)
}

/// As the model that is named, which is pulled where it is not there; a stub of it where it runs elsewhere.
fn based(
    sim: &Sim,
    from: &str,
    request: &Request,
    lines: &mut Vec<Value>,
) -> Result<Model, Refusal> {
    let reference = Reference::parse(from, sim.settings.release)?;
    let host = request
        .remote_host
        .as_deref()
        .filter(|host| !host.is_empty());
    if host.is_some() || reference.source == Source::Cloud {
        let mut stub = models::generic(models::canonical(from));
        stub.remote = Some(Remote {
            host: host.unwrap_or("https://ollama.com:443").to_owned(),
            model: reference.base,
        });
        return Ok(stub);
    }
    let mut model = match sim.host.find(&reference.base) {
        Some(model) => Model::clone(&model),
        None => {
            lines.push(json!({"status": "pulling manifest"}));
            super::known(&reference.base)?
        }
    };
    model.digest = Some(model.digest());
    model.parent = Some(models::canonical(&reference.base));
    Ok(model)
}

/// A plain model out of a file that was sent before.
fn read(sim: &Sim, digest: &str, lines: &mut Vec<Value>) -> Result<Model, Refusal> {
    lines.push(json!({"status": "parsing GGUF"}));
    match sim.blobs.is_model(digest) {
        Some(true) => {
            let mut model = models::generic(String::new());
            model.digest = Some(models::hex(digest));
            Ok(model)
        }
        Some(false) => Err(Refusal::bad_request("supplied file was not in GGUF format")),
        None => Err(Refusal::internal(format!(
            "open blobs/{}: no such file or directory",
            digest.replace(':', "-")
        ))),
    }
}

fn quantization(wanted: Option<&str>) -> Result<Option<String>, Refusal> {
    let Some(wanted) = wanted.filter(|wanted| !wanted.is_empty()) else {
        return Ok(None);
    };
    let wanted = wanted.to_uppercase();
    if QUANTIZATIONS.contains(&wanted.as_str()) {
        return Ok(Some(wanted));
    }
    Err(Refusal {
        status: StatusCode::INTERNAL_SERVER_ERROR,
        message: format!(
            "unsupported quantization type {wanted} - supported types are {}",
            QUANTIZATIONS.join(", ")
        ),
    })
}
