//! Errors as they travel: a stable code, a sentence for a person, and what may be done.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The body of an error on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
#[error("{message} ({code})")]
pub struct ErrorBody {
    /// Stable code, `SW-…`. See [`Code`]; readers must accept codes they do not know.
    pub code: String,
    /// What was wrong and what to do, in one line.
    pub message: String,
    /// Whether the same request may succeed later, unchanged.
    pub retryable: bool,
    /// The field that was wrong, where there is one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub field: Option<String>,
}

impl ErrorBody {
    /// An error with this code and message.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code: code.as_str().to_owned(),
            message: message.into(),
            retryable: code.retryable(),
            field: None,
        }
    }

    /// The same error, about one field.
    #[must_use]
    pub fn field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// The HTTP-like status for the header `Nats-Service-Error-Code`.
    #[must_use]
    pub fn status(&self) -> u16 {
        Code::ALL
            .iter()
            .find(|code| code.as_str() == self.code)
            .map_or(500, |code| code.status())
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident $text:literal $status:literal $retryable:literal,)*) => {
        /// The stable error codes.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Code { $($(#[$doc])* $name,)* }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The code as it stands in messages.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// The HTTP-like status it is answered with.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }

            /// Whether the same request may succeed later, unchanged.
            #[must_use]
            pub const fn retryable(self) -> bool {
                match self { $(Self::$name => $retryable,)* }
            }
        }
    };
}

codes! {
    /// The payload is empty or blank.
    Empty "SW-EMPTY" 400 false,
    /// The payload is no UTF-8, or holds control characters.
    Encoding "SW-ENCODING" 400 false,
    /// The payload begins with `{` and is no JSON.
    Json "SW-JSON" 400 false,
    /// A field is missing, of the wrong type, or out of range.
    Field "SW-FIELD" 400 false,
    /// The target of the submission is no valid name.
    Target "SW-TARGET" 400 false,
    /// The header `Swarm-Run-Id` is no UUID.
    RunId "SW-RUN-ID" 400 false,
    /// The wire version is not supported.
    Version "SW-VERSION" 400 false,
    /// The request names no run.
    RunRef "SW-RUN-REF" 400 false,
    /// No agent or workflow of this name is known.
    AgentUnknown "SW-AGENT-UNKNOWN" 404 false,
    /// No workflow of this name is stored.
    WorkflowUnknown "SW-WORKFLOW-UNKNOWN" 404 false,
    /// No such run.
    RunUnknown "SW-RUN-UNKNOWN" 404 false,
    /// Several runs begin with this prefix.
    RunAmbiguous "SW-RUN-AMBIGUOUS" 409 false,
    /// The run has not ended yet.
    RunOpen "SW-RUN-OPEN" 409 true,
    /// The run has ended otherwise.
    RunEnded "SW-RUN-ENDED" 409 false,
    /// The same id came with other content.
    Conflict "SW-CONFLICT" 409 false,
    /// Another kind of agent has this name.
    AgentConflict "SW-AGENT-CONFLICT" 409 false,
    /// As many agent instances are live as may be.
    TooManyAgents "SW-TOO-MANY-AGENTS" 429 true,
    /// Too large.
    TooLarge "SW-TOO-LARGE" 413 false,
    /// A reply subject that is no inbox.
    ReplySubject "SW-REPLY-SUBJECT" 403 false,
    /// Too few agents answered.
    TooFewAnswers "SW-TOO-FEW-ANSWERS" 500 true,
    /// The aggregating step failed.
    Aggregate "SW-AGGREGATE" 500 true,
    /// Canceled on request.
    Canceled "SW-CANCELED" 409 false,
    /// A deadline passed.
    Deadline "SW-DEADLINE" 500 true,
    /// The model gave an empty answer.
    EmptyAnswer "SW-MODEL-EMPTY" 500 true,
    /// A message cannot be read.
    Undecodable "SW-UNDECODABLE" 400 false,
    /// A run's log cannot be folded; the run is set aside.
    Log "SW-LOG" 500 false,
    /// The coordinator is not ready, or the stream cannot store now.
    Unavailable "SW-UNAVAILABLE" 503 true,
    /// Something went wrong inside.
    Internal "SW-INTERNAL" 500 true,
}

/// An error with its causes, in one line: each says its own layer only.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line.push_str(": ");
        line.push_str(&error.to_string());
        cause = error.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_and_statuses_known() {
        for (i, code) in Code::ALL.iter().enumerate() {
            assert!(
                Code::ALL[i + 1..]
                    .iter()
                    .all(|other| other.as_str() != code.as_str()),
                "{code:?}"
            );
            assert!(
                [400, 403, 404, 409, 413, 429, 500, 503].contains(&code.status()),
                "{code:?}"
            );
        }
        assert_eq!(ErrorBody::new(Code::Conflict, "x").status(), 409);
    }
}
