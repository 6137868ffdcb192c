//! The control port: what tests and people read about the requests.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router, middleware};

use serde_json::json;

use crate::app::{self, Sim};
use crate::document;
use crate::fault::Plans;
use crate::log::Stats;
use crate::refusal::{JSON, Refusal};
use crate::rules::Book;

/// `GET /sim/log` is `{"requests":[Record]}`, the newest last (`GET /sim/log?bodies` with bodies); `DELETE /sim/log` empties it and answers 204;
/// `GET /sim/stats` is [`Stats`], `GET /sim/metrics` is [`crate::metrics::Report`]. `/sim/rules` takes rules (`PUT` in place of those that are there, `POST` after them,
/// `DELETE` none) and `/sim/faults` plans of faults in the same way; `GET` shows how they stand. `DELETE /sim/runners` kills
/// what runs the models. `POST /sim/reset` makes all new but the models that are loaded: no log, no plans, no rules,
/// counting and chance from the start.
pub fn router(sim: Arc<Sim>) -> Router {
    Router::new()
        .route("/sim/log", get(read_log).delete(clear_log))
        .route("/sim/stats", get(stats))
        .route("/sim/metrics", get(metrics))
        .route(
            "/sim/rules",
            get(read_rules)
                .put(replace_rules)
                .post(add_rules)
                .delete(clear_rules),
        )
        .route(
            "/sim/faults",
            get(read_faults)
                .put(replace_faults)
                .post(add_faults)
                .delete(clear_faults),
        )
        .route("/sim/runners", delete(kill_runners))
        .route("/sim/reset", post(reset))
        .layer(middleware::map_response(app::mark))
        .with_state(sim)
}

async fn read_log(State(sim): State<Arc<Sim>>, RawQuery(query): RawQuery) -> Response {
    document(sim.log.to_json(query.as_deref() == Some("bodies")))
}

async fn metrics(State(sim): State<Arc<Sim>>) -> Response {
    document(sim.log.metrics(sim.scheduler.counts()))
}

fn document(written: Result<Vec<u8>, serde_json::Error>) -> Response {
    match written {
        Ok(document) => ([(header::CONTENT_TYPE, JSON)], document).into_response(),
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

async fn kill_runners(State(sim): State<Arc<Sim>>) -> StatusCode {
    sim.scheduler.kill_runners();
    StatusCode::NO_CONTENT
}

async fn reset(State(sim): State<Arc<Sim>>) -> StatusCode {
    sim.log.reset();
    sim.scheduler.reset_counts();
    *sim.book() = Book::default();
    *sim.plans() = Plans::new(sim.settings.seed);
    StatusCode::NO_CONTENT
}

async fn read_rules(State(sim): State<Arc<Sim>>) -> Response {
    Json(json!({"rules": sim.book().standings()})).into_response()
}

async fn replace_rules(State(sim): State<Arc<Sim>>, body: String) -> Response {
    changed(sim.book().replace(&body))
}

async fn add_rules(State(sim): State<Arc<Sim>>, body: String) -> Response {
    changed(sim.book().add(&body))
}

async fn clear_rules(State(sim): State<Arc<Sim>>) -> StatusCode {
    sim.book().clear();
    StatusCode::NO_CONTENT
}

async fn read_faults(State(sim): State<Arc<Sim>>) -> Response {
    Json(json!({"faults": sim.plans().standings()})).into_response()
}

async fn replace_faults(State(sim): State<Arc<Sim>>, body: String) -> Response {
    let mut plans = Plans::new(sim.settings.seed);
    let added = plan(&mut plans, &body);
    if added.is_ok() {
        *sim.plans() = plans;
    }
    changed(added)
}

async fn add_faults(State(sim): State<Arc<Sim>>, body: String) -> Response {
    changed(plan(&mut sim.plans(), &body))
}

async fn clear_faults(State(sim): State<Arc<Sim>>) -> StatusCode {
    sim.plans().clear();
    StatusCode::NO_CONTENT
}

fn plan(plans: &mut Plans, body: &str) -> Result<(), String> {
    plans.add(document::read(body)?)
}

fn changed(result: Result<(), String>) -> Response {
    match result {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => Refusal::bad_request(error).into_response(),
    }
}
