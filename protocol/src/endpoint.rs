//! Requests and replies of the micro service `swarm`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::card::Card;
use crate::dead::Dead;
use crate::error::{Code, ErrorBody};
use crate::ids::{AgentName, RunId, RunRef};
use crate::limits::MAX_REASON_BYTES;
use crate::summary::{RunState, Summary, WaitingFor};
use crate::time::{Span, Timestamp};

/// Name of the micro service.
pub const SERVICE: &str = "swarm";

/// A request about one run: its name as plain text, its ticket, or `{"run", …}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunRequest {
    /// The run.
    pub run: RunRef,
    /// `result`: how long to wait for the run's end.
    pub wait: Option<Span>,
    /// Commands: what the person said.
    pub reason: Option<String>,
}

/// The JSON form of [`RunRequest`].
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct RunRequestBody {
    /// Id, prefix, ticket's text or `seq:17`.
    pub run: String,
    /// How long to wait for the run's end.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub wait: Option<Span>,
    /// What the person said.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
}

impl RunRequest {
    /// Reads a request.
    ///
    /// # Errors
    /// `SW-RUN-REF`, `SW-JSON` or `SW-ENCODING`.
    pub fn parse(payload: &[u8]) -> Result<Self, ErrorBody> {
        let text = std::str::from_utf8(payload)
            .map_err(|error| {
                ErrorBody::new(Code::Encoding, format!("the request is not UTF-8: {error}"))
            })?
            .trim();
        let is_document = text.starts_with('{') && text.contains("\"run\"");
        if !is_document {
            return Ok(Self {
                run: reference(text)?,
                wait: None,
                reason: None,
            });
        }
        let body: RunRequestBody = read_json(text)?;
        check_reason(body.reason.as_deref())?;
        Ok(Self {
            run: reference(&body.run)?,
            wait: body.wait,
            reason: body.reason,
        })
    }
}

/// Reads a request that names a run.
///
/// # Errors
/// `SW-RUN-REF`, `SW-JSON` or `SW-ENCODING`.
pub fn read_about_run<T: serde::de::DeserializeOwned>(
    payload: &[u8],
    run: impl Fn(&T) -> &str,
) -> Result<(RunRef, T), ErrorBody> {
    let request: T = read_request(payload)?;
    Ok((reference(run(&request))?, request))
}

/// Reads a request that is a document.
///
/// # Errors
/// `SW-JSON` or `SW-ENCODING`.
pub fn read_request<T: serde::de::DeserializeOwned>(payload: &[u8]) -> Result<T, ErrorBody> {
    let text = std::str::from_utf8(payload).map_err(|error| {
        ErrorBody::new(Code::Encoding, format!("the request is not UTF-8: {error}"))
    })?;
    read_json(text)
}

/// A reason is a line, not a document.
///
/// # Errors
/// `SW-TOO-LARGE`.
pub fn check_reason(reason: Option<&str>) -> Result<(), ErrorBody> {
    match reason.map(str::len) {
        Some(bytes) if bytes > MAX_REASON_BYTES => {
            let message =
                format!("the reason has {bytes} bytes, at most {MAX_REASON_BYTES} are taken");
            Err(ErrorBody::new(Code::TooLarge, message).field("reason"))
        }
        _ => Ok(()),
    }
}

fn reference(text: &str) -> Result<RunRef, ErrorBody> {
    text.parse().map_err(|error: crate::ids::InvalidRunRef| {
        ErrorBody::new(Code::RunRef, error.to_string()).field("run")
    })
}

/// Reads a request that may be empty.
///
/// # Errors
/// `SW-JSON` or `SW-ENCODING`.
pub fn read_optional<T: serde::de::DeserializeOwned + Default>(
    payload: &[u8],
) -> Result<T, ErrorBody> {
    let text = std::str::from_utf8(payload).map_err(|error| {
        ErrorBody::new(Code::Encoding, format!("the request is not UTF-8: {error}"))
    })?;
    if text.trim().is_empty() {
        Ok(T::default())
    } else {
        read_json(text)
    }
}

fn read_json<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, ErrorBody> {
    serde_json::from_str(text).map_err(|error| {
        ErrorBody::new(
            Code::Json,
            format!("the request is not understood: {error}"),
        )
    })
}

/// `runs`: which runs to list; all fields may be left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunsRequest {
    /// Only runs in this state.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub state: Option<RunState>,
    /// Only runs that have this agent at work now.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub agent: Option<AgentName>,
    /// Only runs with this label: `name` or `name=value`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub label: Option<String>,
    /// Most items of a reply; 100 when not given, at most 1,000.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub limit: Option<usize>,
    /// Only what follows this cursor, the `next` of the reply before.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub after: Option<String>,
}

/// Reply of `runs`: newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunsReply {
    /// The runs.
    pub items: Vec<Summary>,
    /// Cursor of the next page, when there is one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub next: Option<String>,
}

/// `approve` and `deny`: a person's decision about a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DecideRequest {
    /// Id, prefix, ticket's text or `seq:17`.
    pub run: String,
    /// What was asked, as the event `approval_requested` names it.
    pub approval: String,
    /// SHA-256 of the call that is meant, as the event has it.
    pub call_sha256: String,
    /// What the person says.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
}

/// `message`: a text for an agent of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MessageRequest {
    /// Id, prefix, ticket's text or `seq:17`.
    pub run: String,
    /// To which agent.
    pub to: AgentName,
    /// What it says.
    pub text: String,
    /// The same request again has the same id, and sends it once; without one it is the `Nats-Msg-Id`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub id: Option<String>,
}

/// Reply of a command: the state of the run after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StateReply {
    /// The run.
    pub run: RunId,
    /// Its state.
    pub state: RunState,
}

/// Reply of `explain`: the story of a run, and where its time went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Explanation {
    /// The run.
    pub run: RunId,
    /// What happened, oldest first; of an open run the last line says what it waits for.
    pub story: Vec<StoryLine>,
    /// Where the time went.
    pub time: TimeSpent,
    /// What it waits for, when that is something that somebody could mend.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub waiting_for: Option<WaitingFor>,
}

/// One line of a story.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StoryLine {
    /// When.
    pub at: Timestamp,
    /// What.
    pub what: String,
    /// How long it took, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub took_ms: Option<u64>,
}

/// Where the time of a run went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TimeSpent {
    /// Time in which none of its tasks was at work.
    pub waiting_ms: u64,
    /// Time in models, added up over its tasks, which may overlap.
    pub model_ms: u64,
    /// Time in tools, added up over its tasks.
    pub tool_ms: u64,
}

/// Reply of `retry`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RetryReply {
    /// The new run.
    pub run: RunId,
}

/// Reply of `delete`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeleteReply {
    /// The run that was.
    pub run: RunId,
}

/// `dead`: which dead letters to list; all fields may be left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeadsRequest {
    /// Only this one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub id: Option<u64>,
    /// Most items of a reply; 100 when not given, which is also the most.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub limit: Option<usize>,
    /// Only older ones than this, the `next` of the reply before.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub before: Option<u64>,
}

/// A dead letter with its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeadItem {
    /// Its sequence in SWARM_DEAD.
    pub id: u64,
    /// What it says. The payload is left out where the reply has no room for it: ask for it by its id.
    #[serde(flatten)]
    pub dead: Dead,
}

/// Reply of `dead`: newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeadsReply {
    /// The dead letters.
    pub items: Vec<DeadItem>,
    /// Where the next page begins, when there is one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub next: Option<u64>,
}

/// `dead.requeue` and `dead.drop`: which dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeadRequest {
    /// Its id.
    pub id: u64,
}

/// Reply of `dead.requeue` and `dead.drop`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeadReply {
    /// Its id.
    pub id: u64,
    /// The run that goes on, or is new, because of it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub run: Option<RunId>,
}

/// `agents`: which cards to list; all fields may be left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AgentsRequest {
    /// Only instances of this agent.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub agent: Option<AgentName>,
    /// Only agents with this capability.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub capability: Option<String>,
}

/// Reply of `agents`: by agent, then instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AgentsReply {
    /// The live instances.
    pub items: Vec<Card>,
}

/// Reply of `register`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RegisterReply {
    /// How often the card is to be written, in seconds.
    pub heartbeat_s: u64,
    /// The work consumer of the agent, on SWARM_WORK.
    pub consumer: String,
}

/// Body of the error that `ask` answers for a run that did not complete: ERROR with run and result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AskError {
    /// The error.
    #[serde(flatten)]
    pub error: ErrorBody,
    /// The run.
    pub run: RunId,
    /// Its result.
    pub result: crate::answer::RunResult,
}

/// Body of the 409 that `result` answers for an open run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OpenError {
    /// The error.
    #[serde(flatten)]
    pub error: ErrorBody,
    /// The run.
    pub run: RunId,
    /// Its state.
    pub state: RunState,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_asked_for_in_every_form() {
        let run = RunId::random();
        let plain = |run| RunRequest {
            run,
            wait: None,
            reason: None,
        };
        assert_eq!(
            RunRequest::parse(run.to_string().as_bytes()),
            Ok(plain(RunRef::Id(run)))
        );
        assert_eq!(
            RunRequest::parse(br#"{"stream":"SWARM_INBOX","seq":3}"#),
            Ok(plain(RunRef::Sequence(3)))
        );
        let body = format!(r#"{{"run":"{run}","wait":"30s","reason":"late"}}"#);
        let whole = RunRequest {
            run: RunRef::Id(run),
            wait: Some(Span::from_secs(30)),
            reason: Some("late".into()),
        };
        assert_eq!(RunRequest::parse(body.as_bytes()), Ok(whole));
        assert_eq!(RunRequest::parse(b"").unwrap_err().code, "SW-RUN-REF");
        assert_eq!(
            RunRequest::parse(b"{\"run\":7}").unwrap_err().code,
            "SW-JSON"
        );
        assert_eq!(RunRequest::parse(b"\xff").unwrap_err().code, "SW-ENCODING");
    }
}
