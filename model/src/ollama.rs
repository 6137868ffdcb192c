//! Ollama over its native `/api/chat`: the endpoint that takes `num_ctx`, which the OpenAI-like ones do not.
//!
//! Requests are built with the types of ollama-rs; answers are read here. The streams of ollama-rs 0.3.6 lose a chunk
//! that ends inside a UTF-8 character, errors in the middle of an answer, `done_reason`, and ends without `done`.
//!
//! Reading order: `options`, `cloud`, `request`, `host`, `refusal`, `decode`, `turn`, `reply`, `probe`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt as _, join_all};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Response, StatusCode, redirect};
use tokio::time::timeout;

use crate::chat::{ChatModel, ChatRequest, ChatStream, Look, ModelFacts};
use crate::error::ChatError;

mod cloud;
mod decode;
mod host;
mod options;
mod probe;
mod refusal;
mod reply;
mod request;
mod turn;

pub use options::{Deadlines, Options, OptionsError};
pub use probe::{HostReport, HostState};

use host::{Failure, Host};
use reply::Reply;
use request::Window;
use turn::Turn;

/// The header that the simulator sets on every answer, and no other server.
const SIMULATED: &str = "x-ollama-sim";

/// Longest error document that is read.
const MAX_REFUSAL: usize = 64 * 1024;

/// Ollama hosts; cheap to clone. A process needs one: clones share its connections.
///
/// Needs a tokio runtime with time and I/O.
#[derive(Clone)]
pub struct Ollama {
    shared: Arc<Shared>,
}

struct Shared {
    client: Client,
    hosts: Vec<Host>,
    num_ctx: u32,
    deadlines: Deadlines,
}

/// A request that is ready to be sent, to any host.
struct Ask {
    model: String,
    body: Bytes,
}

impl Ollama {
    /// Hosts to ask. Nothing is sent yet.
    ///
    /// # Errors
    /// See [`OptionsError`].
    pub fn new(options: Options) -> Result<Self, OptionsError> {
        options.check()?;
        let shared = Shared {
            client: client(options.deadlines.connect)?,
            hosts: options.hosts.iter().map(Host::new).collect(),
            num_ctx: options.num_ctx,
            deadlines: options.deadlines,
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Looks at every host, at all of them at once, for 2 s at most. One report a host, in the order of the options.
    pub async fn probe(&self) -> Vec<HostReport> {
        let Shared { client, hosts, .. } = &*self.shared;
        join_all(hosts.iter().map(|host| probe::report(client, host))).await
    }
}

/// What the reports of all hosts come to.
fn combine(reports: Vec<HostReport>, model: &str) -> Result<Look, ChatError> {
    let (mut answering, mut silent, mut details) = (Vec::new(), Vec::new(), Vec::new());
    for HostReport { url, outcome } in reports {
        match outcome {
            Ok(host) => answering.push(host),
            Err(ChatError::Connect { detail, .. }) => {
                silent.push(url);
                details.push(detail);
            }
            Err(error) => {
                silent.push(url);
                details.push(error.to_string());
            }
        }
    }
    if answering.is_empty() {
        let detail = details.join("; ");
        return Err(ChatError::Connect {
            hosts: silent,
            detail,
        });
    }
    Ok(Look {
        has_model: answering.iter().any(|host| host.has_model(model)),
        simulated: answering.iter().any(|host| host.simulated),
    })
}

impl ChatModel for Ollama {
    fn look(&self, model: &str) -> BoxFuture<'static, Result<Look, ChatError>> {
        let (ollama, model) = (self.clone(), model.to_owned());
        async move { combine(ollama.probe().await, &model) }.boxed()
    }

    fn facts(&self, model: &str) -> BoxFuture<'static, Result<ModelFacts, ChatError>> {
        let (ollama, model) = (self.clone(), model.to_owned());
        async move {
            let look = combine(ollama.probe().await, &model)?;
            if !look.has_model {
                return Err(ChatError::ModelNotFound { model });
            }
            let window = ollama.shared.num_ctx;
            Ok(ModelFacts {
                window,
                ..ModelFacts::default()
            })
        }
        .boxed()
    }

    fn chat(&self, request: ChatRequest) -> ChatStream {
        let shared = Arc::clone(&self.shared);
        let between_tokens = shared.deadlines.between_tokens;
        let reply = async move { shared.open(request).await };
        stream::once(reply)
            .map_ok(move |reply| reply::events(reply, between_tokens))
            .try_flatten()
            .boxed()
    }
}

/// Hosts only: their URLs may hold passwords.
impl fmt::Debug for Ollama {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts: Vec<&str> = self.shared.hosts.iter().map(Host::shown).collect();
        formatter
            .debug_struct("Ollama")
            .field("hosts", &hosts)
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// Asks host after host until one answers, and reads the first frame.
    async fn open(&self, request: ChatRequest) -> Result<Reply, ChatError> {
        let model = request.model.clone();
        if cloud::is_cloud_model(&model) {
            return Err(ChatError::Cloud { model });
        }
        let num_ctx = self.num_ctx;
        let body = request::chat(&request, Window { num_ctx })?;
        let ask = Ask { model, body };
        let mut tried = Vec::new();
        let mut details: Vec<String> = Vec::new();
        for host in &self.hosts {
            let detail = match self.ask(host, &ask).await {
                Ok(reply) => return Ok(reply),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Unreached(detail)) => detail,
            };
            tracing::warn!(host = host.shown(), detail, "an Ollama host is not reached");
            tried.push(host.shown().to_owned());
            if !details.contains(&detail) {
                details.push(detail);
            }
        }
        Err(ChatError::Connect {
            hosts: tried,
            detail: details.join("; "),
        })
    }

    /// Asks a host, and waits for the first frame of its answer.
    async fn ask(&self, host: &Host, ask: &Ask) -> Result<Reply, Failure> {
        let after = self.deadlines.first_token;
        match timeout(after, self.first_frame(host, ask)).await {
            Ok(outcome) => outcome,
            Err(_elapsed) => Err(ChatError::FirstToken { after }.into()),
        }
    }

    async fn first_frame(&self, host: &Host, ask: &Ask) -> Result<Reply, Failure> {
        let request = || {
            let post = self.client.post(host.endpoint("api/chat"));
            post.header(CONTENT_TYPE, "application/json")
                .body(ask.body.clone())
        };
        let response = host::send(request).await?;
        if response.status() != StatusCode::OK {
            return Err(refused(response, &ask.model).await.into());
        }
        let simulated = response.headers().contains_key(SIMULATED);
        let body = response
            .bytes_stream()
            .map_err(|error| host::broken(&error));
        let mut reply = Reply::new(body, Turn::new(ask.model.clone(), simulated));
        reply.read_frame().await?;
        Ok(reply)
    }
}

async fn refused(mut response: Response, model: &str) -> ChatError {
    let status = response.status().as_u16();
    // The status says enough when its text is lost.
    let body = host::read_up_to(MAX_REFUSAL, &mut response)
        .await
        .unwrap_or_default();
    refusal::from_status(status, &body, model)
}

fn client(connect_timeout: Duration) -> Result<Client, OptionsError> {
    Client::builder()
        // A proxy of the environment would carry prompts off the machine, and does not reach loopback.
        .no_proxy()
        // So would a redirect.
        .redirect(redirect::Policy::none())
        .connect_timeout(connect_timeout)
        .tcp_nodelay(true)
        // The pool keeps idle connections for 90 s. No timeout for a whole answer: it may take as long as it flows.
        .build()
        .map_err(|error| OptionsError::Client {
            detail: error.to_string(),
        })
}
