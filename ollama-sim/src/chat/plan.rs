//! What to do with a chat request: all checks, in Ollama's order, and nothing that takes time.

use serde_json::Value;

use crate::answer;
use crate::app::Pace;
use crate::models::Model;
use crate::refusal::Refusal;
use crate::tokens::Tokens;

use super::context;
use super::request::ChatRequest;
use super::run_options::RunOptions;

/// What a sound request leads to.
#[derive(Debug)]
pub enum Plan {
    /// Load the model with this window, in tokens.
    Load {
        /// The window.
        window: u64,
    },
    /// Unload it.
    Unload,
    /// Answer.
    Answer(Job),
}

/// An answer that is ready to be told.
#[derive(Debug)]
pub struct Job {
    /// The model's name as the client wrote it.
    pub model: String,
    /// The window the model is loaded with, in tokens.
    pub window: u64,
    /// The answer, as much of it as may be told.
    pub tokens: Tokens,
    /// `stop`, or `length` if `num_predict` cut it.
    pub done_reason: &'static str,
    /// `prompt_eval_count`.
    pub prompt_tokens: u64,
    /// How fast it is told.
    pub pace: Pace,
    /// In chunks or whole.
    pub stream: bool,
    /// The error that comes in its place.
    pub fail: Option<Refusal>,
    /// Whether the connection is closed half-way.
    pub cut: bool,
}

/// Checks the request against the model and composes the answer.
///
/// # Errors
/// 400 for what the model cannot do or cannot hold, 500 for bad options and formats.
pub fn plan(request: &ChatRequest, model: &Model, pace: Pace) -> Result<Plan, Refusal> {
    if request.messages.is_empty() && request.unload {
        return Ok(Plan::Unload);
    }
    check_capabilities(request, model)?;
    let options = RunOptions::read(&request.options, model.context_length)?;
    if request.messages.is_empty() {
        return Ok(Plan::Load {
            window: options.window,
        });
    }
    check_format(&request.format)?;
    let prompt_tokens = context::fit(&request.messages, options.window, request.truncate)?;
    Ok(Plan::Answer(job(
        request,
        model,
        pace,
        options,
        prompt_tokens,
    )))
}

fn job(
    request: &ChatRequest,
    model: &Model,
    pace: Pace,
    options: RunOptions,
    prompt_tokens: u64,
) -> Job {
    let directives = &request.directives;
    let text = match &directives.reply {
        Some(reply) => answer::given(&model.name, reply),
        None => answer::compose(&model.name, &request.messages),
    };
    let whole = Tokens::of(text);
    let length = directives.tokens.unwrap_or(whole.count());
    let told = options.limit.map_or(length, |limit| limit.min(length));
    let fail = directives.fail.map(|status| Refusal {
        status,
        message: format!("simulated failure with status {}", status.as_u16()),
    });
    Job {
        model: request.model.clone(),
        window: options.window,
        tokens: whole.resized(told),
        done_reason: if told < length { "length" } else { "stop" },
        prompt_tokens,
        pace: Pace {
            latency: directives.latency.unwrap_or(pace.latency),
            tokens_per_second: directives
                .tokens_per_second
                .unwrap_or(pace.tokens_per_second),
        },
        stream: request.stream,
        fail,
        cut: directives.cut,
    }
}

fn check_capabilities(request: &ChatRequest, model: &Model) -> Result<(), Refusal> {
    if request.think && !model.can("thinking") {
        return Err(Refusal::bad_request(format!(
            "{:?} does not support thinking",
            request.model
        )));
    }
    if request.tools && !model.can("tools") {
        return Err(Refusal::bad_request(format!(
            "{} does not support tools",
            model.full_name()
        )));
    }
    Ok(())
}

fn check_format(format: &Value) -> Result<(), Refusal> {
    match format {
        Value::Null | Value::Object(_) => Ok(()),
        Value::String(name) if name.is_empty() || name == "json" => Ok(()),
        other => Err(Refusal::internal(format!(
            r#"invalid format: {:?}; expected "json" or a valid JSON Schema object"#,
            other.to_string()
        ))),
    }
}
