//! Messages in and out, without the client library's types.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use async_nats::{HeaderMap, HeaderName};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use serde::Serialize;
use swarm_protocol::headers;
use swarm_protocol::trace::TraceParent;

use crate::read::Kind;

/// Most documents are smaller, in bytes: their payload grows once.
const USUAL_SIZE: usize = 1536;

/// A message to publish. It carries a `traceparent`, but for [`Outgoing::untraced`].
#[derive(Debug, Clone)]
pub struct Outgoing {
    pub(crate) subject: String,
    pub(crate) payload: Bytes,
    /// Few, and copied for every try of a message that must be stored: a map would cost more than it finds.
    headers: Vec<(&'static str, String)>,
}

impl Outgoing {
    /// A message of `payload`, caused by the span `trace`.
    pub fn new(subject: impl Into<String>, payload: impl Into<Bytes>, trace: TraceParent) -> Self {
        Self::untraced(subject, payload).header(headers::TRACEPARENT, trace)
    }

    /// A message of `payload` without a trace, passed on from somebody who had none: a submission, whose run makes its own.
    pub fn untraced(subject: impl Into<String>, payload: impl Into<Bytes>) -> Self {
        Self {
            subject: subject.into(),
            payload: payload.into(),
            headers: Vec::new(),
        }
    }

    /// A message of `document` as JSON.
    ///
    /// # Errors
    /// When the document cannot be written as JSON, which the wire types always can.
    pub fn json(
        subject: impl Into<String>,
        document: &impl Serialize,
        trace: TraceParent,
    ) -> Result<Self, serde_json::Error> {
        let mut payload = Vec::with_capacity(USUAL_SIZE);
        serde_json::to_writer(&mut payload, document)?;
        Ok(Self::new(subject, payload, trace))
    }

    /// The same message with a header; characters that a header cannot hold become spaces.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        let mut line = value.to_string();
        if !line.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            line = line.replace(char::is_control, " ");
        }
        match self.headers.iter_mut().find(|(known, _)| *known == name) {
            Some((_, value)) => *value = line,
            None => self.headers.push((name, line)),
        }
        self
    }

    /// The same message with an id by which the stream drops repetitions.
    #[must_use]
    pub fn message_id(self, id: impl fmt::Display) -> Self {
        self.header(headers::MESSAGE_ID, id)
    }

    /// The same message, stored only when the last one on `subject` (may hold wildcards) is `sequence`.
    #[must_use]
    pub fn expect_last(self, subject: impl fmt::Display, sequence: u64) -> Self {
        self.header(headers::EXPECTED_LAST, sequence)
            .header(headers::EXPECTED_LAST_SUBJECT, subject)
    }

    /// The subject it goes to.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Subject, headers and payload as the client library takes them.
    pub(crate) fn into_parts(self) -> (String, HeaderMap, Bytes) {
        let mut headers = HeaderMap::new();
        for (name, value) in self.headers {
            headers.insert(HeaderName::from_static(name), value);
        }
        (self.subject, headers, self.payload)
    }
}

/// A message that came in on a subscription, or as a reply.
#[derive(Debug, Clone)]
pub struct Incoming {
    inner: async_nats::Message,
}

impl Incoming {
    /// Its subject.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.inner.subject
    }

    /// Where an answer goes, as the sender wishes: check it with [`swarm_protocol::subjects::is_inbox`].
    #[must_use]
    pub fn reply(&self) -> Option<&str> {
        self.inner.reply.as_deref()
    }

    /// Its payload.
    #[must_use]
    pub fn payload(&self) -> &Bytes {
        &self.inner.payload
    }

    /// A header's first value.
    #[must_use]
    pub fn header(&self, name: &'static str) -> Option<&str> {
        self.inner
            .headers
            .as_ref()?
            .get(HeaderName::from_static(name))
            .map(async_nats::HeaderValue::as_str)
    }

    /// A header's last value.
    #[must_use]
    pub fn last_header(&self, name: &'static str) -> Option<&str> {
        let last = self.inner.headers.as_ref()?;
        let last = last.get_last(HeaderName::from_static(name));
        last.map(async_nats::HeaderValue::as_str)
    }

    /// What a message of the run stream is that came by direct get or republished: the server added its headers once.
    #[must_use]
    pub fn kind(&self) -> Kind {
        let all = self.inner.headers.as_ref();
        let copies = all.map_or(0, |all| all.get_all(headers::STREAM).count());
        Kind::of(
            self.header(headers::TRACEPARENT).is_some(),
            copies > 1,
            self.header(headers::SUMMARY).is_some(),
        )
    }

    /// Its trace.
    #[must_use]
    pub fn trace(&self) -> TraceParent {
        TraceParent::from_header(self.header(headers::TRACEPARENT))
    }

    /// The protocol status of a control message, such as 404 or 408.
    pub(crate) fn status(&self) -> Option<u16> {
        self.inner.status.map(|status| status.as_u16())
    }

    pub(crate) fn description(&self) -> &str {
        self.inner.description.as_deref().unwrap_or_default()
    }
}

impl From<async_nats::Message> for Incoming {
    fn from(inner: async_nats::Message) -> Self {
        Self { inner }
    }
}

/// Messages of one subject; ends when the connection is closed for good.
#[derive(Debug)]
pub struct Subscription {
    inner: async_nats::Subscriber,
}

impl Subscription {
    pub(crate) fn new(inner: async_nats::Subscriber) -> Self {
        Self { inner }
    }

    /// The next message.
    pub async fn next(&mut self) -> Option<Incoming> {
        self.inner.next().await.map(Incoming::from)
    }

    /// Takes no new message; what is on its way still comes, then the end.
    pub async fn drain(&mut self) {
        if let Err(error) = self.inner.drain().await {
            tracing::debug!(%error, "the subscription was already closed");
        }
    }
}

impl Stream for Subscription {
    type Item = Incoming;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Incoming>> {
        self.inner
            .poll_next_unpin(context)
            .map(|message| message.map(Incoming::from))
    }
}
