//! `--health`: whether a role lives and is ready, and what it counts, over HTTP.
//!
//! `/healthz` says that the process runs, `/readyz` whether it can work (503 and the reason when it cannot), `/metrics` what it
//! has counted, in the text format of Prometheus.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use swarm_protocol::Code;
use swarm_protocol::metrics::{ALL, Kind, Metric};
use tokio::net::{TcpListener, TcpStream};

use crate::exit::{FAILED, Failure};

/// The bearer token that `/metrics` wants; needed where the address is not this machine's own.
pub(crate) const TOKEN: &str = "SWARM_HEALTH_TOKEN";

/// Bounds of times, in seconds: a model takes from milliseconds to many minutes.
const BOUNDS: [f64; 12] = [
    0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0,
];

/// A health check of a container waits this long.
const CHECK_PATIENCE: Duration = Duration::from_secs(3);

/// Says whether a role can work, and what it waits for otherwise.
type Readiness = Box<dyn Fn() -> Result<(), String> + Send + Sync>;

/// The health of a role; answers nothing when no address was given.
#[derive(Clone, Default)]
pub(crate) struct Health {
    readiness: Arc<OnceLock<Readiness>>,
}

struct Served {
    readiness: Arc<OnceLock<Readiness>>,
    metrics: PrometheusHandle,
    token: Option<String>,
}

impl Health {
    /// Begins to answer on an address. Until [`ready_when`](Self::ready_when) the role is starting.
    ///
    /// # Errors
    /// When the address is taken, or open to others without a token.
    pub(crate) async fn serve(address: Option<SocketAddr>) -> Result<Self, Failure> {
        let health = Self::default();
        let Some(address) = address else {
            return Ok(health);
        };
        let token = std::env::var(TOKEN).ok().filter(|token| !token.is_empty());
        if !address.ip().is_loopback() && token.is_none() {
            return Err(Failure::usage(format!(
                "--health {address} is open to other machines: set {TOKEN}, which /metrics then asks for, or take 127.0.0.1"
            )));
        }
        let listener = TcpListener::bind(address).await.map_err(|error| {
            Failure::usage(format!("--health {address} cannot be listened on: {error}"))
        })?;
        let served = Served {
            readiness: Arc::clone(&health.readiness),
            metrics: recorder()?,
            token,
        };
        let routes = Router::new()
            .route("/healthz", get(|| async { "alive\n" }))
            .route("/readyz", get(readyz))
            .route("/metrics", get(metrics_page))
            .with_state(Arc::new(served));
        tracing::info!(%address, "health is answered");
        tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, routes).await {
                tracing::error!(%error, "health is not answered any more");
            }
        });
        Ok(health)
    }

    /// From now on the role is ready when this says so.
    pub(crate) fn ready_when(
        &self,
        readiness: impl Fn() -> Result<(), String> + Send + Sync + 'static,
    ) {
        self.readiness.set(Box::new(readiness)).unwrap_or_default();
    }
}

/// Counts from now on.
fn recorder() -> Result<PrometheusHandle, Failure> {
    let failed = |error: String| Failure::from(anyhow::anyhow!("metrics cannot be kept: {error}"));
    let mut builder = PrometheusBuilder::new();
    for metric in ALL.iter().filter(|metric| metric.kind == Kind::Histogram) {
        builder = builder
            .set_buckets_for_metric(Matcher::Full(metric.name.to_owned()), &BOUNDS)
            .map_err(|error| failed(error.to_string()))?;
    }
    let handle = builder
        .install_recorder()
        .map_err(|error| failed(error.to_string()))?;
    ALL.iter().for_each(describe);
    Ok(handle)
}

fn describe(metric: &Metric) {
    match metric.kind {
        Kind::Counter => metrics::describe_counter!(metric.name, metric.help),
        Kind::Gauge => metrics::describe_gauge!(metric.name, metric.help),
        Kind::Histogram => metrics::describe_histogram!(metric.name, metric.help),
    }
}

async fn readyz(State(served): State<Arc<Served>>) -> (StatusCode, String) {
    let ready = match served.readiness.get() {
        Some(readiness) => readiness(),
        None => Err("starting".to_owned()),
    };
    match ready {
        Ok(()) => (StatusCode::OK, "ready\n".to_owned()),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    }
}

async fn metrics_page(State(served): State<Arc<Served>>, headers: HeaderMap) -> impl IntoResponse {
    let given = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "));
    if served.token.is_some() && served.token.as_deref() != given {
        let hint = [(header::WWW_AUTHENTICATE, "Bearer")];
        return (
            StatusCode::UNAUTHORIZED,
            hint,
            format!("give {TOKEN} as bearer token\n"),
        );
    }
    let kind = [(
        header::CONTENT_TYPE,
        "text/plain; version=0.0.4; charset=utf-8",
    )];
    (StatusCode::OK, kind, served.metrics.render())
}

/// `swarm healthcheck`: asks a role of this machine whether it is ready.
pub(crate) async fn check(address: SocketAddr) -> Result<(), Failure> {
    match tokio::time::timeout(CHECK_PATIENCE, ask_readyz(address)).await {
        Ok(Ok(answer)) if answer.starts_with("HTTP/1.1 200") => Ok(()),
        Ok(Ok(answer)) => Err(unhealthy(answer.lines().last().unwrap_or_default())),
        Ok(Err(error)) => Err(unhealthy(format!("{address}: {error}"))),
        Err(_elapsed) => Err(unhealthy(format!(
            "{address}: no answer within {CHECK_PATIENCE:?}"
        ))),
    }
}

fn unhealthy(why: impl Into<String>) -> Failure {
    Failure::new(FAILED, Code::Unavailable, why)
}

async fn ask_readyz(address: SocketAddr) -> std::io::Result<String> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}
