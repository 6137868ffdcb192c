//! The state of a run in one line: SUMMARY, the header of every event.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::{AgentName, RunId};
use crate::time::{Span, Timestamp};

/// The state of a run, in the words of A2A.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum RunState {
    /// Accepted, nothing dispatched.
    Submitted,
    /// Tasks are dispatched.
    Working,
    /// It waits for a person.
    InputRequired,
    /// No new attempt starts.
    Paused,
    /// A cancel was asked for.
    Canceling,
    /// Ended with an answer.
    Completed,
    /// Ended without an answer.
    Failed,
    /// Ended by a cancel.
    Canceled,
    /// Never started: the submission was wrong.
    Rejected,
}

impl RunState {
    /// Whether the run has ended.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        matches!(
            self,
            Self::Completed | Self::Failed | Self::Canceled | Self::Rejected
        )
    }

    /// Whether new attempts of a run start in this state.
    #[must_use]
    pub fn starts_attempts(self) -> bool {
        matches!(self, Self::Working | Self::InputRequired)
    }

    /// The state as it stands in messages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Submitted => "submitted",
            Self::Working => "working",
            Self::InputRequired => "input-required",
            Self::Paused => "paused",
            Self::Canceling => "canceling",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
            Self::Rejected => "rejected",
        }
    }
}

impl std::fmt::Display for RunState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a run waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WaitKind {
    /// A person's decision.
    Approval,
    /// The next attempt.
    Retry,
    /// A time.
    Time,
    /// An agent that nobody runs, or whose instances are all busy.
    Agent,
    /// A model host.
    Host,
}

/// What a run waits for, and since when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WaitingFor {
    /// The kind.
    pub kind: WaitKind,
    /// Which one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub name: Option<String>,
    /// Since when.
    pub since: Timestamp,
}

/// The state of a run: SUMMARY.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Summary {
    /// The run.
    pub run: RunId,
    /// Sequence of its submission in the inbox.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub seq: Option<u64>,
    /// The first 80 characters of the task.
    pub task: String,
    /// Its state.
    pub state: RunState,
    /// What it waits for; agent and host are computed when asked, never stored.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub waiting_for: Option<WaitingFor>,
    /// Its next deadline.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub deadline: Option<Timestamp>,
    /// The last event's cause is redelivered by nobody: a repeated command, or any coordinator after 5 s, publishes its
    /// effects again.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub unconfirmed: bool,
    /// When it was submitted.
    pub submitted_at: Timestamp,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ended_at: Option<Timestamp>,
    /// Its labels.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub labels: Option<BTreeMap<String, String>>,
    /// The run it repeats.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub retry_of: Option<RunId>,
}

/// What the header of an event holds: the summary, and what a coordinator needs to compute the rest of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// The summary.
    #[serde(flatten)]
    pub summary: Summary,
    /// Agents with a live task.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub live: Vec<AgentName>,
    /// When the event was decided.
    pub at: Timestamp,
    /// How long a task may wait for its agent, when the submission says so.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub queue: Option<Span>,
    /// Whether the run was deleted: lists leave it out.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub deleted: bool,
}

impl Stored {
    /// ASCII JSON: header values hold no other bytes.
    ///
    /// # Errors
    /// None in practice; serde's signature has one.
    pub fn to_header(&self) -> Result<String, serde_json::Error> {
        let json = serde_json::to_string(self)?;
        if json.is_ascii() {
            return Ok(json);
        }
        let mut ascii = String::with_capacity(json.len());
        let mut units = [0u16; 2];
        for c in json.chars() {
            if c.is_ascii() {
                ascii.push(c);
            } else {
                c.encode_utf16(&mut units)
                    .iter()
                    .for_each(|unit| ascii.push_str(&format!("\\u{unit:04x}")));
            }
        }
        Ok(ascii)
    }

    /// Reads a header.
    ///
    /// # Errors
    /// When it is no summary.
    pub fn from_header(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_ascii_and_read_back_whole() {
        let stored = Stored {
            summary: Summary {
                run: RunId::random(),
                seq: Some(7),
                task: "Wärmepumpe 🔥 \"quoted\"\nline".into(),
                state: RunState::InputRequired,
                waiting_for: None,
                deadline: Some(Timestamp::from_millis(5)),
                unconfirmed: true,
                submitted_at: Timestamp::from_millis(1),
                ended_at: None,
                labels: Some(BTreeMap::from([("k".into(), "v".into())])),
                retry_of: None,
            },
            live: vec!["research_agent".parse().unwrap()],
            at: Timestamp::from_millis(2),
            queue: Some(Span::from_secs(9)),
            deleted: false,
        };
        let header = stored.to_header().unwrap();
        assert!(header.is_ascii() && !header.contains(['\r', '\n']));
        assert_eq!(Stored::from_header(&header).unwrap(), stored);
    }
}
