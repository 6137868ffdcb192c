//! Agent cards in the bucket `swarm_agents`: written by agents, watched by coordinators.

use swarm_protocol::card::{self, Card};
use swarm_protocol::trace::TraceParent;
use swarm_protocol::{AgentName, InstanceId};

use crate::connection::{Bus, RequestError};
use crate::message::Outgoing;
use crate::topology::{AGENTS_BUCKET, AGENTS_STREAM};
use crate::watch::{Content, Watch, WatchError, Watched};

/// A change of the bucket.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// An instance wrote its card.
    Put(Box<Card>),
    /// An instance is gone: its key.
    Gone(String),
}

impl Bus {
    /// Writes a card. Not confirmed: the next heartbeat writes it again.
    ///
    /// # Errors
    /// When the card is larger than the server takes.
    pub async fn put_card(&self, card: &Card) -> Result<(), RequestError> {
        let subject = format!("$KV.{AGENTS_BUCKET}.{}", card.key());
        match Outgoing::json(&subject, card, TraceParent::root()) {
            Ok(message) => self.send_now(message).await,
            Err(error) => Err(RequestError::NotSent {
                subject,
                detail: error.to_string(),
            }),
        }
    }

    /// Removes a card, at the end of an instance.
    ///
    /// # Errors
    /// None in practice.
    pub async fn remove_card(
        &self,
        agent: &AgentName,
        instance: &InstanceId,
    ) -> Result<(), RequestError> {
        let subject = format!("$KV.{AGENTS_BUCKET}.{}", card::key(agent, instance));
        let removal = Outgoing::new(subject, "", TraceParent::root()).header("KV-Operation", "DEL");
        self.send_now(removal).await
    }

    /// Watches all cards.
    ///
    /// # Errors
    /// When the bucket is not there.
    pub async fn watch_cards(&self) -> Result<Watch, WatchError> {
        self.watch(
            AGENTS_STREAM,
            &format!("$KV.{AGENTS_BUCKET}.>"),
            Content::Whole,
        )
        .await
    }
}

/// What a message of [`Bus::watch_cards`] says; nothing when it is no card.
#[must_use]
pub fn read_change(watched: &Watched) -> Option<Change> {
    let message = &watched.message;
    let key = message
        .subject()
        .strip_prefix("$KV.")?
        .strip_prefix(AGENTS_BUCKET)?
        .strip_prefix('.')?;
    // Deleted by hand (KV-Operation), or by age: the server's marker says so in Nats-Marker-Reason (ADR-43).
    let gone =
        message.header("KV-Operation").is_some() || message.header("Nats-Marker-Reason").is_some();
    if gone {
        return Some(Change::Gone(key.to_owned()));
    }
    match serde_json::from_slice::<Card>(message.payload()) {
        Ok(card) if card.key() == key => Some(Change::Put(Box::new(card))),
        Ok(_) => None,
        Err(error) => {
            tracing::warn!(key, %error, "a card is not understood");
            None
        }
    }
}
