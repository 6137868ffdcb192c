//! How full streams are, and what waits in consumers.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{Value, json};
use swarm_protocol::AgentName;

use crate::connection::Bus;
use crate::topology::{RUNS, TopologyError, WORK};

/// How full a stream is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fill {
    /// The stream.
    pub stream: String,
    /// Its messages.
    pub messages: u64,
    /// Their size.
    pub bytes: u64,
    /// What it may hold; nothing when it has no bound.
    pub max_bytes: Option<u64>,
}

impl Fill {
    /// How full it is, in percent of what it may hold.
    #[must_use]
    pub fn percent(&self) -> u64 {
        self.max_bytes
            .map_or(0, |max| self.bytes.saturating_mul(100) / max.max(1))
    }
}

/// What waits in a durable consumer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub struct Backlog {
    /// Messages that nobody has taken.
    #[serde(rename = "num_pending")]
    pub pending: u64,
    /// Messages that somebody has and has not settled.
    #[serde(rename = "num_ack_pending")]
    pub unacknowledged: u64,
    /// Of those, messages that were delivered more than once.
    #[serde(rename = "num_redelivered")]
    pub redelivered: u64,
    /// Pull requests that wait: free workers.
    #[serde(rename = "num_waiting")]
    pub waiting_pulls: u64,
}

#[derive(Deserialize)]
struct Info {
    config: Config,
    state: State,
}

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    max_bytes: i64,
}

#[derive(Deserialize)]
struct State {
    messages: u64,
    bytes: u64,
}

impl Bus {
    /// How full a stream is.
    ///
    /// # Errors
    /// See [`TopologyError`].
    pub async fn fill(&self, stream: &str) -> Result<Fill, TopologyError> {
        let what = format!("stream {stream}");
        let info: Info = self
            .api(&format!("$JS.API.STREAM.INFO.{stream}"), &json!({}), &what)
            .await?;
        Ok(Fill {
            stream: stream.to_owned(),
            messages: info.state.messages,
            bytes: info.state.bytes,
            max_bytes: u64::try_from(info.config.max_bytes)
                .ok()
                .filter(|max| *max > 0),
        })
    }

    /// What waits in a consumer; nothing when there is no such consumer.
    ///
    /// # Errors
    /// See [`TopologyError`].
    pub async fn backlog(
        &self,
        stream: &str,
        consumer: &str,
    ) -> Result<Option<Backlog>, TopologyError> {
        let what = format!("consumer {consumer} of {stream}");
        let subject = format!("$JS.API.CONSUMER.INFO.{stream}.{consumer}");
        match self.api(&subject, &json!({}), &what).await {
            Ok(backlog) => Ok(Some(backlog)),
            Err(error) if error.is_missing() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes all messages on a subject of the runs, which may hold wildcards.
    ///
    /// # Errors
    /// See [`TopologyError`].
    pub async fn purge_runs(&self, subject: &str) -> Result<(), TopologyError> {
        self.purge(RUNS, subject).await
    }

    pub(crate) async fn purge(&self, stream: &str, subject: &str) -> Result<(), TopologyError> {
        let request = json!({ "filter": subject });
        let what = format!("purge of {subject}");
        let _purged: Value = self
            .api(&format!("$JS.API.STREAM.PURGE.{stream}"), &request, &what)
            .await?;
        Ok(())
    }

    /// The subjects of a stream's messages that a filter takes, in their order.
    pub(crate) async fn subjects_of(
        &self,
        stream: &str,
        filter: &str,
    ) -> Result<Vec<String>, TopologyError> {
        #[derive(Deserialize)]
        struct Found {
            /// How many there are, of which an answer has a page.
            #[serde(default)]
            total: usize,
            state: Subjects,
        }
        #[derive(Deserialize)]
        struct Subjects {
            #[serde(default)]
            subjects: Option<BTreeMap<String, u64>>,
        }
        let what = format!("stream {stream}");
        let mut subjects = BTreeSet::new();
        loop {
            let request = json!({ "subjects_filter": filter, "offset": subjects.len() });
            let api = format!("$JS.API.STREAM.INFO.{stream}");
            let found: Found = self.api(&api, &request, &what).await?;
            let before = subjects.len();
            subjects.extend(found.state.subjects.unwrap_or_default().into_keys());
            if subjects.len() == before || subjects.len() >= found.total {
                return Ok(subjects.into_iter().collect());
            }
        }
    }

    /// What waits for an agent.
    ///
    /// # Errors
    /// See [`TopologyError`].
    pub async fn work_backlog(&self, agent: &AgentName) -> Result<Option<Backlog>, TopologyError> {
        self.backlog(WORK, agent.as_str()).await
    }
}
