//! A micro service (ADR-32) whose answers go to inboxes only.
//!
//! The client library's service answers any reply subject, its own `$SRV` verbs included, and a requester could so have a
//! coordinator publish into a stream for it. Here every reply subject is checked before anything is sent.

use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;
use serde_json::{Value, json};
use swarm_protocol::{ErrorBody, Timestamp, headers, subjects};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::connection::{Bus, LAST_WORDS, RequestError};
use crate::message::{Incoming, Outgoing, Subscription};

mod stats;

use stats::Stats;

/// Members of this group share the requests.
const QUEUE_GROUP: &str = "swarm";

/// Calls that wait for a free handler.
const BACKLOG: usize = 1024;

/// More about an endpoint for its statistics (ADR-32, `data`), by its name.
pub type StatsData = Arc<dyn Fn(&str) -> Option<Value> + Send + Sync>;

/// What a service says of itself.
#[derive(Clone)]
pub struct Options {
    /// Its name.
    pub name: &'static str,
    /// Its id, one per process.
    pub id: String,
    /// Its version (semver).
    pub version: &'static str,
    /// What it is for.
    pub description: &'static str,
    /// What its statistics say beside counts and times.
    pub stats_data: StatsData,
}

/// One endpoint of a service.
#[derive(Debug, Clone, Copy)]
pub struct Endpoint {
    /// Its name: letters, digits, `_` and `-`.
    pub name: &'static str,
    /// Its subject, which may hold wildcards.
    pub subject: &'static str,
}

/// A service that takes calls until it is dropped or stopped.
#[derive(Debug)]
pub struct Service {
    calls: mpsc::Receiver<Call>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// A request to an endpoint.
#[derive(Debug)]
pub struct Call {
    /// The endpoint's name.
    pub endpoint: &'static str,
    /// The request.
    pub request: Incoming,
    bus: Bus,
    stats: Arc<Stats>,
    began: Instant,
}

struct Shared {
    options: Options,
    endpoints: Vec<(Endpoint, Arc<Stats>)>,
    started: Timestamp,
}

impl Service {
    /// Serves `endpoints` and the `$SRV` verbs.
    ///
    /// # Errors
    /// When the connection is closed.
    pub async fn start(
        bus: &Bus,
        options: Options,
        endpoints: &[Endpoint],
    ) -> Result<Self, RequestError> {
        let (sender, calls) = mpsc::channel(BACKLOG);
        let service = Self {
            calls,
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        let with_stats = endpoints
            .iter()
            .map(|endpoint| (*endpoint, Arc::<Stats>::default()));
        let shared = Arc::new(Shared {
            options,
            endpoints: with_stats.collect(),
            started: Timestamp::now(),
        });
        for (endpoint, stats) in &shared.endpoints {
            let requests = bus.queue_subscribe(endpoint.subject, QUEUE_GROUP).await?;
            let taking = take_calls(
                bus.clone(),
                *endpoint,
                Arc::clone(stats),
                requests,
                sender.clone(),
                service.stop.clone(),
            );
            service.tasks.spawn(taking);
        }
        for verb in Verb::ALL {
            for subject in verb.subjects(&shared.options) {
                let requests = bus.subscribe(&subject).await?;
                service.tasks.spawn(answer_verb(
                    bus.clone(),
                    verb,
                    Arc::clone(&shared),
                    requests,
                    service.stop.clone(),
                ));
            }
        }
        service.tasks.close();
        Ok(service)
    }

    /// The next call; none after the stop.
    pub async fn next(&mut self) -> Option<Call> {
        self.calls.recv().await
    }

    /// Takes no new calls; those that are on their way still come out of [`next`](Self::next).
    pub fn stop(&self) {
        self.stop.cancel();
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Call {
    /// Where its answer goes, when it is an inbox.
    #[must_use]
    pub fn inbox(&self) -> Option<&str> {
        self.request.reply()
    }

    /// Answers with a document.
    pub async fn reply_json(self, document: &impl Serialize) {
        match serde_json::to_vec(document) {
            Ok(body) => self.reply(body, &[]).await,
            Err(error) => {
                tracing::error!(%error, endpoint = self.endpoint, "a reply could not be written as JSON")
            }
        }
    }

    /// Answers.
    pub async fn reply(self, body: impl Into<bytes::Bytes>, headers: &[(&'static str, String)]) {
        let Some(inbox) = self.inbox() else { return };
        let mut message = Outgoing::new(inbox, body, self.request.trace());
        for (name, value) in headers {
            message = message.header(name, value);
        }
        send_reply(&self.bus, message).await;
    }

    /// Answers with an error; `body` is its document, which may say more than the error alone.
    pub async fn fail_with(self, error: &ErrorBody, body: &impl Serialize) {
        self.stats.failed(&error.message);
        let Some(inbox) = self.inbox() else { return };
        if let Some(message) = error_message(inbox, error, body, &self.request) {
            send_reply(&self.bus, message).await;
        }
    }

    /// Answers with an error.
    pub async fn fail(self, error: &ErrorBody) {
        self.fail_with(error, error).await;
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.stats.served(self.began.elapsed());
    }
}

/// An error as an answer: headers for clients, a body for people.
fn error_message(
    inbox: &str,
    error: &ErrorBody,
    body: &impl Serialize,
    request: &Incoming,
) -> Option<Outgoing> {
    match Outgoing::json(inbox, body, request.trace()) {
        Ok(message) => Some(with_error(message, error)),
        Err(json) => {
            tracing::error!(%json, "an error could not be written as JSON");
            None
        }
    }
}

/// The same message with the headers of a service error.
#[must_use]
pub fn with_error(message: Outgoing, error: &ErrorBody) -> Outgoing {
    let line: String = error
        .to_string()
        .chars()
        .map(|c| if c.is_ascii() { c } else { '?' })
        .take(200)
        .collect();
    message
        .header(headers::ERROR_CODE, error.status())
        .header(headers::ERROR, line)
}

async fn send_reply(bus: &Bus, message: Outgoing) {
    if let Err(error) = bus.send(message).await {
        tracing::warn!(%error, "an answer was not sent");
    }
}

async fn take_calls(
    bus: Bus,
    endpoint: Endpoint,
    stats: Arc<Stats>,
    mut requests: Subscription,
    sender: mpsc::Sender<Call>,
    stop: CancellationToken,
) {
    let mut end: Option<tokio::time::Instant> = None;
    loop {
        let request = tokio::select! {
            request = requests.next() => request,
            () = stop.cancelled(), if end.is_none() => {
                let latest = tokio::time::Instant::now() + LAST_WORDS;
                if tokio::time::timeout_at(latest, requests.drain()).await.is_err() {
                    return;
                }
                end = Some(latest);
                continue;
            }
            // The end of a drained subscription comes from the server, which may be away.
            () = reached(end) => return,
        };
        let Some(request) = request else { return };
        stats.requested();
        if !has_safe_reply(&request) {
            stats.failed("the reply subject is no inbox");
            continue;
        }
        let call = Call {
            endpoint: endpoint.name,
            request,
            bus: bus.clone(),
            stats: Arc::clone(&stats),
            began: Instant::now(),
        };
        if sender.send(call).await.is_err() {
            return;
        }
    }
}

/// Waits for a point in time; for ever without one.
async fn reached(end: Option<tokio::time::Instant>) {
    match end {
        Some(end) => tokio::time::sleep_until(end).await,
        None => std::future::pending().await,
    }
}

fn has_safe_reply(request: &Incoming) -> bool {
    let safe = request.reply().is_none_or(subjects::is_inbox);
    if !safe {
        tracing::warn!(
            subject = request.subject(),
            reply = request.reply(),
            "a request was ignored: its reply subject is no inbox"
        );
    }
    safe
}

#[derive(Debug, Clone, Copy)]
enum Verb {
    Ping,
    Info,
    Stats,
}

impl Verb {
    const ALL: [Self; 3] = [Self::Ping, Self::Info, Self::Stats];

    fn subjects(self, options: &Options) -> [String; 3] {
        let verb = match self {
            Self::Ping => "PING",
            Self::Info => "INFO",
            Self::Stats => "STATS",
        };
        let Options { name, id, .. } = options;
        [
            format!("$SRV.{verb}"),
            format!("$SRV.{verb}.{name}"),
            format!("$SRV.{verb}.{name}.{id}"),
        ]
    }

    fn answer(self, shared: &Shared) -> Value {
        let Options {
            name,
            id,
            version,
            description,
            stats_data,
        } = &shared.options;
        let mut answer = json!({ "name": name, "id": id, "version": version, "metadata": {} });
        let more = match self {
            Self::Ping => json!({ "type": "io.nats.micro.v1.ping_response" }),
            Self::Info => json!({
                "type": "io.nats.micro.v1.info_response",
                "description": description,
                "endpoints": shared.endpoints.iter().map(|(endpoint, _)| endpoint.describe()).collect::<Vec<_>>(),
            }),
            Self::Stats => json!({
                "type": "io.nats.micro.v1.stats_response",
                "started": shared.started,
                "endpoints": shared.endpoints.iter().map(|(endpoint, stats)| stats.describe(endpoint, stats_data(endpoint.name))).collect::<Vec<_>>(),
            }),
        };
        if let (Some(answer), Value::Object(more)) = (answer.as_object_mut(), more) {
            answer.extend(more);
        }
        answer
    }
}

impl Endpoint {
    fn describe(&self) -> Value {
        json!({ "name": self.name, "subject": self.subject, "queue_group": QUEUE_GROUP, "metadata": {} })
    }
}

async fn answer_verb(
    bus: Bus,
    verb: Verb,
    shared: Arc<Shared>,
    mut requests: Subscription,
    stop: CancellationToken,
) {
    loop {
        let request = tokio::select! {
            request = requests.next() => request,
            () = stop.cancelled() => return,
        };
        let Some(request) = request else { return };
        let Some(inbox) = request.reply().filter(|reply| subjects::is_inbox(reply)) else {
            continue;
        };
        send_reply(
            &bus,
            Outgoing::new(inbox, verb.answer(&shared).to_string(), request.trace()),
        )
        .await;
    }
}
