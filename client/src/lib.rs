//! The Rust SDK of Swarm: submit a task, watch its run, ask the coordinator.
//!
//! This crate owns how a program outside of Swarm talks to it. It works with the rights of the user `client`: it publishes
//! submissions, calls endpoints, and reads run logs, and needs no consumer.
//!
//! Reading order: [`Client`], [`watch`].

use std::time::Duration;

use swarm_bus::connection::RequestError;
use swarm_bus::{BlobError, Bus, Incoming, Outgoing, PublishError, ReadError};
use swarm_protocol::endpoint::{
    AgentsReply, AgentsRequest, DeadReply, DeadRequest, DeadsReply, DeadsRequest, DecideRequest,
    DeleteReply, Explanation, MessageRequest, OpenError, RetryReply, RunRequestBody, RunsReply,
    RunsRequest, StateReply,
};
use swarm_protocol::event::Body;
use swarm_protocol::journal::{Approval, CallDecision};
use swarm_protocol::trace::TraceParent;
use swarm_protocol::{
    AgentName, Code, ErrorBody, RunId, RunRef, RunResult, Span, Submission, headers, subjects,
};

pub mod watch;

pub use watch::{Update, Watch};

/// An endpoint is waited for this long.
const ENDPOINT_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The coordinator refused it.
    #[error(transparent)]
    Service(ErrorBody),
    /// No coordinator answers.
    #[error(
        "no coordinator answers: start one with `swarm coordinator`, or everything with `swarm up`"
    )]
    NoCoordinator(#[source] RequestError),
    /// The submission was not stored.
    #[error("the submission was not stored")]
    NotStored(#[from] PublishError),
    /// The run cannot be read.
    #[error("the run cannot be read")]
    Read(#[from] ReadError),
    /// A text that is a blob is lost, or cannot be read.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// An answer that is not understood.
    #[error("an answer is not understood: {0}")]
    Garbled(String),
}

/// Talks to a swarm; cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    bus: Bus,
}

impl Client {
    /// A client over a connection.
    #[must_use]
    pub fn new(bus: Bus) -> Self {
        Self { bus }
    }

    /// Submits a task; it is durable when this returns. The run has the id `run`, so that submitting again changes nothing.
    ///
    /// # Errors
    /// When it was not stored. A submission that is wrong is stored, and becomes a rejected run.
    pub async fn submit(
        &self,
        run: RunId,
        submission: &Submission,
        target: Option<&AgentName>,
    ) -> Result<(), ClientError> {
        let trace = TraceParent::of_run(run, None);
        let message = Outgoing::json(subjects::submit(target), submission, trace)
            .map_err(|error| ClientError::Garbled(error.to_string()))?
            .header(headers::RUN_ID, run);
        let stored = self.bus.store(message).await;
        match stored {
            Ok(_) => Ok(()),
            Err(PublishError::Unconfirmed(error @ RequestError::NoResponders(_))) => {
                Err(ClientError::NoCoordinator(error))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Watches a run from its first event on; see [`Watch`].
    ///
    /// # Errors
    /// When the connection is closed.
    pub async fn watch(&self, run: RunId) -> Result<Watch, ClientError> {
        Watch::open(&self.bus, run).await
    }

    /// The result of a run, waited for up to `wait`.
    ///
    /// # Errors
    /// `SW-RUN-UNKNOWN`, or `SW-RUN-OPEN` when it has not ended by then.
    pub async fn result(
        &self,
        run: &RunRef,
        wait: Option<Duration>,
    ) -> Result<RunResult, ClientError> {
        let body = RunRequestBody {
            run: run.to_string(),
            wait: wait.map(Span),
            reason: None,
        };
        let timeout = ENDPOINT_TIMEOUT + wait.unwrap_or_default();
        read(&self.call(subjects::RESULT, &body, timeout).await?)
    }

    /// The whole text of a result, which may have only its beginning.
    ///
    /// # Errors
    /// When the blob that has it is missing, altered or cannot be read.
    pub async fn text(&self, result: &RunResult) -> Result<String, ClientError> {
        let Some(blob) = &result.blob else {
            return Ok(result.text.clone());
        };
        let content = self.bus.get_blob(result.run, blob).await?;
        Ok(String::from_utf8_lossy(&content).into_owned())
    }

    /// Runs, newest first.
    ///
    /// # Errors
    /// When the request is refused.
    pub async fn runs(&self, request: &RunsRequest) -> Result<RunsReply, ClientError> {
        read(&self.call(subjects::RUNS, request, ENDPOINT_TIMEOUT).await?)
    }

    /// Cancels a run.
    ///
    /// # Errors
    /// `SW-RUN-UNKNOWN`, or `SW-RUN-ENDED` when it ended otherwise.
    pub async fn cancel(
        &self,
        run: &RunRef,
        reason: Option<String>,
    ) -> Result<StateReply, ClientError> {
        self.command(subjects::CANCEL, run, reason).await
    }

    /// Lets no new attempt of a run start.
    ///
    /// # Errors
    /// When there is no such open run.
    pub async fn pause(
        &self,
        run: &RunRef,
        reason: Option<String>,
    ) -> Result<StateReply, ClientError> {
        self.command(subjects::PAUSE, run, reason).await
    }

    /// Lets attempts start again.
    ///
    /// # Errors
    /// When there is no such open run.
    pub async fn resume(
        &self,
        run: &RunRef,
        reason: Option<String>,
    ) -> Result<StateReply, ClientError> {
        self.command(subjects::RESUME, run, reason).await
    }

    /// Does a run again that has failed or was canceled; the new run.
    ///
    /// # Errors
    /// When there is no such run, or it is neither.
    pub async fn retry(&self, run: &RunRef) -> Result<RetryReply, ClientError> {
        let body = RunRequestBody {
            run: run.to_string(),
            wait: None,
            reason: None,
        };
        read(&self.call(subjects::RETRY, &body, ENDPOINT_TIMEOUT).await?)
    }

    /// Decides about a call that a run waits for; one of [`approvals`](Self::approvals).
    ///
    /// # Errors
    /// When there is no such run, it asks nothing of this name, or it was decided otherwise.
    pub async fn decide(
        &self,
        decision: CallDecision,
        request: &DecideRequest,
    ) -> Result<StateReply, ClientError> {
        let subject = match decision {
            CallDecision::Approved => subjects::APPROVE,
            CallDecision::Denied => subjects::DENY,
        };
        read(&self.call(subject, request, ENDPOINT_TIMEOUT).await?)
    }

    /// Sends a message to an agent of an open run.
    ///
    /// # Errors
    /// When there is no such run, or nobody in it takes the message.
    pub async fn message(
        &self,
        run: &RunRef,
        to: &AgentName,
        text: &str,
    ) -> Result<StateReply, ClientError> {
        let body = MessageRequest {
            run: run.to_string(),
            to: to.clone(),
            text: text.to_owned(),
            // Of this call: should the bus send it twice, it is one message.
            id: Some(RunId::random().to_string()),
        };
        read(
            &self
                .call(subjects::MESSAGE, &body, ENDPOINT_TIMEOUT)
                .await?,
        )
    }

    /// What a run waits for a person to decide about, oldest first, read from its log.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn approvals(&self, run: RunId) -> Result<Vec<Approval>, ClientError> {
        let mut open: Vec<Approval> = Vec::new();
        for event in watch::read_log(&self.bus, run).await? {
            match event.body {
                Body::ApprovalRequested(requested) => open.extend(requested.suspended.approvals),
                Body::Approved(decided) | Body::Denied(decided) => {
                    open.retain(|approval| approval.approval != decided.approval);
                }
                body if body.result().is_some() => open.clear(),
                _ => {}
            }
        }
        Ok(open)
    }

    async fn command(
        &self,
        subject: &'static str,
        run: &RunRef,
        reason: Option<String>,
    ) -> Result<StateReply, ClientError> {
        let body = RunRequestBody {
            run: run.to_string(),
            wait: None,
            reason,
        };
        read(&self.call(subject, &body, ENDPOINT_TIMEOUT).await?)
    }

    /// The story of a run, where its time went, and why it waits.
    ///
    /// # Errors
    /// When there is no such run.
    pub async fn explain(&self, run: &RunRef) -> Result<Explanation, ClientError> {
        let body = RunRequestBody {
            run: run.to_string(),
            wait: None,
            reason: None,
        };
        read(
            &self
                .call(subjects::EXPLAIN, &body, ENDPOINT_TIMEOUT)
                .await?,
        )
    }

    /// Forgets a run that has ended: its journals and its content.
    ///
    /// # Errors
    /// When there is no such run, or it is open.
    pub async fn delete(&self, run: &RunRef) -> Result<DeleteReply, ClientError> {
        let body = RunRequestBody {
            run: run.to_string(),
            wait: None,
            reason: None,
        };
        read(&self.call(subjects::DELETE, &body, ENDPOINT_TIMEOUT).await?)
    }

    /// Dead letters, newest first, or one.
    ///
    /// # Errors
    /// When the one that is named does not exist.
    pub async fn dead(&self, request: &DeadsRequest) -> Result<DeadsReply, ClientError> {
        read(
            &self
                .call(subjects::DEAD_LETTERS, request, ENDPOINT_TIMEOUT)
                .await?,
        )
    }

    /// Takes a dead letter up again.
    ///
    /// # Errors
    /// When it does not exist, or cannot be taken up.
    pub async fn requeue(&self, id: u64) -> Result<DeadReply, ClientError> {
        let body = DeadRequest { id };
        read(
            &self
                .call(subjects::DEAD_REQUEUE, &body, ENDPOINT_TIMEOUT)
                .await?,
        )
    }

    /// Forgets a dead letter.
    ///
    /// # Errors
    /// When there never was such a one.
    pub async fn drop_dead(&self, id: u64) -> Result<DeadReply, ClientError> {
        let body = DeadRequest { id };
        read(
            &self
                .call(subjects::DEAD_DROP, &body, ENDPOINT_TIMEOUT)
                .await?,
        )
    }

    /// Live agent instances.
    ///
    /// # Errors
    /// When the request is refused.
    pub async fn agents(&self, request: &AgentsRequest) -> Result<AgentsReply, ClientError> {
        read(
            &self
                .call(subjects::AGENTS, request, ENDPOINT_TIMEOUT)
                .await?,
        )
    }

    /// The id of the run that somebody means.
    ///
    /// # Errors
    /// `SW-RUN-UNKNOWN` or `SW-RUN-AMBIGUOUS`.
    pub async fn resolve(&self, run: &RunRef) -> Result<RunId, ClientError> {
        if let RunRef::Id(run) = run {
            return Ok(*run);
        }
        let body = RunRequestBody {
            run: run.to_string(),
            wait: None,
            reason: None,
        };
        let reply = self
            .call_raw(subjects::RESULT, &body, ENDPOINT_TIMEOUT)
            .await?;
        if let Some(run) = reply.header(headers::RUN_ID).and_then(RunId::parse) {
            return Ok(run);
        }
        // An open run is an error of `result` that names it.
        if let Ok(open) = serde_json::from_slice::<OpenError>(reply.payload()) {
            return Ok(open.run);
        }
        Err(ClientError::Service(service_error(&reply).unwrap_or_else(
            || ErrorBody::new(Code::Internal, "the answer names no run"),
        )))
    }

    async fn call(
        &self,
        endpoint: &str,
        body: &impl serde::Serialize,
        timeout: Duration,
    ) -> Result<Incoming, ClientError> {
        let reply = self.call_raw(endpoint, body, timeout).await?;
        match service_error(&reply) {
            Some(error) => Err(ClientError::Service(error)),
            None => Ok(reply),
        }
    }

    async fn call_raw(
        &self,
        endpoint: &str,
        body: &impl serde::Serialize,
        timeout: Duration,
    ) -> Result<Incoming, ClientError> {
        let message = Outgoing::json(endpoint, body, TraceParent::root())
            .map_err(|error| ClientError::Garbled(error.to_string()))?;
        self.bus
            .request(message, timeout)
            .await
            .map_err(ClientError::NoCoordinator)
    }
}

fn service_error(reply: &Incoming) -> Option<ErrorBody> {
    let line = reply.header(headers::ERROR)?;
    reply.header(headers::ERROR_CODE)?;
    let body = serde_json::from_slice(reply.payload()).ok();
    Some(body.unwrap_or_else(|| ErrorBody::new(Code::Internal, line)))
}

fn read<T: serde::de::DeserializeOwned>(reply: &Incoming) -> Result<T, ClientError> {
    serde_json::from_slice(reply.payload()).map_err(|error| ClientError::Garbled(error.to_string()))
}
