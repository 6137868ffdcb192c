//! What needs an account, which nobody has here.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::app::{Sim, plain};
use crate::catalog;
use crate::refusal::Refusal;
use crate::release::Release;

/// `POST /api/me`.
pub async fn me(State(sim): State<Arc<Sim>>) -> Response {
    match sim.settings.release {
        Release::V0_17 => catalog::document(&Value::Null),
        Release::V0_33 => Refusal {
            status: StatusCode::SERVICE_UNAVAILABLE,
            message: "account unavailable".to_owned(),
        }
        .into_response(),
    }
}

/// `POST /api/signout`.
pub async fn sign_out() -> Response {
    Refusal::internal("there was an error signing out").into_response()
}

/// `POST /api/experimental/web_search`.
pub async fn web_search(State(sim): State<Arc<Sim>>) -> Response {
    web(&sim, "web search is unavailable")
}

/// `POST /api/experimental/web_fetch`.
pub async fn web_fetch(State(sim): State<Arc<Sim>>) -> Response {
    web(&sim, "web fetch is unavailable")
}

fn web(sim: &Sim, operation: &str) -> Response {
    match sim.settings.release {
        Release::V0_17 => plain(StatusCode::NOT_FOUND, "404 page not found"),
        Release::V0_33 if sim.settings.cloud => Refusal::unauthorized().into_response(),
        Release::V0_33 => Refusal::cloud_disabled(operation).into_response(),
    }
}

/// `GET /api/experimental/model-recommendations`: none.
pub async fn recommendations(State(sim): State<Arc<Sim>>) -> Response {
    match sim.settings.release {
        Release::V0_17 => plain(StatusCode::NOT_FOUND, "404 page not found"),
        Release::V0_33 => catalog::document(&json!({"recommendations": []})),
    }
}
