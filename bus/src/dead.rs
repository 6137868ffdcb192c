//! Dead letters as they are stored: listed, shown, dropped.

use serde::Deserialize;
use serde_json::{Value, json};
use swarm_protocol::dead::{Dead, Origin};
use swarm_protocol::{Code, ErrorBody, Timestamp};

use crate::connection::Bus;
use crate::read::{ReadError, StoredMessage};
use crate::topology::{DEAD, TopologyError};

/// A dead letter, named by its sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// Its sequence in SWARM_DEAD.
    pub id: u64,
    /// The subject that it was published on, which its origin ought to agree with.
    pub subject: String,
    /// What it says.
    pub dead: Dead,
}

impl Letter {
    /// Somebody else may have published on the subject: that is shown as it is.
    fn read(message: &StoredMessage) -> Self {
        let foreign = |error: &serde_json::Error| {
            let reason = format!("this is no dead letter: {error}");
            let origin = Origin {
                subject: message.subject.clone(),
                stream: DEAD.to_owned(),
                seq: message.seq,
                run: None,
                task: None,
                attempt: None,
            };
            let error = ErrorBody::new(Code::Undecodable, reason);
            Dead::new(Timestamp::now(), &error, origin, &message.payload)
        };
        Self {
            id: message.seq,
            subject: message.subject.clone(),
            dead: serde_json::from_slice(&message.payload).unwrap_or_else(|error| foreign(&error)),
        }
    }
}

#[derive(Deserialize)]
struct Info {
    state: Bounds,
}

#[derive(Deserialize)]
struct Bounds {
    first_seq: u64,
    last_seq: u64,
}

/// Why dead letters cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum DeadError {
    /// They cannot be read.
    #[error("the dead letters cannot be read")]
    Read(#[from] ReadError),
    /// The server refused.
    #[error(transparent)]
    Server(#[from] TopologyError),
}

impl Bus {
    /// The newest dead letters, newest first, before this one, so many at most.
    ///
    /// # Errors
    /// See [`DeadError`].
    pub async fn dead_letters(
        &self,
        before: Option<u64>,
        most: usize,
    ) -> Result<Vec<Letter>, DeadError> {
        let Bounds {
            first_seq,
            last_seq,
        } = self.bounds_of_dead().await?;
        let mut end = before.unwrap_or(u64::MAX).min(last_seq.saturating_add(1));
        let mut found = Vec::new();
        // Windows from the end on: those that were dropped leave gaps.
        let window = u64::try_from(most.max(1)).unwrap_or(u64::MAX);
        while found.len() < most && end > first_seq {
            let begin = end.saturating_sub(window).max(first_seq);
            let read = self.read_window(DEAD, ">", begin, end).await?;
            found.extend(read.iter().rev().map(Letter::read));
            end = begin;
        }
        found.truncate(most);
        Ok(found)
    }

    /// A dead letter; nothing when it was dropped or never was.
    ///
    /// # Errors
    /// See [`DeadError`].
    pub async fn dead_letter(&self, id: u64) -> Result<Option<Letter>, DeadError> {
        let read = self
            .read_window(DEAD, ">", id, id.saturating_add(1))
            .await?;
        Ok(read.first().map(Letter::read))
    }

    /// Whether there has ever been a dead letter of this name.
    ///
    /// # Errors
    /// See [`DeadError`].
    pub async fn had_dead_letter(&self, id: u64) -> Result<bool, DeadError> {
        let bounds = self.bounds_of_dead().await?;
        Ok((1..=bounds.last_seq).contains(&id))
    }

    /// Removes a dead letter; one that is gone is no error.
    ///
    /// # Errors
    /// See [`DeadError`].
    pub async fn drop_dead_letter(&self, id: u64) -> Result<(), DeadError> {
        let subject = format!("$JS.API.STREAM.MSG.DELETE.{DEAD}");
        let what = format!("dead letter {id}");
        let request = json!({ "seq": id, "no_erase": true });
        match self.api::<Value>(&subject, &request, &what).await {
            Ok(_) => Ok(()),
            // The server has no code of its own for what is gone already (nats-server `server/errors.json`, 10057).
            Err(error) => match self.dead_letter(id).await? {
                None => Ok(()),
                Some(_) => Err(error.into()),
            },
        }
    }

    async fn bounds_of_dead(&self) -> Result<Bounds, TopologyError> {
        let subject = format!("$JS.API.STREAM.INFO.{DEAD}");
        let info: Info = self.api(&subject, &json!({}), DEAD).await?;
        Ok(info.state)
    }
}
