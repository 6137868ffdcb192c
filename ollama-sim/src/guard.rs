//! Who may ask at all: a server on loopback answers for its own names, and for pages of its own machine.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header, uri::Authority};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::app::Sim;

/// Schemes of programs with pages in them.
const SCHEMES: [&str; 5] = ["app", "file", "tauri", "vscode-webview", "vscode-file"];

/// Refuses foreign names and pages with an empty 403, and answers what a browser asks before it asks.
pub async fn guard(State(sim): State<Arc<Sim>>, request: Request, next: Next) -> Response {
    let origin = request.headers().get(header::ORIGIN).cloned();
    if !allows(request.headers(), sim.settings.listen) {
        return StatusCode::FORBIDDEN.into_response();
    }
    let mut response = if request.method() == Method::OPTIONS && origin.is_some() {
        StatusCode::NO_CONTENT.into_response()
    } else {
        next.run(request).await
    };
    if let Some(origin) = origin {
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::VARY, HeaderValue::from_static("Origin"));
    }
    response
}

fn allows(headers: &HeaderMap, listen: SocketAddr) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let host = text(header::HOST).unwrap_or_default();
    let origin = text(header::ORIGIN);
    (!listen.ip().is_loopback() || is_own_name(host))
        && origin.is_none_or(|origin| is_own_page(origin, host))
}

/// Names that lead to this machine or its neighbours alone. The name of the machine itself is not known here.
fn is_own_name(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else {
        return host.is_empty();
    };
    let name = authority.host().trim_matches(['[', ']']).to_lowercase();
    if let Ok(address) = name.parse::<IpAddr>() {
        return address.is_loopback() || address.is_unspecified() || is_private(address);
    }
    let ends = [".localhost", ".local", ".internal"];
    name == "localhost" || ends.iter().any(|end| name.ends_with(end))
}

fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_private(),
        IpAddr::V6(address) => address.is_unique_local(),
    }
}

fn is_own_page(origin: &str, host: &str) -> bool {
    let Some((scheme, rest)) = origin.split_once("://") else {
        return false;
    };
    if SCHEMES.contains(&scheme) {
        return true;
    }
    let name = rest.rsplit_once(':').map_or(rest, |(name, _)| name);
    let here = ["localhost", "127.0.0.1", "0.0.0.0"].contains(&name) || rest == host;
    ["http", "https"].contains(&scheme) && here
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_this_machine() {
        let own = [
            "",
            "localhost",
            "LocalHost:11434",
            "127.0.0.1:1",
            "[::1]:1",
            "0.0.0.0",
            "192.168.1.2",
            "a.local",
            "host.docker.internal:11434",
            "x.localhost",
        ];
        for host in own {
            assert!(is_own_name(host), "{host}");
        }
        for host in [
            "example.com",
            "local",
            "8.8.8.8",
            "localhost.example.com",
            "a b",
        ] {
            assert!(!is_own_name(host), "{host}");
        }
    }

    #[test]
    fn pages_of_this_machine() {
        let own = [
            "http://localhost",
            "https://localhost:3000",
            "http://127.0.0.1:5173",
            "tauri://localhost",
            "http://box:8080",
        ];
        for origin in own {
            assert!(is_own_page(origin, "box:8080"), "{origin}");
        }
        for origin in [
            "http://example.com",
            "null",
            "ftp://localhost",
            "http://box",
        ] {
            assert!(!is_own_page(origin, "box:8080"), "{origin}");
        }
    }

    #[test]
    fn names_do_not_matter_beyond_loopback() {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static("ollama:11434"));
        assert!(allows(&headers, "0.0.0.0:1".parse().unwrap()));
        assert!(!allows(&headers, "127.0.0.1:1".parse().unwrap()));
        headers.insert(
            header::ORIGIN,
            HeaderValue::from_static("http://example.com"),
        );
        assert!(!allows(&headers, "0.0.0.0:1".parse().unwrap()));
    }
}
