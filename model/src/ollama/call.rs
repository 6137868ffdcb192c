//! One call: waits for a slot, asks the host, and asks another one when that is safe.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::TryStreamExt as _;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Response, StatusCode};
use tokio::time::{sleep, timeout};

use super::facts::Abilities;
use super::host::{self, Failure};
use super::names::canonical;
use super::pool::{Moment, Standing};
use super::reply::Reply;
use super::slots::{Lease, Place, Turn as InLine};
use super::truncation::Sent;
use super::turn::Turn;
use super::{SIMULATED, Shared, refusal, survey};
use crate::error::ChatError;

/// Longest error document that is read.
const MAX_REFUSAL: usize = 64 * 1024;

/// How often hosts are asked again that are busy.
const ROUNDS: u32 = 3;

/// The mean pause before a further host is asked, and before a busy host is asked once more; the latter doubles.
const NEXT_HOST: Duration = Duration::from_millis(20);
const NEXT_ROUND: Duration = Duration::from_millis(150);

/// A request that is ready to be sent, to any host.
pub struct Ask {
    /// The model, as it was asked for.
    pub model: String,
    /// The body.
    pub body: Bytes,
    /// How much it is.
    pub sent: Sent,
}

/// What a call has met so far.
struct Course {
    /// The model's canonical name.
    name: String,
    since: Moment,
    /// Hosts that are not asked again.
    excluded: Vec<usize>,
    /// Those of them that could not be reached, with the reason.
    unreached: Vec<(usize, String)>,
    /// Those of them that were busy, with the words of the last one.
    busy: Vec<usize>,
    busy_words: String,
    round: u32,
}

impl Course {
    fn new(shared: &Shared, model: &str) -> Self {
        Self {
            name: canonical(model),
            since: shared.slots.now(),
            excluded: Vec::new(),
            unreached: Vec::new(),
            busy: Vec::new(),
            busy_words: String::new(),
            round: 1,
        }
    }
}

impl Shared {
    /// Asks host after host until one answers, and reads the first frame.
    ///
    /// A further host is asked when no connection was made, when it was lost before a byte of the answer, when the host
    /// takes no more requests (503, 429), and when it turns out not to have the model. Everything else is for the caller.
    pub(super) async fn open(self: &Arc<Self>, ask: &Ask) -> Result<Reply, ChatError> {
        let mut course = Course::new(self, &ask.model);
        loop {
            let lease = self.lease(&mut course, &ask.model).await?;
            let index = lease.host();
            let after = match self.ask(lease, ask, &course.name).await {
                Ok(reply) => return Ok(reply),
                Err(Failure::Unreached(detail)) => {
                    course.unreached.push((index, detail));
                    NEXT_HOST
                }
                Err(Failure::Final(ChatError::Busy { message })) => {
                    course.busy.push(index);
                    course.busy_words = message;
                    NEXT_HOST
                }
                // What the pool now knows says which error it comes to.
                Err(Failure::Elsewhere) => Duration::ZERO,
                Err(Failure::Final(error)) => return Err(error),
            };
            course.excluded.push(index);
            sleep(after.mul_f64(0.5 + fastrand::f64())).await;
        }
    }

    /// Has a model loaded, where it is not; by one host, the one that a chat would be sent to now.
    pub(super) async fn load(self: &Arc<Self>, ask: &Ask) -> Result<(), ChatError> {
        let mut course = Course::new(self, &ask.model);
        let lease = self.lease(&mut course, &ask.model).await?;
        if lease.loaded() {
            return Ok(());
        }
        let index = lease.host();
        match self.ask(lease, ask, &course.name).await {
            Ok(mut reply) => reply.drain(self.deadlines.between_tokens).await,
            Err(Failure::Final(error)) => Err(error),
            Err(Failure::Elsewhere) => Err(self.lack(&ask.model, &course.name, &[])),
            Err(Failure::Unreached(detail)) => {
                Err(self.lack(&ask.model, &course.name, &[(index, detail)]))
            }
        }
    }

    /// A slot of a host that this call has not asked.
    async fn lease(self: &Arc<Self>, course: &mut Course, model: &str) -> Result<Lease, ChatError> {
        loop {
            let excluded = course.excluded.clone();
            let place = Place::take(&self.slots, &course.name, excluded, course.since);
            loop {
                self.survey(&course.name, &course.excluded).await;
                match place.turn().await {
                    InLine::Go(lease) => return Ok(lease),
                    InLine::Again => {}
                    InLine::Nobody => break,
                }
            }
            drop(place);
            if course.busy.is_empty() {
                return Err(self.lack(model, &course.name, &course.unreached));
            }
            if course.round >= ROUNDS {
                let message = std::mem::take(&mut course.busy_words);
                return Err(ChatError::Busy { message });
            }
            let pause = NEXT_ROUND * 2_u32.saturating_pow(course.round - 1);
            sleep(pause.mul_f64(0.5 + fastrand::f64())).await;
            course.round += 1;
            let busy = std::mem::take(&mut course.busy);
            course.excluded.retain(|host| !busy.contains(host));
        }
    }

    /// Asks a host, and waits for the first frame of its answer.
    async fn ask(&self, lease: Lease, ask: &Ask, name: &str) -> Result<Reply, Failure> {
        let context_length = self.vet(&lease, &ask.model, name).await?.context_length;
        let sent = ask.sent.within(context_length);
        let index = lease.host();
        let after = if lease.loaded() {
            self.deadlines.first_token
        } else {
            self.deadlines.first_token_unloaded
        };
        match timeout(after, self.first_frame(lease, ask, sent)).await {
            Ok(outcome) => outcome,
            Err(_elapsed) => {
                let error = ChatError::FirstToken { after };
                let (trouble, jitter) = (error.to_string(), fastrand::f64());
                self.slots
                    .change(|pool, now| pool.hosts.failed(index, trouble, jitter, now));
                Err(error.into())
            }
        }
    }

    /// Makes sure that a model runs where it seems to, before a prompt is sent: `/api/show` names the cloud behind a copy
    /// under another name, or refuses it when the cloud is off.
    async fn vet(&self, lease: &Lease, model: &str, name: &str) -> Result<Abilities, Failure> {
        let index = lease.host();
        let digest = self.slots.read(|pool, _| pool.hosts.standing(index, name));
        let Some(Standing::Local(digest)) = digest else {
            return Err(Failure::Elsewhere);
        };
        match self.abilities(index, model, &digest).await {
            Ok(abilities) => Ok(abilities),
            Err(ChatError::Cloud { .. }) => {
                lease.is_remote();
                Err(Failure::Elsewhere)
            }
            Err(ChatError::ModelNotFound { .. }) => {
                lease.is_gone();
                Err(Failure::Elsewhere)
            }
            Err(error) => {
                let trouble = survey::detail(error);
                lease.lost(trouble.clone());
                Err(Failure::Unreached(trouble))
            }
        }
    }

    async fn first_frame(&self, lease: Lease, ask: &Ask, sent: Sent) -> Result<Reply, Failure> {
        let Some(host) = self.hosts.get(lease.host()) else {
            return Err(Failure::Elsewhere);
        };
        let request = || {
            let post = self.client.post(host.chat());
            post.header(CONTENT_TYPE, "application/json")
                .body(ask.body.clone())
        };
        let response = host::send(request).await.inspect_err(|failure| {
            if let Failure::Unreached(detail) = failure {
                tracing::warn!(host = host.shown(), detail, "an Ollama host is not reached");
                lease.lost(detail.clone());
            }
        })?;
        if response.status() != StatusCode::OK {
            return Err(match refused(response, &ask.model).await {
                ChatError::ModelNotFound { .. } => {
                    lease.is_gone();
                    Failure::Elsewhere
                }
                ChatError::Cloud { .. } => {
                    lease.is_remote();
                    Failure::Elsewhere
                }
                error => Failure::Final(error),
            });
        }
        let simulated = response.headers().contains_key(SIMULATED);
        let body = response
            .bytes_stream()
            .map_err(|error| host::broken(&error));
        let turn = Turn::new(ask.model.clone(), simulated, sent);
        let mut reply = Reply::new(body, turn, Some(lease));
        reply.read_frames().await?;
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
