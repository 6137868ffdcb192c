//! The streams, buckets and consumers of Swarm, as data, and how they are brought about.
//!
//! Only the coordinator applies it. A create that finds something does not compare it, so everything is read back and
//! compared here; what may not be changed in place is reported as drift.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use swarm_protocol::{AgentName, limits, subjects};
use uuid::Uuid;

use crate::api::{self, ApiError};
use crate::connection::{Bus, RequestError};

/// The inbox of submissions.
pub const INBOX: &str = "SWARM_INBOX";
/// Run logs and journals.
pub const RUNS: &str = "SWARM_RUNS";
/// Attempts on their way to agents.
pub const WORK: &str = "SWARM_WORK";
/// Dead letters.
pub const DEAD: &str = "SWARM_DEAD";
/// The bucket of agent cards.
pub const AGENTS_BUCKET: &str = "swarm_agents";
/// The stream of that bucket.
pub const AGENTS_STREAM: &str = "KV_swarm_agents";
/// Every stream, those of buckets among them.
pub const STREAMS: [&str; 5] = [INBOX, RUNS, WORK, DEAD, AGENTS_STREAM];

/// The coordinators' consumer on the inbox.
pub const SUBMIT_CONSUMER: &str = "submit";
/// The coordinators' consumer on journals.
pub const JOURNAL_CONSUMER: &str = "journal";

/// How often an instance writes its card.
pub const HEARTBEAT: Duration = Duration::from_secs(5);

/// A delivery that a coordinator has worked on for so long without a sign of life is delivered again.
const ACK_WAIT: Duration = Duration::from_secs(5);

/// How often a coordinator says that it still works on a delivery.
pub const SIGN_OF_LIFE: Duration = Duration::from_millis(1500);

const MIB: u64 = 1024 * 1024;
const DAY: Duration = Duration::from_secs(24 * 3600);

/// What of the topology is configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Replicas of every stream.
    pub replicas: u32,
    /// How long runs are kept.
    pub retention: Duration,
    /// How long an agent may be silent about an attempt before another one gets it.
    pub work_ack_wait: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            replicas: 1,
            retention: 30 * DAY,
            work_ack_wait: Duration::from_secs(30),
        }
    }
}

/// A stream as it should be: name and the fields that matter, in the server's own words.
#[derive(Debug, Clone)]
pub struct Stream {
    /// Its name.
    pub name: &'static str,
    /// What it holds, and why it is set so.
    pub reason: &'static str,
    /// Its configuration (nats-server `server/stream.go`, StreamConfig).
    pub config: Value,
}

/// A durable consumer as it should be.
#[derive(Debug, Clone)]
pub struct Consumer {
    /// Its stream.
    pub stream: &'static str,
    /// Its name.
    pub name: String,
    /// Who shares it, and why it is set so.
    pub reason: &'static str,
    /// Its configuration (nats-server `server/consumer.go`, ConsumerConfig).
    pub config: Value,
}

/// Every stream and bucket. `max_bytes` reserves: the sum stays under 80 % of `max_file_store` in `nats.conf`.
#[must_use]
pub fn streams(settings: &Settings) -> Vec<Stream> {
    let nanos = |span: Duration| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
    let replicas = settings.replicas;
    let stream = |name: &'static str, reason: &'static str, config: Value| {
        let mut base = json!({ "name": name, "storage": "file", "num_replicas": replicas });
        merge(&mut base, config);
        Stream {
            name,
            reason,
            config: base,
        }
    };
    vec![
        stream(
            INBOX,
            "Submissions until a coordinator has made a run of them. A work queue: a taken submission frees its room. Full, it refuses new ones, so that nobody holds a ticket for something that was thrown away. A submission that is sent again with the same `Nats-Msg-Id` inside `duplicate_window` gets the first ticket. Its metadata hold `swarm_id`, made at creation: run ids are derived from it, so that two stores never share one.",
            json!({
                "subjects": [subjects::SUBMIT, subjects::SUBMIT_TARGET],
                "retention": "workqueue", "discard": "new", "max_bytes": 1024 * MIB,
                "duplicate_window": nanos(Duration::from_secs(600)),
            }),
        ),
        stream(
            RUNS,
            "Run logs and task journals: all that has happened. The server forgets runs by itself after `max_age`, which is `runs.retention`. It copies every event, as stored, to `swarm.event.<run>`, for nobody may subscribe to the stream's own subjects: who does sees refused appends too. `allow_direct` lets clients read a log without a consumer; `allow_rollup_hdrs` lets a deletion replace a log by one event.",
            json!({
                "subjects": [subjects::RUN_LOGS, subjects::JOURNALS],
                "retention": "limits", "discard": "new", "max_bytes": 4096 * MIB,
                "max_age": nanos(settings.retention), "max_msg_size": limits::MAX_RUN_MESSAGE, "allow_direct": true,
                "allow_rollup_hdrs": true,
                "republish": { "src": subjects::RUN_LOGS, "dest": subjects::EVENT_REPUBLISH },
                "duplicate_window": nanos(Duration::from_secs(120).min(settings.retention)),
            }),
        ),
        stream(
            WORK,
            "Attempts until the worker that took them has ended them. A work queue with one consumer per agent. `duplicate_window` makes a dispatch that is published again the same one.",
            json!({
                "subjects": [subjects::ALL_WORK],
                "retention": "workqueue", "discard": "new", "max_bytes": 1024 * MIB,
                "duplicate_window": nanos(Duration::from_secs(600)),
            }),
        ),
        stream(
            DEAD,
            "What could not be read or handled, with the reason. The one stream that drops its oldest messages when it is full: a dead letter that cannot be stored would come back for ever.",
            json!({
                "subjects": [subjects::ALL_DEAD],
                "retention": "limits", "discard": "old", "max_bytes": 256 * MIB, "max_age": nanos(30 * DAY),
                "duplicate_window": nanos(Duration::from_secs(600)), "allow_direct": true,
            }),
        ),
        stream(
            AGENTS_STREAM,
            "The bucket `swarm_agents`: the cards of live agent instances. A card that is not written again for three heartbeats is dropped by the server, whose delete marker tells the watchers. Not synced for each message when it has one copy (`persist_mode: async`, set at creation): a lost card is written again.",
            json!({
                "subjects": [format!("$KV.{AGENTS_BUCKET}.>")],
                "retention": "limits", "discard": "new", "max_bytes": 64 * MIB, "max_msgs_per_subject": 1,
                "max_age": nanos(HEARTBEAT * 3), "duplicate_window": nanos(HEARTBEAT * 3),
                "subject_delete_marker_ttl": nanos(HEARTBEAT * 3), "allow_rollup_hdrs": true, "deny_delete": true,
                "allow_direct": true, "allow_msg_ttl": true,
            }),
        ),
    ]
}

/// The coordinators' consumers.
#[must_use]
pub fn coordinator_consumers() -> Vec<Consumer> {
    let config = |name: &str, filters: &[&str]| {
        json!({
            "durable_name": name, "filter_subjects": filters, "ack_policy": "explicit", "deliver_policy": "all",
            "ack_wait": ACK_WAIT.as_nanos() as u64, "max_deliver": -1, "max_ack_pending": 10_000,
        })
    };
    let inbox = [subjects::SUBMIT, subjects::SUBMIT_TARGET];
    let journal = [subjects::JOURNAL_MESSAGES, subjects::JOURNAL_ENDS];
    vec![
        Consumer {
            stream: INBOX,
            name: SUBMIT_CONSUMER.to_owned(),
            reason: "All coordinators share it. One that dies has its submissions delivered to another one after `ack_wait`.",
            config: config(SUBMIT_CONSUMER, &inbox),
        },
        Consumer {
            stream: RUNS,
            name: JOURNAL_CONSUMER.to_owned(),
            reason: "All coordinators share it: the ends of attempts, and what else a run has to decide on.",
            config: config(JOURNAL_CONSUMER, &journal),
        },
    ]
}

/// The consumer that all instances of an agent share.
#[must_use]
pub fn work_consumer(agent: &AgentName, settings: &Settings) -> Consumer {
    let config = json!({
        "durable_name": agent, "filter_subject": subjects::work(agent), "ack_policy": "explicit", "deliver_policy": "all",
        "ack_wait": settings.work_ack_wait.as_nanos() as u64, "max_deliver": -1, "max_ack_pending": 10_000,
    });
    Consumer {
        stream: WORK,
        name: agent.to_string(),
        reason: "All instances of an agent share it; each pulls one attempt per free slot. A worker says every 10 s that it is alive, and a silent one loses its work after `ack_wait` (`nats.work_ack_wait`). Deliveries are counted by Swarm, so `max_deliver` has no limit.",
        config,
    }
}

/// Why the topology could not be applied.
#[derive(Debug, thiserror::Error)]
pub enum TopologyError {
    /// The server does not answer.
    #[error("the NATS server does not answer")]
    Request(#[source] RequestError),
    /// The server refused.
    #[error("{what} was refused by the NATS server")]
    Refused {
        /// The stream or consumer.
        what: String,
        /// The server's words.
        #[source]
        error: ApiError,
    },
    /// Somebody else's stream has the name of one of ours.
    #[error(
        "the stream {name} on the NATS server is not Swarm's (its subjects are {subjects}): rename or remove it, `nats stream rm {name}`, or use another server or account"
    )]
    Foreign {
        /// The stream.
        name: &'static str,
        /// What it captures.
        subjects: String,
    },
    /// The store is too small for what a stream reserves.
    #[error(
        "the NATS server has no room for the {what} ({error}): Swarm reserves {} MiB in all, raise max_file_store in the server's configuration, or the storage of the account",
        reserved()
    )]
    NoRoom {
        /// The stream.
        what: String,
        /// The server's words.
        error: ApiError,
    },
    /// An answer that is not understood.
    #[error("the NATS server's answer about {what} is not understood: {detail}")]
    Garbled {
        /// The stream or consumer.
        what: String,
        /// Why.
        detail: String,
    },
}

impl TopologyError {
    /// Whether there is no such stream or consumer.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Refused { error, .. }
            if [api::STREAM_NOT_FOUND, api::CONSUMER_NOT_FOUND].contains(&error.err_code))
    }
}

/// What was found and done.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Report {
    /// Made.
    pub created: Vec<String>,
    /// Brought up to date.
    pub updated: Vec<String>,
    /// Different, and not to be changed in place: one line each.
    pub drift: Vec<String>,
}

#[derive(Deserialize)]
struct Info {
    config: Map<String, Value>,
}

enum Applied {
    Created,
    Updated,
    Same,
    Drifted(String),
}

impl Bus {
    /// Brings streams, buckets and the coordinators' consumers about, and says what differed. The swarm's id.
    ///
    /// # Errors
    /// See [`TopologyError`].
    pub async fn apply_topology(
        &self,
        settings: &Settings,
    ) -> Result<(Uuid, Report), TopologyError> {
        let mut report = Report::default();
        for stream in streams(settings) {
            let outcome = self.apply_stream(&stream).await?;
            note(&mut report, format!("stream {}", stream.name), outcome);
        }
        for consumer in coordinator_consumers() {
            self.apply_consumer(&consumer, &mut report).await?;
        }
        Ok((self.swarm_id().await?, report))
    }

    /// Brings the shared consumer of an agent about.
    ///
    /// # Errors
    /// See [`TopologyError`].
    pub async fn apply_work_consumer(
        &self,
        agent: &AgentName,
        settings: &Settings,
    ) -> Result<Report, TopologyError> {
        let mut report = Report::default();
        self.apply_consumer(&work_consumer(agent, settings), &mut report)
            .await?;
        Ok(report)
    }

    /// The agents that have a consumer on SWARM_WORK.
    ///
    /// # Errors
    /// See [`TopologyError`].
    pub async fn work_consumers(&self) -> Result<Vec<String>, TopologyError> {
        #[derive(Deserialize)]
        struct Names {
            #[serde(default)]
            consumers: Option<Vec<String>>,
            total: usize,
        }
        let mut names: Vec<String> = Vec::new();
        loop {
            let request = json!({ "offset": names.len() });
            let page: Names = self
                .api(&format!("$JS.API.CONSUMER.NAMES.{WORK}"), &request, WORK)
                .await?;
            let page_names = page.consumers.unwrap_or_default();
            let more = !page_names.is_empty() && names.len() + page_names.len() < page.total;
            names.extend(page_names);
            if !more {
                return Ok(names);
            }
        }
    }

    async fn apply_stream(&self, wanted: &Stream) -> Result<Applied, TopologyError> {
        let name = wanted.name;
        let what = format!("stream {name}");
        let found: Result<Info, _> = self
            .api(&format!("$JS.API.STREAM.INFO.{name}"), &json!({}), &what)
            .await;
        let actual = match found {
            Ok(info) => info.config,
            Err(TopologyError::Refused { error, .. })
                if error.err_code == api::STREAM_NOT_FOUND =>
            {
                return self.create_stream(wanted, &what).await;
            }
            Err(error) => return Err(error),
        };
        if let Some(subjects) = foreign_subjects(&wanted.config, &actual) {
            return Err(TopologyError::Foreign { name, subjects });
        }
        let differing = differences(&wanted.config, &actual);
        if differing.is_empty() {
            return Ok(Applied::Same);
        }
        let mut merged = Value::Object(actual);
        merge(&mut merged, wanted.config.clone());
        match self
            .api::<Info>(&format!("$JS.API.STREAM.UPDATE.{name}"), &merged, &what)
            .await
        {
            Ok(_) => Ok(Applied::Updated),
            Err(TopologyError::Refused { error, .. }) => Ok(Applied::Drifted(format!(
                "{}: {error}",
                differing.join(", ")
            ))),
            Err(error) => Err(error),
        }
    }

    async fn create_stream(&self, wanted: &Stream, what: &str) -> Result<Applied, TopologyError> {
        let mut config = wanted.config.clone();
        if wanted.name == INBOX {
            // The swarm's id: derived run ids hold it, so that two stores never share one.
            merge(
                &mut config,
                json!({ "metadata": { "swarm_id": Uuid::new_v4() } }),
            );
        }
        if wanted.name == AGENTS_STREAM && wanted.config.get("num_replicas") == Some(&json!(1)) {
            // Heartbeats are not worth a sync each. Only at creation, and not with replicas (ADR-56).
            merge(&mut config, json!({ "persist_mode": "async" }));
        }
        let created: Result<Info, _> = self
            .api(
                &format!("$JS.API.STREAM.CREATE.{}", wanted.name),
                &config,
                what,
            )
            .await;
        match created {
            Ok(_) => Ok(Applied::Created),
            // Another coordinator was first, and its random id makes the two configurations differ.
            Err(TopologyError::Refused { error, .. }) if error.err_code == STREAM_NAME_IN_USE => {
                Ok(Applied::Same)
            }
            Err(TopologyError::Refused { what, error })
                if api::NO_STORAGE.contains(&error.err_code) =>
            {
                Err(TopologyError::NoRoom { what, error })
            }
            Err(error) => Err(error),
        }
    }

    async fn apply_consumer(
        &self,
        wanted: &Consumer,
        report: &mut Report,
    ) -> Result<(), TopologyError> {
        let Consumer {
            stream,
            name,
            config,
            ..
        } = wanted;
        let what = format!("consumer {name} of {stream}");
        let found: Result<Info, _> = self
            .api(
                &format!("$JS.API.CONSUMER.INFO.{stream}.{name}"),
                &json!({}),
                &what,
            )
            .await;
        let existed = match found {
            Ok(info) if differences(config, &info.config).is_empty() => return Ok(()),
            Ok(_) => true,
            Err(TopologyError::Refused { error, .. })
                if error.err_code == api::CONSUMER_NOT_FOUND =>
            {
                false
            }
            Err(error) => return Err(error),
        };
        let request = json!({ "stream_name": stream, "config": config });
        let subject = format!("$JS.API.CONSUMER.DURABLE.CREATE.{stream}.{name}");
        let outcome = match self.api::<Info>(&subject, &request, &what).await {
            Ok(_) if existed => Applied::Updated,
            Ok(_) => Applied::Created,
            Err(TopologyError::Refused { error, .. }) if existed => {
                Applied::Drifted(error.to_string())
            }
            Err(error) => return Err(error),
        };
        note(report, what, outcome);
        Ok(())
    }

    async fn swarm_id(&self) -> Result<Uuid, TopologyError> {
        let what = format!("stream {INBOX}");
        let info: Info = self
            .api(&format!("$JS.API.STREAM.INFO.{INBOX}"), &json!({}), &what)
            .await?;
        let id = info
            .config
            .get("metadata")
            .and_then(|metadata| metadata.get("swarm_id"))
            .and_then(Value::as_str);
        id.and_then(|id| id.parse().ok())
            .ok_or_else(|| TopologyError::Garbled {
                what,
                detail: "its metadata holds no swarm_id: it was not made by Swarm".to_owned(),
            })
    }

    pub(crate) async fn api<T: serde::de::DeserializeOwned>(
        &self,
        subject: &str,
        body: &Value,
        what: &str,
    ) -> Result<T, TopologyError> {
        let garbled = |detail: String| TopologyError::Garbled {
            what: what.to_owned(),
            detail,
        };
        let reply = self
            .api_request(subject, body.to_string().into_bytes())
            .await
            .map_err(TopologyError::Request)?;
        let parsed: api::Reply<T> =
            serde_json::from_slice(reply.payload()).map_err(|error| garbled(error.to_string()))?;
        parsed
            .into_result()
            .map_err(|error| TopologyError::Refused {
                what: what.to_owned(),
                error,
            })
    }
}

/// What all streams reserve, in MiB.
fn reserved() -> u64 {
    let streams = streams(&Settings::default());
    let bytes = streams
        .iter()
        .filter_map(|s| s.config.get("max_bytes")?.as_u64());
    bytes.sum::<u64>() / MIB
}

/// Stream name already in use with a different configuration.
const STREAM_NAME_IN_USE: u64 = 10058;

fn note(report: &mut Report, what: String, outcome: Applied) {
    match outcome {
        Applied::Created => report.created.push(what),
        Applied::Updated => report.updated.push(what),
        Applied::Drifted(how) => report.drift.push(format!("{what}: {how}")),
        Applied::Same => {}
    }
}

/// The subjects of a stream that was found, when it shares none with the one that should be there.
pub(crate) fn foreign_subjects(wanted: &Value, actual: &Map<String, Value>) -> Option<String> {
    let list = |value: Option<&Value>| -> Vec<String> {
        let subjects = value.and_then(Value::as_array).into_iter().flatten();
        subjects
            .filter_map(|subject| subject.as_str().map(str::to_owned))
            .collect()
    };
    let (ours, theirs) = (list(wanted.get("subjects")), list(actual.get("subjects")));
    let shared = theirs.iter().any(|subject| ours.contains(subject));
    (!shared).then(|| theirs.join(", "))
}

/// The fields of `wanted` that `actual` has otherwise; zero and absent are the same to the server.
pub(crate) fn differences(wanted: &Value, actual: &Map<String, Value>) -> Vec<String> {
    let is_zero = |value: &Value| {
        matches!(value, Value::Null | Value::Bool(false)) || value.as_i64() == Some(0)
    };
    let fields = wanted.as_object().into_iter().flatten();
    fields
        .filter(|(name, value)| match actual.get(*name) {
            Some(found) => !covers(found, value),
            None => !is_zero(value),
        })
        .map(|(name, _)| name.clone())
        .collect()
}

/// Whether `found` holds everything that `wanted` says.
fn covers(found: &Value, wanted: &Value) -> bool {
    match (found, wanted) {
        (Value::Object(found), Value::Object(wanted)) => wanted
            .iter()
            .all(|(name, value)| found.get(name).is_some_and(|found| covers(found, value))),
        _ => found == wanted,
    }
}

fn merge(base: &mut Value, more: Value) {
    if let (Some(base), Value::Object(more)) = (base.as_object_mut(), more) {
        base.extend(more);
    }
}

#[cfg(test)]
mod tests {
    use swarm_protocol::subjects::catalog::{self, Travels};

    use super::*;

    /// The limit in `nats.conf`.
    const MAX_FILE_STORE: u64 = 10 * 1024 * MIB;

    #[test]
    fn reservations_stay_under_four_fifths_of_the_store() {
        let sum: u64 = streams(&Settings::default())
            .iter()
            .filter_map(|s| s.config["max_bytes"].as_u64())
            .sum();
        assert!(sum * 5 <= MAX_FILE_STORE * 4, "{sum}");
    }

    #[test]
    fn what_is_stored_is_captured_by_one_stream_and_nothing_else_is() {
        let streams = streams(&Settings::default());
        let filters: Vec<&str> = streams
            .iter()
            .flat_map(|stream| stream.config["subjects"].as_array().unwrap())
            .map(|filter| filter.as_str().unwrap())
            .collect();
        for subject in catalog::ALL {
            let captured = filters
                .iter()
                .filter(|filter| catalog::covers(filter, &subject.wildcard()))
                .count();
            let stored = usize::from(subject.travels == Travels::Stored);
            assert_eq!(captured, stored, "{}", subject.pattern);
        }
        for filter in filters {
            let known = catalog::ALL
                .iter()
                .any(|subject| catalog::covers(filter, &subject.wildcard()));
            assert!(known, "{filter} is in no list of subjects");
        }
    }

    #[test]
    fn differences_are_found_field_by_field() {
        let actual = json!({ "a": 1, "b": { "c": 2, "d": 3 }, "e": [1] });
        let actual = actual.as_object().unwrap();
        assert_eq!(
            differences(&json!({ "a": 1, "b": { "c": 2 }, "z": 0 }), actual),
            Vec::<String>::new()
        );
        assert_eq!(
            differences(&json!({ "a": 2, "b": { "c": 2 }, "e": [1, 2] }), actual),
            ["a", "e"]
        );
    }
}
