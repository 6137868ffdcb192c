//! Faults of documents and of the bytes on the connection.

use std::time::Duration;

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use serde_json::{Value, json};

use super::{Fault, Kind};
use crate::refusal::{JSON, Refusal};

/// A pause of a dripping connection.
const DRIP: Duration = Duration::from_millis(5);
/// Bytes between two of them.
const DROP: usize = 32;

/// What comes in place of an answer.
pub fn instead(faults: &[Fault]) -> Option<(StatusCode, Response)> {
    let response = faults.iter().find_map(|fault| match fault.kind {
        Kind::Busy => Some(refused(
            StatusCode::SERVICE_UNAVAILABLE,
            crate::refusal::BUSY,
        )),
        Kind::ToolParseError => Some(refused(
            StatusCode::INTERNAL_SERVER_ERROR,
            "error parsing tool call: raw='{\"city\": \"Os', err=unexpected end of JSON input",
        )),
        Kind::RunnerCrash => Some(refused(
            StatusCode::INTERNAL_SERVER_ERROR,
            "model runner has unexpectedly stopped, this may be due to resource limitations or an internal error, \
             check ollama server logs for details",
        )),
        Kind::Html502 => Some(
            (
                StatusCode::BAD_GATEWAY,
                [(header::CONTENT_TYPE, "text/html")],
                "<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>\n",
            )
                .into_response(),
        ),
        Kind::Error200 => Some(
            (
                [(header::CONTENT_TYPE, JSON)],
                json!({"error": "an error was encountered while running the model"}).to_string(),
            )
                .into_response(),
        ),
        _ => None,
    })?;
    Some((response.status(), response))
}

fn refused(status: StatusCode, message: &str) -> Response {
    Refusal {
        status,
        message: message.to_owned(),
    }
    .into_response()
}

/// Whether documents have to be changed one by one.
pub fn touches_documents(faults: &[Fault]) -> bool {
    faults.iter().any(|fault| {
        matches!(
            fault.kind,
            Kind::ToolCallsNull
                | Kind::MissingContent
                | Kind::UnknownRole
                | Kind::UnknownFields
                | Kind::RemoteHost
                | Kind::NoMetrics
        )
    })
}

/// Changes one document.
pub fn mangle(document: &mut Value, faults: &[Fault]) {
    let Some(fields) = document.as_object_mut() else {
        return;
    };
    for fault in faults {
        match fault.kind {
            Kind::UnknownFields => {
                fields.insert("x_unheard_of".to_owned(), json!({"a": [1, null]}));
            }
            Kind::RemoteHost => {
                fields.insert("remote_model".to_owned(), json!("gpt-oss:120b"));
                fields.insert("remote_host".to_owned(), json!("https://ollama.com:443"));
            }
            Kind::NoMetrics => {
                fields.retain(|name, _| !name.ends_with("_duration") && !name.ends_with("_count"));
            }
            _ => {}
        }
        let Some(message) = fields.get_mut("message").and_then(Value::as_object_mut) else {
            continue;
        };
        match fault.kind {
            Kind::ToolCallsNull => {
                message.entry("tool_calls").or_insert(Value::Null);
            }
            // Text that is there stays: what is lost is the empty field beside calls and at the end.
            Kind::MissingContent => {
                message.retain(|name, value| name != "content" || value != "");
            }
            Kind::UnknownRole => {
                message.insert("role".to_owned(), json!("oracle"));
            }
            Kind::UnknownFields => {
                message.insert("annotations".to_owned(), json!([]));
            }
            _ => {}
        }
    }
}

/// How the bytes are cut into pieces.
pub fn pieces(bytes: &Bytes, faults: &[Fault]) -> Vec<Bytes> {
    let has = |kind| faults.iter().any(|fault| fault.kind == kind);
    let split = |size: usize| {
        let starts = (0..bytes.len()).step_by(size);
        starts
            .map(|start| bytes.slice(start..bytes.len().min(start + size)))
            .collect()
    };
    if has(Kind::SplitBytes) {
        split(1)
    } else if has(Kind::Drip) {
        split(DROP)
    } else if has(Kind::SplitUtf8) {
        inside_characters(bytes)
    } else {
        vec![bytes.clone()]
    }
}

/// Cuts after the first byte of every character that has more.
fn inside_characters(bytes: &Bytes) -> Vec<Bytes> {
    let mut pieces = Vec::new();
    let mut start = 0;
    for (place, byte) in bytes.iter().enumerate() {
        if *byte >= 0xC0 {
            pieces.push(bytes.slice(start..=place));
            start = place + 1;
        }
    }
    pieces.push(bytes.slice(start..));
    pieces
}

/// The stream with its pieces cut and delayed.
pub fn shaped<E>(
    stream: impl Stream<Item = Result<Bytes, E>>,
    faults: Vec<Fault>,
) -> impl Stream<Item = Result<Bytes, E>> {
    let drips = faults.iter().any(|fault| fault.kind == Kind::Drip);
    let cut = stream.flat_map(move |piece| {
        let pieces = match piece {
            Ok(bytes) => pieces(&bytes, &faults).into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error)],
        };
        stream::iter(pieces)
    });
    cut.then(move |piece| async move {
        if drips {
            tokio::time::sleep(DRIP).await;
        }
        piece
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_cut() {
        let bytes = Bytes::from_static("aä€b".as_bytes());
        let cut = |name: &str| pieces(&bytes, &[Fault::read(name).unwrap()]);
        assert_eq!(cut("split_bytes").len(), 7);
        let inside: Vec<_> = cut("split_utf8").iter().map(Bytes::len).collect();
        assert_eq!(inside, [2, 2, 3]);
        assert_eq!(cut("drip").len(), 1);
        assert_eq!(cut("busy").len(), 1);
    }

    #[test]
    fn documents_are_mangled() {
        let mut document =
            json!({"message": {"role": "assistant", "content": ""}, "eval_count": 1, "done": true});
        let faults = [
            "tool_calls_null",
            "missing_content",
            "unknown_role",
            "no_metrics",
        ];
        let faults = faults.map(|name| Fault::read(name).unwrap());
        assert!(touches_documents(&faults));
        mangle(&mut document, &faults);
        assert_eq!(
            document,
            json!({"message": {"role": "oracle", "tool_calls": null}, "done": true})
        );
    }
}
