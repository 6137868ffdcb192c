//! Files that models are made of: `HEAD` and `POST /api/blobs/DIGEST`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use crate::app::Sim;
use crate::refusal::Refusal;

/// What files of models begin with.
const GGUF: &[u8] = b"GGUF";

/// The files that were sent: of each is known whether it could be a model.
#[derive(Debug, Default)]
pub struct Blobs(Mutex<HashMap<String, bool>>);

impl Blobs {
    /// Whether this file could be a model, if it is there.
    pub fn is_model(&self, digest: &str) -> Option<bool> {
        self.lock().get(digest).copied()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, bool>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `HEAD /api/blobs/DIGEST`.
pub async fn head(State(sim): State<Arc<Sim>>, Path(digest): Path<String>) -> Response {
    if !is_digest(&digest) {
        return Refusal::bad_request("invalid digest format").into_response();
    }
    match sim.blobs.is_model(&digest) {
        Some(_) => StatusCode::OK.into_response(),
        None => Refusal {
            status: StatusCode::NOT_FOUND,
            message: format!("blob {digest:?} not found"),
        }
        .into_response(),
    }
}

/// `POST /api/blobs/DIGEST`.
pub async fn create(
    State(sim): State<Arc<Sim>>,
    Path(digest): Path<String>,
    body: Bytes,
) -> Response {
    if !is_digest(&digest) {
        return Refusal::bad_request("invalid digest format").into_response();
    }
    if sim.blobs.is_model(&digest).is_some() {
        return StatusCode::OK.into_response();
    }
    let found = format!(
        "sha256:{:x}",
        Bytes::copy_from_slice(&Sha256::digest(&body))
    );
    if found != digest {
        let message = format!("digest mismatch, expected {digest:?}, got {found:?}");
        return Refusal::bad_request(message).into_response();
    }
    sim.blobs.lock().insert(digest, body.starts_with(GGUF));
    StatusCode::CREATED.into_response()
}

fn is_digest(text: &str) -> bool {
    let hex = text
        .strip_prefix("sha256:")
        .or_else(|| text.strip_prefix("sha256-"));
    hex.is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
}
