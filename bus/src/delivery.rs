//! A message that a consumer handed over, together with the duty to settle it.

use std::time::Duration;

use bytes::Bytes;
use swarm_protocol::dead::{Dead, Origin};
use swarm_protocol::trace::TraceParent;
use swarm_protocol::{ErrorBody, RunId, TaskId, Timestamp};

use crate::alive::KeptAlive;
use crate::connection::Bus;
use crate::message::{Incoming, Outgoing};
use crate::publish::PublishError;

/// A delivery that is dropped comes back after this pause.
const DROPPED_PAUSE: Duration = Duration::from_secs(2);

/// One hand-over of a stored message.
///
/// Settle it by [`ack`](Self::ack), [`retry`](Self::retry), [`dead_letter`](Self::dead_letter) or
/// [`abandon`](Self::abandon); a dropped one is given back with a pause.
#[must_use = "an unsettled delivery comes back"]
#[derive(Debug)]
pub struct Delivery {
    bus: Bus,
    message: Incoming,
    position: Position,
    ack_subject: Option<String>,
    progress: Option<KeptAlive>,
}

/// Where a delivery stands in its stream and consumer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The stream.
    pub stream: String,
    /// The consumer.
    pub consumer: String,
    /// Sequence in the stream.
    pub seq: u64,
    /// Which hand-over this is, from 1.
    pub delivery: u64,
    /// When the message was stored, by the server's clock.
    pub stored_at: Timestamp,
}

/// What a dead letter says about the work it was.
#[derive(Debug, Clone, Default)]
pub struct DeadContext {
    /// The run.
    pub run: Option<RunId>,
    /// The task.
    pub task: Option<TaskId>,
    /// The attempt.
    pub attempt: Option<u32>,
}

impl Delivery {
    /// Nothing when the message is none of a consumer.
    pub(crate) fn new(bus: Bus, message: Incoming) -> Option<Self> {
        let ack_subject = message.reply()?.to_owned();
        let position = parse_ack_subject(&ack_subject)?;
        Some(Self {
            bus,
            message,
            position,
            ack_subject: Some(ack_subject),
            progress: None,
        })
    }

    /// Where it stands.
    #[must_use]
    pub fn position(&self) -> &Position {
        &self.position
    }

    /// The message's subject.
    #[must_use]
    pub fn subject(&self) -> &str {
        self.message.subject()
    }

    /// The message's payload.
    #[must_use]
    pub fn payload(&self) -> &Bytes {
        self.message.payload()
    }

    /// A header's first value.
    #[must_use]
    pub fn header(&self, name: &'static str) -> Option<&str> {
        self.message.header(name)
    }

    /// The message's trace.
    #[must_use]
    pub fn trace(&self) -> TraceParent {
        self.message.trace()
    }

    /// Tells the server every `period` that this is being worked on, until it is settled.
    pub fn keep_alive(&mut self, period: Duration) {
        let subject = self.ack_subject.clone();
        self.progress = subject.map(|subject| self.bus.keep_alive(subject, period));
    }

    /// It is done: the server forgets it.
    pub async fn ack(mut self) {
        self.settle("+ACK".to_owned()).await;
    }

    /// It comes back after a pause, to whoever is free.
    pub async fn retry(mut self, after: Duration) {
        self.settle(nak(after)).await;
    }

    /// Neither done nor given back: another delivery of it is at work.
    pub fn abandon(mut self) {
        self.ack_subject = None;
    }

    /// Sets it aside: the letter is stored first, then the server forgets the message.
    ///
    /// # Errors
    /// When the letter was not stored; the message then comes back.
    pub async fn dead_letter(
        self,
        subject: String,
        error: &ErrorBody,
        context: DeadContext,
    ) -> Result<(), PublishError> {
        self.store_letter(subject, error, context).await?;
        self.ack().await;
        Ok(())
    }

    /// Stores a dead letter about it, once however often, and leaves it unsettled.
    ///
    /// # Errors
    /// When the letter was not stored.
    pub async fn store_letter(
        &self,
        subject: String,
        error: &ErrorBody,
        context: DeadContext,
    ) -> Result<(), PublishError> {
        let Position { stream, seq, .. } = self.position.clone();
        let DeadContext { run, task, attempt } = context;
        let origin = Origin {
            subject: self.subject().to_owned(),
            stream,
            seq,
            run,
            task,
            attempt,
        };
        let id = format!("dead:{}:{}", origin.stream, origin.seq);
        let letter = Dead::new(Timestamp::now(), error, origin, self.payload());
        match Outgoing::json(subject, &letter, self.trace()) {
            Ok(message) => self.bus.store(message.message_id(id)).await.map(drop),
            Err(error) => {
                tracing::error!(%error, "a dead letter could not be written as JSON");
                Ok(())
            }
        }
    }

    async fn settle(&mut self, word: String) {
        self.progress = None;
        let Some(subject) = self.ack_subject.take() else {
            return;
        };
        // Not confirmed: an ack that is lost only makes the message come back, and its work is known to be done.
        if let Err(error) = self.bus.say(subject, word).await {
            tracing::warn!(%error, "a delivery was not settled; it will come back");
        }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        self.progress = None;
        let (Some(subject), Ok(runtime)) = (
            self.ack_subject.take(),
            tokio::runtime::Handle::try_current(),
        ) else {
            return;
        };
        let bus = self.bus.clone();
        runtime.spawn(async move {
            if let Err(error) = bus.say(subject, nak(DROPPED_PAUSE)).await {
                tracing::debug!(%error, "a dropped delivery was not given back");
            }
        });
    }
}

fn nak(after: Duration) -> String {
    // Without a delay the server hands the message out again at once, and failing work would spin.
    format!(
        "-NAK {{\"delay\": {}}}",
        after.max(Duration::from_millis(1)).as_nanos()
    )
}

/// Reads `$JS.ACK.<stream>.<consumer>.<delivered>.<seq>.<consumer seq>.<time>.<pending>`, with domain and account before the
/// stream in the second form (ADR-15).
fn parse_ack_subject(subject: &str) -> Option<Position> {
    let tokens: Vec<&str> = subject.split('.').collect();
    let fields = match tokens.as_slice() {
        ["$JS", "ACK", fields @ ..] if fields.len() == 7 => fields,
        ["$JS", "ACK", _domain, _account, fields @ ..] if fields.len() >= 7 => fields,
        _ => return None,
    };
    let [stream, consumer, delivered, seq, _consumer_seq, time, ..] = fields else {
        return None;
    };
    let nanoseconds: i64 = time.parse().ok()?;
    Some(Position {
        stream: (*stream).to_owned(),
        consumer: (*consumer).to_owned(),
        seq: seq.parse().ok()?,
        delivery: delivered.parse().ok()?,
        stored_at: Timestamp::from_millis(nanoseconds / 1_000_000),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_the_ack_subject_are_read() {
        let expected = Position {
            stream: "SWARM_WORK".into(),
            consumer: "research_agent".into(),
            seq: 35,
            delivery: 2,
            stored_at: Timestamp::from_millis(1_700_000_000_123),
        };
        let first = "$JS.ACK.SWARM_WORK.research_agent.2.35.36.1700000000123000000.4";
        let second = "$JS.ACK.hub.acc.SWARM_WORK.research_agent.2.35.36.1700000000123000000.4.rnd";
        assert_eq!(parse_ack_subject(first), Some(expected.clone()));
        assert_eq!(parse_ack_subject(second), Some(expected));
        assert_eq!(parse_ack_subject("_INBOX.a.b"), None);
    }

    #[test]
    fn a_nak_always_has_a_delay() {
        assert_eq!(nak(Duration::ZERO), r#"-NAK {"delay": 1000000}"#);
    }
}
