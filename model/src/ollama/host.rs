//! One host: where its endpoints are, how it is shown, and how a request gets to it.

use std::error::Error;

use reqwest::{RequestBuilder, Response};
use url::Url;

use crate::error::ChatError;

/// One Ollama server.
#[derive(Clone)]
pub struct Host {
    /// Ends with a `/`. May hold credentials, so it is never shown.
    base: Url,
    /// Where chats go; made once, as it is needed most.
    chat: Url,
    shown: String,
}

/// Why no answer of a host began.
#[derive(Debug)]
pub enum Failure {
    /// No connection, or it was lost before a byte of the answer: another host can be asked.
    Unreached(String),
    /// The host does not have the model, or only in a cloud, which the pool now knows.
    Elsewhere,
    /// It is not for this call to ask another host.
    Final(ChatError),
}

impl From<ChatError> for Failure {
    fn from(error: ChatError) -> Self {
        Self::Final(error)
    }
}

impl Host {
    /// The host at this base URL.
    #[must_use]
    pub fn new(url: &Url) -> Self {
        let mut base = url.clone();
        base.set_query(None);
        base.set_fragment(None);
        base.set_path(&format!("{}/", url.path().trim_end_matches('/')));
        Self {
            shown: shown(url),
            chat: below(&base, "api/chat"),
            base,
        }
    }

    /// The base URL for people: no credentials, no `/` at the end.
    #[must_use]
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// The URL of `path`, which begins without a `/`.
    #[must_use]
    pub fn endpoint(&self, path: &str) -> Url {
        below(&self.base, path)
    }

    /// The URL of `api/chat`.
    #[must_use]
    pub fn chat(&self) -> Url {
        self.chat.clone()
    }
}

fn below(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}{path}", base.path()));
    url
}

/// A URL for people: without credentials, query, and `/` at the end.
pub fn shown(url: &Url) -> String {
    if url.cannot_be_a_base() {
        // The rest may be anything, credentials too: `user:password@host:11434` has the scheme `user`.
        return format!("{}:…", url.scheme());
    }
    let port = url
        .port()
        .map(|port| format!(":{port}"))
        .unwrap_or_default();
    let host = url.host_str().unwrap_or_default();
    let path = url.path().trim_end_matches('/');
    format!("{}://{host}{port}{path}", url.scheme())
}

/// Sends a request and waits for the status of its answer.
///
/// When a connection was made and lost before a byte of the answer, it is sent once more: a host that was restarted
/// closes the connections of the pool in just that way. A chat changes nothing on a host, so it may be sent twice.
///
/// # Errors
/// See [`Failure`].
pub async fn send(request: impl Fn() -> RequestBuilder) -> Result<Response, Failure> {
    let sent = match request().send().await {
        Err(error) if !error.is_connect() && !error.is_builder() => {
            tracing::debug!(
                detail = root_cause(&error),
                "the connection was lost; sent again"
            );
            request().send().await
        }
        sent => sent,
    };
    sent.map_err(|error| {
        let detail = root_cause(&error);
        if error.is_builder() {
            Failure::Final(ChatError::Request { detail })
        } else {
            Failure::Unreached(detail)
        }
    })
}

/// Reads a body up to `max` bytes and leaves the rest.
///
/// # Errors
/// [`ChatError::MidStream`] when the connection breaks.
pub async fn read_up_to(max: usize, response: &mut Response) -> Result<Vec<u8>, ChatError> {
    let mut body = Vec::new();
    while body.len() < max {
        match response.chunk().await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => break,
            Err(error) => return Err(broken(&error)),
        }
    }
    body.truncate(max);
    Ok(body)
}

/// The error for a connection that broke while an answer was read.
pub fn broken(error: &reqwest::Error) -> ChatError {
    let message = format!("the connection was lost: {}", root_cause(error));
    ChatError::MidStream { message }
}

/// The innermost cause. What is around it says nothing new, and reqwest's own text names the URL.
fn root_cause(error: &reqwest::Error) -> String {
    let mut cause = error.source();
    let mut root = None;
    while let Some(error) = cause {
        cause = error.source();
        root = Some(error);
    }
    root.map_or_else(|| "no cause is known".to_owned(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(url: &str) -> Host {
        Host::new(&Url::parse(url).unwrap())
    }

    #[test]
    fn endpoints_are_below_the_prefix() {
        for (url, endpoint) in [
            ("http://a", "http://a/api/chat"),
            ("http://a:11434/", "http://a:11434/api/chat"),
            ("http://a/pre", "http://a/pre/api/chat"),
            ("http://a/pre/fix//?x=1#y", "http://a/pre/fix/api/chat"),
            ("http://u:p@[::1]:1", "http://u:p@[::1]:1/api/chat"),
        ] {
            assert_eq!(host(url).endpoint("api/chat").as_str(), endpoint, "{url}");
            assert_eq!(host(url).chat().as_str(), endpoint, "{url}");
        }
    }

    #[test]
    fn credentials_are_not_shown() {
        for (url, shown) in [
            ("http://127.0.0.1:11434", "http://127.0.0.1:11434"),
            ("http://user:secret@box/", "http://box"),
            (
                "http://secret@[::1]:1/pre/?key=secret#secret",
                "http://[::1]:1/pre",
            ),
        ] {
            assert_eq!(host(url).shown(), shown, "{url}");
        }
    }
}
