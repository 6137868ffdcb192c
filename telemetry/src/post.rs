//! The way to the collector: one request at a time, on the thread of the batches, which may block.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// The largest answer of a collector that is read.
const MAX_ANSWER: u64 = 64 * 1024;

/// Posts batches. Says once that the collector does not take them, and once that it does again.
pub(crate) struct Post {
    agent: Agent,
    /// The collector, as it may be shown.
    shown: String,
    failing: AtomicBool,
}

impl Post {
    pub(crate) fn new(timeout: Duration, shown: String) -> Self {
        let tls = if shown.starts_with("https:") {
            tls()
        } else {
            TlsConfig::default()
        };
        let config = Agent::config_builder()
            .timeout_global(Some(timeout))
            .http_status_as_error(false)
            .max_redirects(0)
            // As for models: what a swarm says goes where it is told to, and past no third one.
            .proxy(None)
            .tls_config(tls);
        Self {
            agent: config.build().new_agent(),
            shown,
            failing: AtomicBool::new(false),
        }
    }

    fn post(&self, request: Request<Bytes>) -> Result<Response<Bytes>, ureq::Error> {
        let (parts, body) = request.into_parts();
        let answer = self.agent.run(Request::from_parts(parts, body.as_ref()))?;
        let (parts, body) = answer.into_parts();
        let body = body.into_with_config().limit(MAX_ANSWER).read_to_vec()?;
        Ok(Response::from_parts(parts, body.into()))
    }

    fn note(&self, trouble: Option<String>) {
        let to = &self.shown;
        match (
            &trouble,
            self.failing.swap(trouble.is_some(), Ordering::Relaxed),
        ) {
            (Some(error), false) => {
                tracing::warn!(to, error, "traces are not taken, and dropped meanwhile");
            }
            (Some(error), true) => tracing::debug!(to, error, "traces are not taken"),
            (None, true) => tracing::info!(to, "traces are taken again"),
            (None, false) => {}
        }
    }
}

/// Trusts whom the system trusts, or whom `SSL_CERT_FILE` names.
fn tls() -> TlsConfig {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "a certificate was passed over");
    }
    let trusted: Vec<_> = found
        .certs
        .iter()
        .map(|certificate| Certificate::from_der(certificate).to_owned())
        .collect();
    TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(&trusted))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build()
}

impl fmt::Debug for Post {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Post").field("to", &self.shown).finish()
    }
}

#[async_trait]
impl HttpClient for Post {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let answer = self.post(request);
        self.note(match &answer {
            Ok(answer) if answer.status().is_success() => None,
            Ok(answer) => Some(format!("the collector answers {}", answer.status())),
            Err(error) => Some(error.to_string()),
        });
        Ok(answer?)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use super::*;

    fn post(url: &str) -> (Post, Result<Response<Bytes>, ureq::Error>) {
        let post = Post::new(Duration::from_secs(5), url.to_owned());
        let request = Request::post(url).body(Bytes::from_static(b"spans"));
        let answer = post.post(request.unwrap());
        (post, answer)
    }

    #[test]
    fn an_answer_is_read_whatever_its_status() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/v1/traces", listener.local_addr().unwrap());
        let collector = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"spans") {
                let mut piece = [0; 1024];
                let read = stream.read(&mut piece).unwrap();
                request.extend_from_slice(&piece[..read]);
            }
            stream
                .write_all(b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nwait")
                .unwrap();
            String::from_utf8(request).unwrap()
        });
        let answer = post(&url).1.unwrap();
        assert_eq!(
            (answer.status().as_u16(), answer.body().as_ref()),
            (503, b"wait".as_ref())
        );
        let request = collector.join().unwrap();
        assert!(
            request.starts_with("POST /v1/traces HTTP/1.1\r\n"),
            "{request}"
        );
    }

    #[test]
    fn a_collector_behind_tls_must_prove_itself() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://{}/", listener.local_addr().unwrap());
        let stranger = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut hello = [0; 3];
            stream.read_exact(&mut hello).unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
            hello
        });
        let error = post(&url).1.unwrap_err().to_string();
        // The first bytes of a TLS handshake, and no span.
        assert_eq!(stranger.join().unwrap()[..2], [22, 3], "{error}");
    }
}
