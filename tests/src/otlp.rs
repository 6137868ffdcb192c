//! A collector of traces: takes OTLP over HTTP as JSON, and appends each export to a file, one line each, which is the
//! file format of OTLP (<https://opentelemetry.io/docs/specs/otel/protocol/file-exporter/>).

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use serde_json::Value;
use tokio::net::TcpListener;

/// A collector.
#[derive(Debug)]
pub struct Collector {
    url: String,
    file: PathBuf,
}

/// A span as it was exported.
#[derive(Debug, Clone)]
pub struct Span {
    /// Its name.
    pub name: String,
    /// The id of its trace.
    pub trace: String,
    /// Its id.
    pub id: String,
    /// The id of its parent; empty when it has none.
    pub parent: String,
    /// Its attributes as texts, and `service.name` of its resource.
    pub attributes: BTreeMap<String, String>,
    /// Its begin and its end, in nanoseconds.
    pub time: [u64; 2],
}

impl Span {
    /// An attribute; empty when it has none of this name.
    #[must_use]
    pub fn attribute(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }

    /// What it did: `chat`, `invoke_agent`.
    #[must_use]
    pub fn operation(&self) -> &str {
        self.attribute("gen_ai.operation.name")
    }
}

impl Collector {
    /// Starts one that keeps its file in `folder`.
    pub async fn start(folder: &Path) -> Self {
        let path = folder.join("traces.jsonl");
        let file = Arc::new(Mutex::new(std::fs::File::create(&path).unwrap()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let routes = Router::new()
            .route("/v1/traces", post(take))
            .with_state(file);
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { url, file: path }
    }

    /// What the variable `OTEL_EXPORTER_OTLP_ENDPOINT` says.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The settings that make a process export to it, soon.
    #[must_use]
    pub fn settings(&self) -> [(&'static str, &str); 3] {
        [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &self.url),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
            ("OTEL_BSP_SCHEDULE_DELAY", "50"),
        ]
    }

    /// All that was exported so far, as text.
    #[must_use]
    pub fn text(&self) -> String {
        std::fs::read_to_string(&self.file).unwrap()
    }

    /// The spans that were exported so far.
    #[must_use]
    pub fn spans(&self) -> Vec<Span> {
        let text = self.text();
        // A line that is being written has no end yet.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let exports = whole.lines().map(|line| {
            serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"))
        });
        exports.flat_map(|export| spans(&export)).collect()
    }
}

async fn take(
    State(file): State<Arc<Mutex<std::fs::File>>>,
    headers: HeaderMap,
    body: String,
) -> (StatusCode, &'static str) {
    if headers.get("content-type").map(|kind| kind.as_bytes()) != Some(b"application/json") {
        return (StatusCode::UNSUPPORTED_MEDIA_TYPE, "");
    }
    let Ok(export) = serde_json::from_str::<Value>(&body) else {
        return (StatusCode::BAD_REQUEST, "");
    };
    // However it was laid out, it is one line now.
    writeln!(file.lock().unwrap(), "{export}").unwrap();
    (StatusCode::OK, "{}")
}

fn items<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    value[name].as_array().into_iter().flatten()
}

fn spans(export: &Value) -> Vec<Span> {
    let mut found = Vec::new();
    for resource in items(export, "resourceSpans") {
        let service = attributes(&resource["resource"])
            .remove("service.name")
            .unwrap_or_default();
        for scope in items(resource, "scopeSpans") {
            found.extend(items(scope, "spans").map(|it| span(it, &service)));
        }
    }
    found
}

fn span(value: &Value, service: &str) -> Span {
    let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
    let mut attributes = attributes(value);
    attributes.insert("service.name".to_owned(), service.to_owned());
    Span {
        name: text("name"),
        trace: text("traceId"),
        id: text("spanId"),
        parent: text("parentSpanId"),
        attributes,
        time: ["startTimeUnixNano", "endTimeUnixNano"].map(|name| text(name).parse().unwrap()),
    }
}

/// `[{"key": "a", "value": {"stringValue": "b"}}]` as texts.
fn attributes(of: &Value) -> BTreeMap<String, String> {
    let text = |value: &Value| match value.as_object().and_then(|kinds| kinds.values().next()) {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    };
    items(of, "attributes")
        .map(|it| (it["key"].as_str().unwrap().to_owned(), text(&it["value"])))
        .collect()
}
