//! Errors of the API: a status and `{"error": text}`.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::release::Release;

/// The content type of every JSON document that Ollama sends whole.
pub const JSON: &str = "application/json; charset=utf-8";

/// The text of a 503, with the two blanks that Ollama has in it.
pub const BUSY: &str = "server busy, please try again.  maximum pending requests exceeded";

/// An error response. The text is Ollama's own wording where clients classify by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// 400 to 599.
    pub status: StatusCode,
    /// The value of `error`.
    pub message: String,
}

impl Refusal {
    /// 400, the request is at fault.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            message: message.into(),
        }
    }

    /// 500, which Ollama also uses for some faults of the request.
    pub fn internal(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            message: message.into(),
        }
    }

    /// 400 with the document of the runner as a string, its fields in this order.
    pub fn runner(message: &str) -> Self {
        let error =
            json!({"error": {"code": 400, "message": message, "type": "invalid_request_error"}});
        Self::bad_request(error.to_string())
    }

    /// 503, too many requests wait for a model to be loaded.
    pub fn busy() -> Self {
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            message: BUSY.to_owned(),
        }
    }

    /// 500, the runner died while it answered.
    pub fn runner_died() -> Self {
        Self::internal("an error was encountered while running the model: unexpected EOF")
    }

    /// 500, the runner died while a request waited for it. The blanks at the end are Ollama's.
    pub fn no_runner(release: Release) -> Self {
        Self::internal(match release {
            Release::V0_17 => "llama runner process no longer running: -1 ",
            Release::V0_33 => "llama-server process no longer running: unknown ",
        })
    }

    /// 404 with the name as the client wrote it.
    pub fn no_model(name: &str) -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            message: format!("model '{name}' not found"),
        }
    }

    /// 401, nobody is signed in.
    pub fn unauthorized() -> Self {
        Self {
            status: StatusCode::UNAUTHORIZED,
            message: "unauthorized".to_owned(),
        }
    }

    /// 403 for a model that runs elsewhere, while that is switched off.
    pub fn cloud_disabled(operation: &str) -> Self {
        Self {
            status: StatusCode::FORBIDDEN,
            message: format!("ollama cloud is disabled: {operation}"),
        }
    }

    /// A body that is not the JSON that is expected. Ollama shows the words of Go's decoder; only the two that say
    /// that the body ends too early are the same here.
    pub fn bad_json(error: &serde_json::Error, body: &[u8]) -> Self {
        if body.iter().all(u8::is_ascii_whitespace) {
            Self::bad_request("missing request body")
        } else if error.is_eof() {
            Self::bad_request("unexpected EOF")
        } else {
            Self::bad_request(error.to_string())
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = json!({"error": self.message}).to_string();
        (self.status, [(header::CONTENT_TYPE, JSON)], body).into_response()
    }
}
