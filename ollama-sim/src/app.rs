//! The API port: its routes, and what all its responses have in common.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};

use crate::clock::Clock;
use crate::fault::Plans;
use crate::guard::guard;
use crate::host::Host;
use crate::keep_alive::KeepAlive;
use crate::log::{Logged, RequestLog};
use crate::models::{Emission, Model};
use crate::options::Options;
use crate::release::Release;
use crate::rules::Book;
use crate::scheduler::{Limits, Scheduler};
use crate::store::blobs::Blobs;
use crate::{account, catalog, chat, embed, openai, store};

/// The whole simulator: shared by all requests of both ports.
#[derive(Debug)]
pub struct Sim {
    /// The models.
    pub host: Host,
    /// Which of them are loaded, and who uses them.
    pub scheduler: Scheduler,
    /// What was asked of the API port.
    pub log: Arc<RequestLog>,
    /// What holds for all requests.
    pub settings: Settings,
    /// The files that were sent.
    pub blobs: Blobs,
    book: Mutex<Book>,
    plans: Mutex<Plans>,
}

/// What holds for all requests.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the API is.
    pub listen: SocketAddr,
    /// How fast answers come, unless a directive says otherwise.
    pub pace: Pace,
    /// Whose wordings and rules hold.
    pub release: Release,
    /// How calls come, of all models.
    pub emission: Option<Emission>,
    /// The window where a request has none, in tokens.
    pub window: u64,
    /// How long a model stays loaded where a request does not say.
    pub keep_alive: KeepAlive,
    /// Whether models that run elsewhere are answered for.
    pub cloud: bool,
    /// What everything that looks random comes from.
    pub seed: u64,
    /// What answers say of the time.
    pub clock: Clock,
}

/// How fast an answer comes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    /// From having a slot to the first token.
    pub latency: Duration,
    /// Tokens per second after the first; 0 = all at once.
    pub tokens_per_second: f64,
}

impl Sim {
    /// A simulator with these models and rules and an empty log. It needs a runtime.
    pub fn new(options: &Options, models: Vec<Model>, book: Book) -> Self {
        Self {
            host: Host::new(models),
            scheduler: Scheduler::start(Limits {
                parallel: options.parallel,
                loaded: options.max_loaded,
                queue: options.max_queue,
                load: options.load,
                release: options.version_of,
            }),
            log: Arc::new(RequestLog::new()),
            settings: Settings::new(options),
            blobs: Blobs::default(),
            book: Mutex::new(book),
            plans: Mutex::new(Plans::new(options.seed)),
        }
    }

    /// The rules.
    pub fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The faults that are planned.
    pub fn plans(&self) -> MutexGuard<'_, Plans> {
        self.plans.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Settings {
    /// The settings of the command line.
    pub fn new(options: &Options) -> Self {
        Self {
            listen: options.listen,
            pace: Pace {
                latency: options.latency,
                tokens_per_second: options.tokens_per_second,
            },
            release: options.version_of,
            emission: options.emission,
            window: options.context_length,
            keep_alive: options.keep_alive,
            cloud: options.cloud,
            seed: options.seed,
            clock: options.clock,
        }
    }
}

/// The routes of the API port. Unknown paths and methods answer as Ollama's router does, in plain text.
pub fn router(sim: Arc<Sim>) -> Router {
    Router::new()
        .route("/", get(catalog::root))
        .route("/api/version", get(catalog::version))
        .route("/api/status", get(catalog::status))
        .route("/api/tags", get(catalog::tags))
        .route("/api/ps", get(catalog::ps).head(not_allowed))
        .route("/api/show", post(catalog::show))
        .route("/api/chat", post(chat::chat))
        .route("/api/generate", post(chat::generate))
        .route("/api/embed", post(embed::embed))
        .route("/api/embeddings", post(embed::embed_one))
        .route("/api/pull", post(store::pull))
        .route("/api/push", post(store::push))
        .route("/api/copy", post(store::copy))
        .route("/api/create", post(store::create))
        .route(
            "/api/blobs/{digest}",
            post(store::blobs::create).head(store::blobs::head),
        )
        .route("/api/delete", delete(store::delete))
        .route("/api/me", post(account::me))
        .route("/api/signout", post(account::sign_out))
        .route("/api/experimental/web_search", post(account::web_search))
        .route("/api/experimental/web_fetch", post(account::web_fetch))
        .route(
            "/api/experimental/model-recommendations",
            get(account::recommendations),
        )
        .route("/v1/chat/completions", post(openai::completions))
        .route("/v1/models", get(openai::models))
        .fallback(async || plain(StatusCode::NOT_FOUND, "404 page not found"))
        .method_not_allowed_fallback(not_allowed)
        .layer(DefaultBodyLimit::disable())
        .layer(middleware::from_fn_with_state(Arc::clone(&sim), guard))
        .layer(middleware::from_fn_with_state(Arc::clone(&sim), note))
        .layer(middleware::map_response(mark))
        .with_state(sim)
}

async fn not_allowed() -> Response {
    plain(StatusCode::METHOD_NOT_ALLOWED, "405 method not allowed")
}

/// The router of Ollama says no character set.
pub fn plain(status: StatusCode, text: &'static str) -> Response {
    (status, [(header::CONTENT_TYPE, "text/plain")], text).into_response()
}

/// Marks a response as simulated.
pub async fn mark(mut response: Response) -> Response {
    response
        .headers_mut()
        .insert("x-ollama-sim", HeaderValue::from_static("1"));
    response
}

/// Logs every request that did not log itself, which are those that are answered at once.
async fn note(State(sim): State<Arc<Sim>>, request: Request, next: Next) -> Response {
    let method = request.method().to_string();
    let path = request.uri().path().to_owned();
    let response = next.run(request).await;
    if response.extensions().get::<Logged>().is_none() {
        sim.log.note(method, path, response.status().as_u16());
    }
    response
}
