//! Pulling from a durable consumer, without the gaps of timed fetches.

use std::time::Duration;

use serde_json::json;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::connection::{Bus, LAST_WORDS, RequestError};
use crate::delivery::Delivery;
use crate::message::{Incoming, Subscription};

/// A pull request waits this long at the server; the next one follows at once. Not longer: to a process that is stopped and not
/// dead, the server hands out messages again and again for as long as its request waits.
const EXPIRES: Duration = Duration::from_secs(10);

/// The server says this often that it still has the request.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// First pause before asking again after the server refused; it doubles up to the longest.
const REFUSED_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_REFUSED_PAUSE: Duration = Duration::from_secs(1);

/// A delivery that arrives while the puller closes goes to somebody else after this pause.
const STRAY_PAUSE: Duration = Duration::from_millis(10);

/// Pulls messages of one durable consumer.
#[derive(Debug)]
pub struct Puller {
    bus: Bus,
    subject: String,
    inbox: String,
    messages: Subscription,
    connections: watch::Receiver<u64>,
    /// Messages asked for and not yet here.
    outstanding: usize,
    heard: Instant,
    /// The last pause, while the server refuses.
    refused: Option<Duration>,
}

/// What an outstanding request brought.
#[allow(
    clippy::large_enum_variant,
    reason = "short-lived, and a delivery is the common case"
)]
enum Outcome {
    Delivered(Delivery),
    /// The request is over; another one may be made at once.
    Over,
    /// The server refused it.
    Refused(String),
    /// A sign of life.
    Alive,
}

impl Puller {
    /// A puller of `consumer` on `stream`; nothing is asked for yet.
    ///
    /// # Errors
    /// When the connection is closed.
    pub async fn open(bus: &Bus, stream: &str, consumer: &str) -> Result<Self, RequestError> {
        let inbox = bus.new_inbox();
        let messages = bus.subscribe(&inbox).await?;
        let mut connections = bus.connections.clone();
        connections.mark_unchanged();
        Ok(Self {
            bus: bus.clone(),
            subject: format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"),
            inbox,
            messages,
            connections,
            outstanding: 0,
            heard: Instant::now(),
            refused: None,
        })
    }

    /// The next delivery; asks for up to `batch` when nothing is outstanding. Cancel-safe.
    ///
    /// A caller that wants no more than `batch` at hand calls this with the number of its free slots.
    ///
    /// # Errors
    /// When the connection is closed for good.
    pub async fn next(&mut self, batch: usize) -> Result<Delivery, RequestError> {
        loop {
            if self.outstanding == 0 {
                self.request(batch.max(1)).await?;
            }
            let silence = self.heard + HEARTBEAT * 2 + Duration::from_secs(1);
            let incoming = tokio::select! {
                message = self.messages.next() => message.ok_or_else(|| self.closed())?,
                _ = self.connections.changed() => {
                    tracing::debug!(subject = self.subject, "asking again after a new connection");
                    self.outstanding = 0;
                    continue;
                }
                () = tokio::time::sleep_until(silence) => {
                    tracing::debug!(subject = self.subject, "the server is silent; asking again");
                    self.outstanding = 0;
                    continue;
                }
            };
            self.heard = Instant::now();
            match self.sort(incoming) {
                Outcome::Delivered(delivery) => {
                    self.outstanding = self.outstanding.saturating_sub(1);
                    self.refused = None;
                    return Ok(delivery);
                }
                Outcome::Alive => {}
                Outcome::Over => self.outstanding = 0,
                Outcome::Refused(reason) => {
                    let pause = self.refused.map_or(REFUSED_PAUSE, |pause| {
                        (pause * 2).min(LONGEST_REFUSED_PAUSE)
                    });
                    if pause == LONGEST_REFUSED_PAUSE && self.refused != Some(pause) {
                        tracing::warn!(
                            subject = self.subject,
                            reason,
                            "nothing can be pulled yet; trying on"
                        );
                    }
                    self.refused = Some(pause);
                    tokio::time::sleep(pause).await;
                    self.outstanding = 0;
                }
            }
        }
    }

    /// Messages asked for that have not come yet.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.outstanding
    }

    /// Takes nothing new, and gives back what was on its way.
    pub async fn close(self) {
        if tokio::time::timeout(LAST_WORDS, self.give_back())
            .await
            .is_err()
        {
            tracing::debug!("the server is away: what was on its way comes back by itself");
        }
    }

    async fn give_back(mut self) {
        self.messages.drain().await;
        while let Some(message) = self.messages.next().await {
            if let Outcome::Delivered(delivery) = self.sort(message) {
                delivery.retry(STRAY_PAUSE).await;
            }
        }
    }

    async fn request(&mut self, batch: usize) -> Result<(), RequestError> {
        let body = json!({
            "batch": batch,
            "expires": EXPIRES.as_nanos() as u64,
            "idle_heartbeat": HEARTBEAT.as_nanos() as u64,
        });
        self.bus
            .pull(&self.subject, &self.inbox, body.to_string())
            .await?;
        self.outstanding = batch;
        self.heard = Instant::now();
        Ok(())
    }

    fn sort(&self, message: Incoming) -> Outcome {
        match message.status() {
            // Whoever knows the inbox could write to it; only a consumer's message counts.
            None | Some(200) => {
                Delivery::new(self.bus.clone(), message).map_or(Outcome::Alive, Outcome::Delivered)
            }
            Some(100) => Outcome::Alive,
            Some(404 | 408) => Outcome::Over,
            Some(409) if message.description().contains("Leadership Change") => Outcome::Over,
            Some(409) if message.description().contains("Batch Completed") => Outcome::Over,
            Some(503) => Outcome::Refused("nobody serves the consumer yet".to_owned()),
            Some(status) => Outcome::Refused(format!("{status} {}", message.description())),
        }
    }

    fn closed(&self) -> RequestError {
        RequestError::NotSent {
            subject: self.subject.clone(),
            detail: "the connection is closed".to_owned(),
        }
    }
}
