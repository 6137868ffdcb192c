//! The control port: what tests and people read about the requests.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router, middleware};

use crate::app::{self, Sim};
use crate::log::Stats;
use crate::refusal::{JSON, Refusal};

/// `GET /sim/log` is `{"requests":[Record]}`, the newest last; `DELETE /sim/log` empties it and answers 204;
/// `GET /sim/stats` is [`Stats`].
pub fn router(sim: Arc<Sim>) -> Router {
    Router::new()
        .route("/sim/log", get(read_log).delete(clear_log))
        .route("/sim/stats", get(stats))
        .layer(middleware::map_response(app::mark))
        .with_state(sim)
}

async fn read_log(State(sim): State<Arc<Sim>>) -> Response {
    match sim.log.to_json() {
        Ok(log) => ([(header::CONTENT_TYPE, JSON)], log).into_response(),
        Err(error) => Refusal::internal(error.to_string()).into_response(),
    }
}

async fn clear_log(State(sim): State<Arc<Sim>>) -> StatusCode {
    sim.log.clear();
    StatusCode::NO_CONTENT
}

async fn stats(State(sim): State<Arc<Sim>>) -> Json<Stats> {
    Json(sim.log.stats())
}
