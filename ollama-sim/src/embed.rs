//! `POST /api/embed` and the older `POST /api/embeddings`: vectors without a model.
//!
//! The vector of a text is the sum of those of its words, each made from the word's hash: equal texts have equal
//! vectors, and texts that share words are nearer to each other than others.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::app::Sim;
use crate::chat::RunOptions;
use crate::keep_alive::KeepAlive;
use crate::log::{Exchange, Logged, Opening};
use crate::refusal::Refusal;
use crate::release::Release;
use crate::scheduler::Load;
use crate::{access, catalog};

#[derive(Deserialize)]
struct Request {
    model: Option<String>,
    input: Option<Value>,
    prompt: Option<String>,
    truncate: Option<bool>,
    dimensions: Option<usize>,
    keep_alive: Option<Value>,
    options: Option<Map<String, Value>>,
}

/// The vectors of some texts, and how many tokens these have.
struct Embedded {
    model: String,
    vectors: Vec<Vec<f32>>,
    prompt: u64,
}

/// `POST /api/embed`.
pub async fn embed(State(sim): State<Arc<Sim>>, body: Bytes) -> Response {
    answer(&sim, "/api/embed", body, |embedded| {
        if embedded.vectors.is_empty() {
            return json!({"model": embedded.model, "embeddings": []});
        }
        json!({
            "model": embedded.model,
            "embeddings": embedded.vectors,
            "total_duration": 1_000_000,
            "load_duration": 1_000_000,
            "prompt_eval_count": embedded.prompt,
        })
    })
    .await
}

/// `POST /api/embeddings`.
pub async fn embed_one(State(sim): State<Arc<Sim>>, body: Bytes) -> Response {
    answer(
        &sim,
        "/api/embeddings",
        body,
        |embedded| json!({"embedding": embedded.vectors.first().cloned().unwrap_or_default()}),
    )
    .await
}

async fn answer(
    sim: &Sim,
    path: &'static str,
    body: Bytes,
    write: fn(&Embedded) -> Value,
) -> Response {
    let request: Result<Request, _> =
        serde_json::from_slice(&body).map_err(|error| Refusal::bad_json(&error, &body));
    let model = request
        .as_ref()
        .ok()
        .and_then(|request| request.model.clone());
    let exchange = sim.log.begin(Opening {
        path,
        model: model.unwrap_or_default(),
        body,
        ..Opening::default()
    });
    let embedded = match request {
        Ok(request) => embedded(sim, request, &exchange).await,
        Err(refusal) => Err(refusal),
    };
    let response = match embedded {
        Ok(embedded) => {
            exchange.sent(1);
            exchange.done();
            catalog::document(&write(&embedded))
        }
        Err(refusal) => {
            exchange.failed(refusal.status.as_u16());
            refusal.into_response()
        }
    };
    (Extension(Logged), response).into_response()
}

async fn embedded(sim: &Sim, request: Request, exchange: &Exchange) -> Result<Embedded, Refusal> {
    let name = request.model.unwrap_or_default();
    let texts = texts(request.input, request.prompt)?;
    let model =
        access::find(sim, &name, access::INFERENCE).map_err(|refusal| match refusal.status {
            StatusCode::NOT_FOUND if !name.is_empty() => Refusal {
                message: format!("model {name:?} not found, try pulling it first"),
                ..refusal
            },
            _ => refusal,
        })?;
    let options = RunOptions::read(
        &request.options.unwrap_or_default(),
        sim.settings.window,
        model.context_length,
    )?;
    let keep_alive = request
        .keep_alive
        .as_ref()
        .map(KeepAlive::read)
        .transpose()?;
    let load = Load {
        window: options.window,
        runner: Value::Null,
        keep_alive: keep_alive.unwrap_or(sim.settings.keep_alive),
    };
    let _slot = sim.scheduler.slot(&model, &load).await?;
    if !texts.is_empty() && !model.can("embedding") && sim.settings.release == Release::V0_33 {
        return Err(Refusal {
            status: StatusCode::NOT_IMPLEMENTED,
            message: "This server does not support embeddings. Start it with `--embeddings`"
                .to_owned(),
        });
    }
    let mut prompt = 0;
    for text in &texts {
        let count = model.tokens.prompt(model.tokens.weight(text));
        if count > options.window && request.truncate == Some(false) {
            return Err(Refusal::bad_request(
                "the input length exceeds the context length",
            ));
        }
        prompt += count.min(options.window);
    }
    exchange.tokens(prompt, 0);
    let whole = usize::try_from(model.embedding_length).unwrap_or(0);
    let width = request
        .dimensions
        .filter(|width| *width > 0)
        .map_or(whole, |width| width.min(whole));
    Ok(Embedded {
        model: name,
        vectors: texts
            .iter()
            .map(|text| vector(text, whole, width))
            .collect(),
        prompt,
    })
}

fn texts(input: Option<Value>, prompt: Option<String>) -> Result<Vec<String>, Refusal> {
    let invalid = || Refusal::bad_request("invalid input type");
    let texts = match input {
        None | Some(Value::Null) => prompt.into_iter().collect(),
        Some(Value::String(text)) => vec![text],
        Some(Value::Array(items)) => {
            let texts = items.iter().map(|item| item.as_str().map(str::to_owned));
            return texts.collect::<Option<_>>().ok_or_else(invalid);
        }
        Some(_) => return Err(invalid()),
    };
    Ok(texts.into_iter().filter(|text| !text.is_empty()).collect())
}

/// A vector of length 1, made for `whole` places and cut to `width`.
fn vector(text: &str, whole: usize, width: usize) -> Vec<f32> {
    let mut sum = vec![0.0_f32; whole];
    let words = text
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase);
    for word in words {
        for (place, value) in sum.iter_mut().zip(noise(&word)) {
            *place += value;
        }
    }
    if sum.iter().all(|value| *value == 0.0) {
        sum = noise(text).take(whole).collect();
    }
    sum.truncate(width);
    let length = sum.iter().map(|value| value * value).sum::<f32>().sqrt();
    if length > 0.0 {
        sum.iter_mut().for_each(|value| *value /= length);
    }
    sum
}

/// Endless numbers from -1 to 1 that depend on the word.
fn noise(word: &str) -> impl Iterator<Item = f32> {
    let seed = Sha256::digest(word);
    (0_u64..).flat_map(move |block| {
        let hash = Sha256::new()
            .chain_update(seed)
            .chain_update(block.to_be_bytes())
            .finalize();
        hash.into_iter()
            .map(|byte| f32::from(byte) / 127.5 - 1.0)
            .collect::<Vec<_>>()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nearness(one: &str, other: &str) -> f32 {
        let vectors = [one, other].map(|text| vector(text, 256, 256));
        vectors[0]
            .iter()
            .zip(&vectors[1])
            .map(|(one, other)| one * other)
            .sum()
    }

    #[test]
    fn texts_that_share_words_are_near() {
        assert!((nearness("the red house", "The RED house!") - 1.0).abs() < 1e-4);
        let near = nearness("the red house", "the red car");
        let far = nearness("the red house", "some green tree");
        assert!(near > far + 0.3, "{near} {far}");
    }

    #[test]
    fn vectors_have_length_one() {
        for (text, width) in [("a b", 256), ("a b", 10), ("?", 256)] {
            let vector = vector(text, 256, width);
            let length = vector.iter().map(|value| value * value).sum::<f32>();
            assert!(
                (length - 1.0).abs() < 1e-3 && vector.len() == width,
                "{text} {length}"
            );
        }
    }
}
