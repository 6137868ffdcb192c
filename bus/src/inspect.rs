//! Looking at a server without changing it: how its topology differs from what it should be, and what time it has.

use serde::Deserialize;
use serde_json::{Map, Value, json};
use swarm_protocol::{AgentName, Timestamp};

use crate::connection::Bus;
use crate::topology::{
    Consumer, INBOX, Settings, TopologyError, coordinator_consumers, differences, foreign_subjects,
    streams, work_consumer,
};

/// How a server's topology differs from what it should be.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Drift {
    /// Streams and consumers that are not there; a coordinator makes them.
    pub missing: Vec<String>,
    /// Streams and consumers whose settings differ, one line each.
    pub differing: Vec<String>,
}

#[derive(Deserialize)]
struct Info {
    config: Map<String, Value>,
}

impl Bus {
    /// Compares streams, buckets and consumers with what they should be.
    ///
    /// # Errors
    /// See [`TopologyError`].
    pub async fn compare_topology(
        &self,
        settings: &Settings,
        agents: &[AgentName],
    ) -> Result<Drift, TopologyError> {
        let mut drift = Drift::default();
        for stream in streams(settings) {
            let what = format!("stream {}", stream.name);
            let subject = format!("$JS.API.STREAM.INFO.{}", stream.name);
            let Some(actual) = self.configuration(&subject, &what).await? else {
                drift.missing.push(what);
                continue;
            };
            if let Some(subjects) = foreign_subjects(&stream.config, &actual) {
                let name = stream.name;
                return Err(TopologyError::Foreign { name, subjects });
            }
            drift.note(what, &differences(&stream.config, &actual));
        }
        let work = agents.iter().map(|agent| work_consumer(agent, settings));
        for consumer in coordinator_consumers().into_iter().chain(work) {
            let Consumer {
                stream,
                name,
                config,
                ..
            } = consumer;
            let what = format!("consumer {name} of {stream}");
            let subject = format!("$JS.API.CONSUMER.INFO.{stream}.{name}");
            match self.configuration(&subject, &what).await? {
                None => drift.missing.push(what),
                Some(actual) => drift.note(what, &differences(&config, &actual)),
            }
        }
        Ok(drift)
    }

    /// The server's clock; nothing before a coordinator has made the inbox.
    ///
    /// # Errors
    /// See [`TopologyError`].
    pub async fn server_time(&self) -> Result<Option<Timestamp>, TopologyError> {
        #[derive(Deserialize)]
        struct Info {
            ts: Timestamp,
        }
        let subject = format!("$JS.API.STREAM.INFO.{INBOX}");
        match self.api::<Info>(&subject, &json!({}), INBOX).await {
            Ok(info) => Ok(Some(info.ts)),
            Err(error) if error.is_missing() => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn configuration(
        &self,
        subject: &str,
        what: &str,
    ) -> Result<Option<Map<String, Value>>, TopologyError> {
        match self.api::<Info>(subject, &json!({}), what).await {
            Ok(info) => Ok(Some(info.config)),
            Err(error) if error.is_missing() => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Drift {
    fn note(&mut self, what: String, differences: &[String]) {
        if !differences.is_empty() {
            self.differing
                .push(format!("{what}: {}", differences.join(", ")));
        }
    }
}
