//! Ollama over its native `/api/chat`: the endpoint that takes `num_ctx`, which the OpenAI-like ones do not.
//!
//! Options and roles of requests are the types of ollama-rs; answers are read here. The streams of ollama-rs 0.3.6 lose a
//! chunk that ends inside a UTF-8 character, errors in the middle of an answer, `done_reason`, and ends without `done`.
//!
//! Several hosts are a pool. A call waits for a slot (`pool` says whose turn it is), makes sure that the model runs on the
//! host and in no cloud, and asks another host when the first one cannot be reached or is busy. What a host has begun to
//! answer is never asked of another one.
//!
//! Reading order: `options`, `cloud`, `names`, `request`, `host`, `refusal`, `decode`, `truncation`, `turn`, `reply`, `facts`, `probe`,
//! `pool`, `slots`, `survey`, `call`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt as _, join_all};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use reqwest::{Client, redirect};
use tokio::sync;

use crate::chat::{ChatModel, ChatRequest, ChatStream, Look, ModelFacts};
use crate::error::ChatError;

mod call;
mod cloud;
mod decode;
mod facts;
#[cfg(test)]
mod failures;
mod host;
mod names;
mod options;
mod pool;
mod probe;
mod refusal;
mod reply;
mod request;
mod slots;
mod survey;
mod truncation;
mod turn;

pub use options::{Deadlines, Options, OptionsError};
pub use probe::{CloudSwitch, HostModel, HostReport, HostState};

use call::Ask;
use host::Host;
use reply::Reply;
use request::Window;
use slots::Slots;
use survey::Known;
use truncation::Sent;

/// The header that the simulator sets on every answer, and no other server.
const SIMULATED: &str = "x-ollama-sim";

/// Ollama hosts; cheap to clone. A process needs one: clones share its connections and its slots.
///
/// Needs a tokio runtime with time and I/O.
#[derive(Clone)]
pub struct Ollama {
    shared: Arc<Shared>,
}

struct Shared {
    client: Client,
    hosts: Vec<Host>,
    window: Window,
    require_cloud_off: bool,
    deadlines: Deadlines,
    slots: Arc<Slots>,
    /// Held by who looks at a host; one for each.
    looking: Vec<sync::Mutex<()>>,
    known: Known,
}

impl Ollama {
    /// Hosts to ask. Nothing is sent yet.
    ///
    /// # Errors
    /// See [`OptionsError`].
    pub fn new(options: Options) -> Result<Self, OptionsError> {
        options.check()?;
        let number = options.hosts.len();
        let shared = Shared {
            client: client(options.deadlines.connect)?,
            hosts: options.hosts.iter().map(Host::new).collect(),
            window: Window {
                num_ctx: options.num_ctx,
            },
            require_cloud_off: options.require_cloud_off,
            deadlines: options.deadlines,
            slots: Arc::new(Slots::new(number, options.parallel)),
            looking: std::iter::repeat_with(sync::Mutex::default)
                .take(number)
                .collect(),
            known: Known::default(),
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

    /// What a model can do on one host, by its place in the options.
    ///
    /// # Errors
    /// Those of [`ChatModel::facts`].
    pub async fn facts_at(&self, host: usize, model: &str) -> Result<ModelFacts, ChatError> {
        let abilities = self.shared.abilities(host, model, "").await?;
        Ok(abilities.facts(String::new(), self.shared.window.num_ctx))
    }

    /// What the reports of all hosts come to; the pool learns it too.
    fn combine(&self, reports: Vec<HostReport>, model: &str) -> Result<Look, ChatError> {
        let shared = &self.shared;
        let (mut answering, mut silent, mut details) = (Vec::new(), Vec::new(), Vec::new());
        let mut cloud_is_on = Vec::new();
        for (index, HostReport { url, outcome }) in reports.into_iter().enumerate() {
            match outcome {
                Ok(host) => {
                    let told = host.clone().told(shared.require_cloud_off);
                    if told.cloud_is_on {
                        cloud_is_on.push(url);
                    } else {
                        answering.push(host);
                    }
                    shared
                        .slots
                        .change(|pool, now| pool.hosts.learn(index, told, now));
                }
                Err(error) => {
                    silent.push(url);
                    details.push(survey::detail(error));
                }
            }
        }
        if answering.is_empty() {
            if !cloud_is_on.is_empty() {
                return Err(ChatError::CloudOn { hosts: cloud_is_on });
            }
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
}

impl ChatModel for Ollama {
    fn look(&self, model: &str) -> BoxFuture<'static, Result<Look, ChatError>> {
        let (ollama, model) = (self.clone(), model.to_owned());
        async move { ollama.combine(ollama.probe().await, &model) }.boxed()
    }

    fn facts(&self, model: &str) -> BoxFuture<'static, Result<ModelFacts, ChatError>> {
        let (shared, model) = (Arc::clone(&self.shared), model.to_owned());
        async move { shared.facts(&model).await }.boxed()
    }

    fn warm_up(&self, model: &str) -> BoxFuture<'static, Result<(), ChatError>> {
        let (shared, model) = (Arc::clone(&self.shared), model.to_owned());
        let load = async move {
            refuse_cloud(&model)?;
            let body = request::load(&model, shared.window)?;
            let sent = Sent::default();
            shared.load(&Ask { model, body, sent }).await
        };
        load.boxed()
    }

    fn chat(&self, request: ChatRequest) -> ChatStream {
        let between_tokens = self.shared.deadlines.between_tokens;
        let begin = Stage::Begin(Arc::clone(&self.shared), Box::new(request));
        stream::try_unfold(begin, move |stage| async move {
            let mut reply = match stage {
                // In boxes, as what is here is moved again and again.
                Stage::Begin(shared, request) => Box::pin(shared.answer(*request)).await?,
                Stage::Answer(reply) => reply,
            };
            let events = reply.next_events(between_tokens).await?;
            Ok(events.map(|events| {
                let events = stream::iter(events.into_iter().map(Ok));
                (events, Stage::Answer(reply))
            }))
        })
        .try_flatten()
        .boxed()
    }
}

/// Where a chat stands.
enum Stage {
    Begin(Arc<Shared>, Box<ChatRequest>),
    Answer(Box<Reply>),
}

impl Shared {
    async fn answer(self: Arc<Self>, request: ChatRequest) -> Result<Box<Reply>, ChatError> {
        refuse_cloud(&request.model)?;
        let markers = self.known.markers(&request.model);
        let body = request::chat(&request, self.window, &markers)?;
        let sent = Sent::of(&request, self.window);
        let model = request.model;
        self.open(&Ask { model, body, sent }).await.map(Box::new)
    }
}

fn refuse_cloud(model: &str) -> Result<(), ChatError> {
    if cloud::is_cloud_model(model) {
        let model = model.to_owned();
        return Err(ChatError::Cloud { model });
    }
    Ok(())
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
