//! A little of `/v1`, so that clients of that API can be pointed here: chats and the list of models.
//!
//! A request is answered by `/api/chat`, whole, and the answer is told in the other words.

use std::sync::Arc;

use axum::body::to_bytes;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::app::Sim;
use crate::chat;
use crate::connection::Connection;
use crate::release::Release;

/// 2026-01-01, when every model was made and every answer given.
const CREATED: u64 = 1_767_225_600;
/// More than any answer has.
const LARGEST: usize = 256 << 20;

/// `GET /v1/models`.
pub async fn models(State(sim): State<Arc<Sim>>) -> Response {
    let models = sim.host.models();
    let models = models.iter().map(|model| {
        json!({"id": model.name, "object": "model", "created": CREATED, "owned_by": "library"})
    });
    document(&json!({"object": "list", "data": models.collect::<Vec<_>>()}))
}

/// `POST /v1/chat/completions`.
pub async fn completions(
    sim: State<Arc<Sim>>,
    connection: ConnectInfo<Connection>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let release = sim.settings.release;
    let request: Map<String, Value> = match serde_json::from_slice(&body) {
        Ok(request) => request,
        Err(error) => return failure(StatusCode::BAD_REQUEST, &error.to_string(), release),
    };
    let messages = request.get("messages").and_then(Value::as_array);
    if messages.is_none_or(Vec::is_empty) {
        let message = "[] is too short - 'messages'";
        return failure(StatusCode::BAD_REQUEST, message, Release::V0_33);
    }
    let stream = request
        .get("stream")
        .and_then(Value::as_bool)
        .unwrap_or(false);
    let native = Bytes::from(native(&request).to_string());
    let mut response = chat::chat(sim, connection, headers, native).await;
    let status = response.status();
    // A client that is cut off there is cut off here.
    let Ok(told) = to_bytes(std::mem::take(response.body_mut()), LARGEST).await else {
        return failure(StatusCode::INTERNAL_SERVER_ERROR, "unexpected EOF", release);
    };
    let answer: Value = serde_json::from_slice(&told).unwrap_or_default();
    let (mut parts, _) = response.into_parts();
    parts.headers.clear();
    let told = match answer.get("error").and_then(Value::as_str) {
        Some(error) => failure(status, error, release),
        None if stream => events(&answer),
        None => document(&completion(&answer)),
    };
    // The request is in the log already.
    let mut told = told;
    told.extensions_mut().extend(parts.extensions);
    told
}

/// The request in the words of `/api/chat`.
fn native(request: &Map<String, Value>) -> Value {
    let field = |name: &str| request.get(name).cloned().unwrap_or_default();
    let messages = request.get("messages").and_then(Value::as_array);
    let messages = messages.into_iter().flatten().map(message);
    let pairs = [
        ("num_predict", "max_tokens"),
        ("num_predict", "max_completion_tokens"),
        ("temperature", "temperature"),
        ("top_p", "top_p"),
        ("seed", "seed"),
    ];
    let options = pairs.into_iter().filter_map(|(native, name)| {
        let value = request.get(name).filter(|value| !value.is_null())?;
        Some((native.to_owned(), value.clone()))
    });
    let format = match request.get("response_format") {
        Some(format) if format.get("type").is_some_and(|kind| kind == "json_object") => {
            json!("json")
        }
        Some(format) => format
            .pointer("/json_schema/schema")
            .cloned()
            .unwrap_or_default(),
        None => Value::Null,
    };
    json!({
        "model": field("model"),
        "messages": messages.collect::<Vec<_>>(),
        "tools": field("tools"),
        "format": format,
        "options": options.collect::<Map<_, _>>(),
        "stream": false,
    })
}

fn message(message: &Value) -> Value {
    let mut message = message.clone();
    let Some(fields) = message.as_object_mut() else {
        return message;
    };
    if let Some(parts) = fields.get("content").and_then(Value::as_array) {
        let texts = parts.iter().filter_map(|part| part.get("text")?.as_str());
        let text = texts.collect::<Vec<_>>().join("\n");
        fields.insert("content".to_owned(), Value::String(text));
    }
    let calls = fields.get_mut("tool_calls").and_then(Value::as_array_mut);
    for call in calls.into_iter().flatten() {
        if let Some(arguments) = call.pointer_mut("/function/arguments")
            && let Some(object) = arguments
                .as_str()
                .and_then(|text| serde_json::from_str(text).ok())
        {
            *arguments = object;
        }
    }
    message
}

fn completion(answer: &Value) -> Value {
    let mut document = head(answer, "chat.completion");
    let choice = json!({"index": 0, "message": said(answer), "finish_reason": reason(answer)});
    if let Some(fields) = document.as_object_mut() {
        fields.insert("choices".to_owned(), json!([choice]));
        fields.insert("usage".to_owned(), usage(answer));
    }
    document
}

/// The answer as server-sent events: what is said in one, how it ended in another.
fn events(answer: &Value) -> Response {
    let mut text = String::new();
    let choices = [
        json!({"index": 0, "delta": said(answer), "finish_reason": null}),
        json!({"index": 0, "delta": {}, "finish_reason": reason(answer)}),
    ];
    for choice in choices {
        let mut chunk = head(answer, "chat.completion.chunk");
        if let Some(fields) = chunk.as_object_mut() {
            fields.insert("choices".to_owned(), json!([choice]));
        }
        text.push_str(&format!("data: {chunk}\n\n"));
    }
    text.push_str("data: [DONE]\n\n");
    ([(header::CONTENT_TYPE, "text/event-stream")], text).into_response()
}

fn head(answer: &Value, object: &str) -> Value {
    json!({
        "id": "chatcmpl-1",
        "object": object,
        "created": CREATED,
        "model": answer.get("model"),
        "system_fingerprint": "fp_ollama",
    })
}

fn said(answer: &Value) -> Value {
    let content = answer
        .pointer("/message/content")
        .cloned()
        .unwrap_or_default();
    let calls = answer
        .pointer("/message/tool_calls")
        .and_then(Value::as_array);
    let calls = calls.into_iter().flatten().map(|call| {
        let function = call.get("function").cloned().unwrap_or_default();
        let arguments = function.get("arguments").cloned().unwrap_or_default();
        json!({
            "id": call.get("id"),
            "index": function.get("index"),
            "type": "function",
            "function": {"name": function.get("name"), "arguments": arguments.to_string()},
        })
    });
    let calls: Vec<_> = calls.collect();
    if calls.is_empty() {
        json!({"role": "assistant", "content": content})
    } else {
        json!({"role": "assistant", "content": content, "tool_calls": calls})
    }
}

fn reason(answer: &Value) -> Value {
    match answer.pointer("/message/tool_calls") {
        Some(Value::Array(_)) => json!("tool_calls"),
        _ => answer.get("done_reason").cloned().unwrap_or_default(),
    }
}

fn usage(answer: &Value) -> Value {
    let count = |name: &str| answer.get(name).and_then(Value::as_u64).unwrap_or(0);
    let (prompt, eval) = (count("prompt_eval_count"), count("eval_count"));
    json!({"prompt_tokens": prompt, "completion_tokens": eval, "total_tokens": prompt + eval})
}

/// Without the character set that documents of `/api` have.
fn document(value: &Value) -> Response {
    (
        [(header::CONTENT_TYPE, "application/json")],
        value.to_string(),
    )
        .into_response()
}

fn failure(status: StatusCode, message: &str, release: Release) -> Response {
    let kind = match status {
        // The older one has other types for requests that it cannot read alone.
        _ if release == Release::V0_17 => "api_error",
        StatusCode::BAD_REQUEST => "invalid_request_error",
        StatusCode::NOT_FOUND => "not_found_error",
        _ => "api_error",
    };
    let error = json!({"error": {"message": message, "type": kind, "param": null, "code": null}});
    (status, document(&error)).into_response()
}
