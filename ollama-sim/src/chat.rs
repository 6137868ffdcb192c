//! `POST /api/chat` and `POST /api/generate`: read, check, wait for a slot, wait for the first token, answer.
//!
//! Headers go out with the first token and not before, as with Ollama. A client that hangs up at any point drops the
//! future or the body that runs then, which frees the slot and is logged by [`Exchange`].

mod compose;
mod context;
mod direction;
mod document;
mod plan;
mod reply;
mod request;
mod run_options;
mod stop;

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use tokio::time::Instant;

use crate::app::Sim;
use crate::connection::Connection;
use crate::fault::{Kind, wire};
use crate::log::{Exchange, Logged, Opening};
use crate::refusal::{JSON, Refusal};
use crate::scheduler::Slot;
use crate::{access, conversation};

use direction::Direction;
use document::{End, Head, Said, Shape};
use plan::{Job, Plan};
use reply::Reply;
use request::ChatRequest;

pub use run_options::RunOptions;

/// `POST /api/chat`.
pub async fn chat(
    State(sim): State<Arc<Sim>>,
    ConnectInfo(connection): ConnectInfo<Connection>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let request = ChatRequest::parse(&body, sim.settings.release);
    answer(&sim, Shape::Chat, request, body, connection, &headers).await
}

/// `POST /api/generate`.
pub async fn generate(
    State(sim): State<Arc<Sim>>,
    ConnectInfo(connection): ConnectInfo<Connection>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let request = ChatRequest::parse_prompt(&body, sim.settings.release);
    answer(&sim, Shape::Generate, request, body, connection, &headers).await
}

/// Answers one request, if it is one.
async fn answer(
    sim: &Sim,
    shape: Shape,
    request: Result<ChatRequest, Refusal>,
    body: Bytes,
    connection: Connection,
    headers: &HeaderMap,
) -> Response {
    let arrived = Instant::now();
    let response = match request {
        Ok(request) => respond(sim, request, body, connection, headers, arrived).await,
        Err(refusal) => {
            let opening = Opening {
                path: shape.path(),
                body,
                ..Opening::default()
            };
            refuse(sim.log.begin(opening), refusal)
        }
    };
    (Extension(Logged), response).into_response()
}

async fn respond(
    sim: &Sim,
    mut request: ChatRequest,
    body: Bytes,
    connection: Connection,
    headers: &HeaderMap,
    arrived: Instant,
) -> Response {
    let model = access::find(sim, &request.model, access::INFERENCE);
    if let Ok(model) = &model {
        request.take_defaults(model);
    }
    let request = &request;
    let planned = model.and_then(|model| {
        let direct = || Direction::of(sim, request, &model, headers);
        let plan = plan::plan(request, &model, &sim.settings, direct)?;
        Ok((model, plan))
    });
    // Last before the line for a slot: whoever is seen in the log has a place in it.
    let exchange = sim.log.begin(Opening {
        path: request.shape.path(),
        body,
        model: request.model.clone(),
        system: conversation::first(&request.messages, "system").to_owned(),
        prompt: conversation::last(&request.messages, "user").to_owned(),
    });
    match planned {
        Ok((model, Plan::Load(load))) => match sim.scheduler.load(&model, &load).await {
            Ok(()) => empty(sim, exchange, request, "load"),
            Err(refusal) => refuse(exchange, refusal),
        },
        Ok((model, Plan::Unload)) => {
            sim.scheduler.unload(&model);
            empty(sim, exchange, request, "unload")
        }
        Ok((model, Plan::Answer(load, job))) => match sim.scheduler.slot(&model, &load).await {
            Ok(slot) => run(slot, *job, exchange, connection, arrived).await,
            Err(refusal) => refuse(exchange, refusal),
        },
        Err(refusal) => refuse(exchange, refusal),
    }
}

async fn run(
    slot: Slot,
    job: Job,
    exchange: Exchange,
    connection: Connection,
    arrived: Instant,
) -> Response {
    let admitted = Instant::now();
    let hangs = job.faults.iter().any(|fault| fault.kind == Kind::Hang);
    let first_token = async {
        if !job.pace.latency.is_zero() {
            tokio::time::sleep_until(admitted + job.pace.latency).await;
        }
        if hangs {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        biased;
        () = slot.died() => return refuse(exchange, Refusal::runner_died()),
        () = first_token => {}
    }
    if let Some(refusal) = job.refusal() {
        return refuse(exchange, refusal.clone());
    }
    if let Some((status, response)) = wire::instead(&job.faults) {
        exchange.failed(status.as_u16());
        return response;
    }
    let stream = job.stream;
    let reply = Reply::new(job, exchange, slot, connection, arrived, admitted);
    let kind = if stream { "application/x-ndjson" } else { JSON };
    let body = if stream {
        Ok(reply.into_stream())
    } else {
        reply.into_document().await
    };
    match body {
        Ok(body) => ([(header::CONTENT_TYPE, kind)], body).into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

/// The answer to a chat without messages, which only loads or unloads the model. Never a stream.
fn empty(sim: &Sim, exchange: Exchange, request: &ChatRequest, reason: &'static str) -> Response {
    let mut body = Vec::new();
    let head = Head {
        model: &request.model,
        remote: None,
        created_at: &sim.settings.clock.now(),
        shape: request.shape,
    };
    let end = End {
        reason,
        metrics: None,
    };
    head.write(&mut body, Said::default(), Some(end));
    exchange.sent(1);
    exchange.done();
    ([(header::CONTENT_TYPE, JSON)], Body::from(body)).into_response()
}

fn refuse(exchange: Exchange, refusal: Refusal) -> Response {
    exchange.failed(refusal.status.as_u16());
    refusal.into_response()
}
