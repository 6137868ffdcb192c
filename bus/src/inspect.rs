//! Looking at a server without changing it: how its topology differs from what it should be, and what time it has.

use std::time::Duration;

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

/// How this machine's clock stands to the server's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    /// How far they are apart, at least.
    pub apart: Duration,
    /// Whether this machine's is the later one.
    pub ahead: bool,
}

impl Clock {
    /// Clocks that are less apart are in step: deadlines are seconds and minutes.
    const TOLERANCE: Duration = Duration::from_secs(2);

    /// Compares the server's time with this machine's before it was asked and after it answered: somewhere between these
    /// it was, and that is nobody's fault.
    #[must_use]
    pub fn compare(before: Timestamp, server: Timestamp, after: Timestamp) -> Self {
        let (ahead, behind) = (before.since(server), server.since(after));
        Self {
            apart: ahead.max(behind),
            ahead: ahead > behind,
        }
    }

    /// Whether the difference is worth no word.
    #[must_use]
    pub fn is_in_step(self) -> bool {
        self.apart <= Self::TOLERANCE
    }
}

impl std::fmt::Display for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let how = if self.ahead { "ahead of" } else { "behind" };
        let apart = self.apart.as_secs();
        write!(
            f,
            "this machine's clock is {apart} s {how} the NATS server's: deadlines come too early or too late"
        )
    }
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

    /// How this machine's clock stands to the server's; nothing before a coordinator has made the inbox.
    ///
    /// # Errors
    /// See [`TopologyError`].
    pub async fn compare_clocks(&self) -> Result<Option<Clock>, TopologyError> {
        #[derive(Deserialize)]
        struct Info {
            ts: Timestamp,
        }
        let subject = format!("$JS.API.STREAM.INFO.{INBOX}");
        let before = Timestamp::now();
        match self.api::<Info>(&subject, &json!({}), INBOX).await {
            Ok(info) => Ok(Some(Clock::compare(before, info.ts, Timestamp::now()))),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_are_compared_with_the_whole_time_of_the_question() {
        let at = Timestamp::from_millis;
        let clock = |before, server, after| Clock::compare(at(before), at(server), at(after));
        let apart = |ms, ahead| Clock {
            apart: Duration::from_millis(ms),
            ahead,
        };
        assert_eq!(clock(1_000, 1_500, 9_000), apart(0, false));
        assert_eq!(clock(601_000, 1_000, 601_010), apart(600_000, true));
        assert_eq!(clock(1_000, 601_010, 1_010), apart(600_000, false));
        assert!(clock(3_000, 1_000, 3_000).is_in_step());
        assert!(!clock(3_001, 1_000, 3_001).is_in_step());
        assert_eq!(
            apart(600_400, true).to_string(),
            "this machine's clock is 600 s ahead of the NATS server's: deadlines come too early or too late"
        );
    }
}
