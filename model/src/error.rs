//! Why a model gave no answer.

use std::time::Duration;

use swarm_protocol::Code;

/// Why a model gave no answer. No text in here holds credentials.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChatError {
    /// No host could be reached, or all closed the connection before a byte of an answer.
    #[error("no Ollama host answers at {} ({detail}); is `ollama serve` running there?", hosts.join(", "))]
    Connect {
        /// The hosts that were tried, in this order.
        hosts: Vec<String>,
        /// What happened; several details are separated by `; `.
        detail: String,
    },
    /// The host took the request and did not begin to answer. It may be loading the model, or busy with others.
    #[error("no first token within {after:?}")]
    FirstToken {
        /// How long it was waited for.
        after: Duration,
    },
    /// The answer began and did not go on.
    #[error("the answer stalled: no further token within {after:?}")]
    Stalled {
        /// How long it was waited for.
        after: Duration,
    },
    /// The host does not have the model.
    #[error("model `{model}` is not on the host; run `ollama pull {model}`")]
    ModelNotFound {
        /// The model that was asked for.
        model: String,
    },
    /// The host takes no more requests now (status 503 or 429).
    #[error("the host is busy: {message}")]
    Busy {
        /// The host's words.
        message: String,
    },
    /// The host refused the request.
    #[error("the host answered {status}: {message}")]
    Http {
        /// The HTTP status.
        status: u16,
        /// The host's words.
        message: String,
    },
    /// The host reported an error in its answer, or the connection broke in the middle of it.
    #[error("the answer broke off: {message}")]
    MidStream {
        /// What happened.
        message: String,
    },
    /// The answer ended without saying that it is complete. Hosts do this, for one, when a model repeats itself.
    #[error("the answer ended before it was complete")]
    NoDone,
    /// The answer is not in the format of the API.
    #[error("the answer is not understood: {detail}")]
    BadFrame {
        /// What is wrong with it.
        detail: String,
    },
    /// The model runs in a cloud. Prompts do not leave the machines of the swarm.
    #[error("model `{model}` runs in a cloud; only local models are asked")]
    Cloud {
        /// The model that was asked for.
        model: String,
    },
    /// Hosts that have the model may pass prompts on to a cloud.
    #[error(
        "the cloud of Ollama is not switched off at {}: start it with OLLAMA_NO_CLOUD=1, or set ollama.require_cloud_off to false",
        hosts.join(", ")
    )]
    CloudOn {
        /// The hosts.
        hosts: Vec<String>,
    },
    /// The model takes no tools.
    #[error("model `{model}` takes no tools")]
    ToolsUnsupported {
        /// The model that was asked for.
        model: String,
    },
    /// The model does not think before it answers.
    #[error("model `{model}` cannot think before it answers")]
    ThinkingUnsupported {
        /// The model that was asked for.
        model: String,
    },
    /// The chat is longer than the context window.
    #[error("the chat is longer than the context window: {message}")]
    ContextTooLong {
        /// Tokens of the chat, when the host said so.
        prompt: Option<u64>,
        /// Tokens of the window, when the host said so.
        window: Option<u64>,
        /// The host's words.
        message: String,
    },
    /// The host has cut the chat without a word, and the model answered what was left of it.
    #[error(
        "the host cut the chat silently: about {expected} tokens were sent, {evaluated} were read"
    )]
    Truncated {
        /// Tokens that were sent, by estimate.
        expected: u64,
        /// Tokens that the host read.
        evaluated: u64,
    },
    /// The model wrote a call of a tool that its host cannot read.
    #[error("the model wrote a call that its host cannot read: {message}")]
    ToolParse {
        /// The host's words.
        message: String,
    },
    /// The model repeats itself; the call was broken off.
    #[error("the model repeats itself: {excerpt}")]
    Looping {
        /// What it repeats, in quotes.
        excerpt: String,
    },
    /// The request cannot be put into the format of the API.
    #[error("the request cannot be made: {detail}")]
    Request {
        /// Why.
        detail: String,
    },
}

impl ChatError {
    /// Whether the same request may succeed later, unchanged.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        self.code().retryable()
    }

    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::Connect { .. } => Code::ModelUnreachable,
            Self::FirstToken { .. } => Code::ModelTimeout,
            Self::Stalled { .. } => Code::ModelStalled,
            Self::ModelNotFound { .. } => Code::ModelMissing,
            Self::Busy { .. } => Code::ModelBusy,
            Self::Http { status, .. } if *status >= 500 => Code::ModelHttp,
            Self::Http { .. }
            | Self::Request { .. }
            | Self::ToolsUnsupported { .. }
            | Self::ThinkingUnsupported { .. } => Code::ModelRefused,
            Self::MidStream { .. }
            | Self::NoDone
            | Self::BadFrame { .. }
            | Self::ToolParse { .. } => Code::ModelBroken,
            Self::ContextTooLong { .. } | Self::Truncated { .. } => Code::ModelContext,
            Self::Looping { .. } => Code::ModelLooping,
            Self::Cloud { .. } | Self::CloudOn { .. } => Code::ModelCloud,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_says_what_to_do_with_it() {
        let second = Duration::from_secs(1);
        let text = || "x".to_owned();
        let http = |status| ChatError::Http {
            status,
            message: text(),
        };
        let hosts = vec!["http://a".to_owned(), "http://b".to_owned()];
        let table = [
            (
                ChatError::Connect {
                    hosts,
                    detail: text(),
                },
                "SW-MODEL-UNREACHABLE",
                true,
                "no Ollama host answers at http://a, http://b (x); is `ollama serve` running there?",
            ),
            (
                ChatError::FirstToken {
                    after: second * 300,
                },
                "SW-MODEL-TIMEOUT",
                true,
                "no first token within 300s",
            ),
            (
                ChatError::Stalled { after: second },
                "SW-MODEL-STALLED",
                true,
                "the answer stalled: no further token within 1s",
            ),
            (
                ChatError::ModelNotFound { model: text() },
                "SW-MODEL-MISSING",
                false,
                "model `x` is not on the host; run `ollama pull x`",
            ),
            (
                ChatError::Busy { message: text() },
                "SW-MODEL-BUSY",
                true,
                "the host is busy: x",
            ),
            (
                http(499),
                "SW-MODEL-REFUSED",
                false,
                "the host answered 499: x",
            ),
            (http(500), "SW-MODEL-HTTP", true, "the host answered 500: x"),
            (
                ChatError::MidStream { message: text() },
                "SW-MODEL-BROKEN",
                true,
                "the answer broke off: x",
            ),
            (
                ChatError::NoDone,
                "SW-MODEL-BROKEN",
                true,
                "the answer ended before it was complete",
            ),
            (
                ChatError::BadFrame { detail: text() },
                "SW-MODEL-BROKEN",
                true,
                "the answer is not understood: x",
            ),
            (
                ChatError::Cloud { model: text() },
                "SW-MODEL-CLOUD",
                false,
                "model `x` runs in a cloud; only local models are asked",
            ),
            (
                ChatError::Request { detail: text() },
                "SW-MODEL-REFUSED",
                false,
                "the request cannot be made: x",
            ),
        ];
        for (error, code, retryable, display) in table {
            assert_eq!(
                (
                    error.code().as_str(),
                    error.is_retryable(),
                    error.to_string().as_str()
                ),
                (code, retryable, display)
            );
        }
    }
}
