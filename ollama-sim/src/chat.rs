//! `POST /api/chat`: read, check, wait for a slot, wait for the first token, answer.
//!
//! Headers go out with the first token and not before, as with Ollama. A client that hangs up at any point drops the
//! future or the body that runs then, which frees the slot and is logged by [`Exchange`].

mod context;
mod plan;
mod reply;
mod request;
mod run_options;

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use tokio::time::Instant;

use crate::answer;
use crate::app::Sim;
use crate::host::Served;
use crate::log::{Exchange, Logged, Opening};
use crate::refusal::{JSON, Refusal};

use plan::{Job, Plan};
use reply::Reply;
use request::ChatRequest;

/// Answers one chat.
pub async fn chat(State(sim): State<Arc<Sim>>, body: Bytes) -> Response {
    let arrived = Instant::now();
    let response = match ChatRequest::parse(&body) {
        Ok(request) => respond(&sim, &request, arrived).await,
        Err(refusal) => refuse(sim.log.begin(Opening::default()), refusal),
    };
    (Extension(Logged), response).into_response()
}

async fn respond(sim: &Sim, request: &ChatRequest, arrived: Instant) -> Response {
    let planned = match sim.host.find(&request.model) {
        Some(served) => plan::plan(request, &served.model, sim.pace).map(|plan| (served, plan)),
        None => Err(Refusal::no_model(&request.model)),
    };
    // Last before the line for a slot: whoever is seen in the log has a place in it.
    let exchange = sim.log.begin(Opening {
        model: request.model.clone(),
        system: answer::first(&request.messages, "system").to_owned(),
        prompt: answer::last(&request.messages, "user").to_owned(),
    });
    match planned {
        Ok((served, Plan::Load { window })) => {
            served.load(window);
            empty(exchange, &request.model, "load")
        }
        Ok((served, Plan::Unload)) => {
            served.unload();
            empty(exchange, &request.model, "unload")
        }
        Ok((served, Plan::Answer(job))) => run(served, job, exchange, arrived).await,
        Err(refusal) => refuse(exchange, refusal),
    }
}

async fn run(served: &Served, job: Job, exchange: Exchange, arrived: Instant) -> Response {
    let slot = served.slot().await;
    served.load(job.window);
    let admitted = Instant::now();
    if !job.pace.latency.is_zero() {
        tokio::time::sleep_until(admitted + job.pace.latency).await;
    }
    if let Some(refusal) = job.fail {
        return refuse(exchange, refusal);
    }
    let stream = job.stream;
    let reply = Reply::new(job, exchange, slot, arrived, admitted);
    let (kind, body) = if stream {
        ("application/x-ndjson", reply.into_stream())
    } else {
        (JSON, reply.into_document().await)
    };
    ([(header::CONTENT_TYPE, kind)], body).into_response()
}

/// The answer to a chat without messages, which only loads or unloads the model. Never a stream.
fn empty(exchange: Exchange, model: &str, reason: &'static str) -> Response {
    let body = reply::without_text(model, reason);
    exchange.sent(1);
    exchange.done();
    ([(header::CONTENT_TYPE, JSON)], Body::from(body)).into_response()
}

fn refuse(exchange: Exchange, refusal: Refusal) -> Response {
    exchange.failed(refusal.status.as_u16());
    refusal.into_response()
}
