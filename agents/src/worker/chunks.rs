//! The chunks of one delivery: pieces of up to 50 ms, merged.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use swarm_bus::{Bus, Outgoing};
use swarm_protocol::Version;
use swarm_protocol::chunk::{Chunk, Kind};
use swarm_protocol::trace::TraceParent;
use tokio::time::Instant;

/// Pieces that come within this time travel together.
const MERGE: Duration = Duration::from_millis(50);

/// Writes the chunks of one delivery.
#[derive(Debug)]
pub(super) struct ChunkWriter {
    bus: Bus,
    subject: String,
    trace: TraceParent,
    attempt: u32,
    delivery: u64,
    seq: u64,
    pending: Option<(Kind, String)>,
    due: Instant,
}

impl ChunkWriter {
    pub(super) fn new(
        bus: &Bus,
        subject: String,
        trace: TraceParent,
        attempt: u32,
        delivery: u64,
    ) -> Self {
        Self {
            bus: bus.clone(),
            subject,
            trace,
            attempt,
            delivery,
            seq: 0,
            pending: None,
            due: Instant::now(),
        }
    }

    /// When [`flush`](Self::flush) is due, if anything waits.
    pub(super) fn due(&self) -> Option<Instant> {
        self.pending.as_ref().map(|_| self.due)
    }

    /// Takes a piece. The first one after a pause leaves soon, later ones join those that wait.
    pub(super) async fn push(&mut self, kind: Kind, text: &str) {
        if text.is_empty() {
            return;
        }
        match &mut self.pending {
            Some((pending, merged)) if *pending == kind => merged.push_str(text),
            Some(_) => {
                self.flush().await;
                self.pending = Some((kind, text.to_owned()));
            }
            None => self.pending = Some((kind, text.to_owned())),
        }
        if Instant::now() >= self.due {
            self.flush().await;
        }
    }

    /// Sends what waits. Nobody confirms chunks: whoever missed one sees the gap in `seq`, and the answer comes whole.
    pub(super) async fn flush(&mut self) {
        let Some((kind, text)) = self.pending.take() else {
            return;
        };
        self.due = Instant::now() + MERGE;
        self.send(kind, Value::String(text)).await;
    }

    /// Says what the task is doing.
    pub(super) async fn say(&mut self, what: &str) {
        self.flush().await;
        self.send(Kind::Status, Value::String(what.to_owned()))
            .await;
    }

    /// Shows a call or a result.
    pub(super) async fn show(&mut self, kind: Kind, document: &impl Serialize) {
        self.flush().await;
        match serde_json::to_value(document) {
            Ok(value) => self.send(kind, value).await,
            Err(error) => tracing::debug!(%error, "a chunk was not written"),
        }
    }

    async fn send(&mut self, kind: Kind, data: Value) {
        self.seq += 1;
        let (attempt, delivery, seq) = (self.attempt, self.delivery, self.seq);
        let chunk = Chunk {
            v: Version,
            attempt,
            delivery,
            seq,
            kind,
            data,
        };
        let sent = match Outgoing::json(&self.subject, &chunk, self.trace) {
            Ok(message) => self
                .bus
                .send_now(message)
                .await
                .map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = sent {
            tracing::debug!(error, "a chunk was not sent");
        }
    }
}
