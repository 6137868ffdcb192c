//! What to do with a chat request: all checks, in Ollama's order, and nothing that takes time.

use std::time::Duration;

use serde_json::{Value, json};

use crate::app::{Pace, Settings};
use crate::clock::Clock;
use crate::conversation::Message;
use crate::fault::Fault;
use crate::keep_alive::KeepAlive;
use crate::models::{Model, Remote};
use crate::refusal::Refusal;
use crate::release::Release;
use crate::scheduler::Load;
use crate::schema;
use crate::script::{Ending, Script};

use super::compose::{self, Frame};
use super::context::{self, Window};
use super::direction::Direction;
use super::document::Shape;
use super::request::{ChatRequest, Think};
use super::run_options::RunOptions;
use super::stop::Stop;

/// What a sound request leads to.
#[derive(Debug)]
pub enum Plan {
    /// Load the model.
    Load(Load),
    /// Unload it.
    Unload,
    /// Load it if it is not, and answer.
    Answer(Load, Box<Job>),
}

/// An answer that is ready to be told.
#[derive(Debug)]
pub struct Job {
    /// The model's name as the client wrote it.
    pub model: String,
    /// Where it runs if it runs elsewhere.
    pub remote: Option<Remote>,
    /// What is said.
    pub script: Script,
    /// `prompt_eval_count`.
    pub prompt_tokens: u64,
    /// How fast it is told.
    pub pace: Pace,
    /// What the documents say of the time.
    pub clock: Clock,
    /// In chunks or whole.
    pub stream: bool,
    /// How the documents look.
    pub shape: Shape,
    /// The error that comes in its place.
    pub fail: Option<Refusal>,
    /// Where it stops in the middle.
    pub stop: Option<Stop>,
    /// What else goes wrong.
    pub faults: Vec<Fault>,
}

impl Job {
    /// The status that comes in place of an answer: what fails before anything is sent, or before the end of an answer
    /// that is sent whole.
    pub fn refusal(&self) -> Option<&Refusal> {
        match (&self.fail, &self.script.ending) {
            (Some(refusal), _) => Some(refusal),
            (None, Ending::Error(refusal)) if !self.stream || self.script.steps() == 0 => {
                Some(refusal)
            }
            _ => None,
        }
    }
}

/// Checks the request against the model and composes the answer.
///
/// Rules and plans are asked by `direct` when everything else is sound.
///
/// # Errors
/// 400 for what the model cannot do or cannot hold, 500 for bad options and formats.
pub fn plan(
    request: &ChatRequest,
    model: &Model,
    settings: &Settings,
    direct: impl FnOnce() -> Direction,
) -> Result<Plan, Refusal> {
    let keep_alive = request.keep_alive.unwrap_or(settings.keep_alive);
    if request.messages.is_empty() && request.keep_alive.is_some_and(KeepAlive::is_zero) {
        return Ok(Plan::Unload);
    }
    check_capabilities(request, model)?;
    let options = RunOptions::read(&request.options, settings.window, model.context_length)?;
    let load = Load {
        window: options.window,
        runner: runner(request, settings.release),
        keep_alive,
    };
    if request.messages.is_empty() {
        return Ok(Plan::Load(load));
    }
    check_think(request, settings.release)?;
    check_format(&request.format, settings.release)?;
    check_images(&request.messages, model, settings.release)?;
    let job = job(request, model, settings, options, direct())?;
    Ok(Plan::Answer(load, Box::new(job)))
}

fn job(
    request: &ChatRequest,
    model: &Model,
    settings: &Settings,
    options: RunOptions,
    mut direction: Direction,
) -> Result<Job, Refusal> {
    let emission = settings
        .release
        .emission(settings.emission.or(model.emission));
    let window = Window {
        size: options.window,
        truncate: request.truncate,
        shift: request.shift,
        release: settings.release,
        emission,
    };
    let fit = context::fit(&request.messages, request.tool_bytes, window, &model.tokens)?;
    let frame = Frame {
        emission,
        limit: fit.room.map_or(options.limit, |room| {
            options
                .limit
                .min(usize::try_from(room).unwrap_or(usize::MAX))
        }),
        seed: settings.seed,
    };
    let script = compose::script(request, model, &mut direction, frame);
    let directives = &request.directives;
    Ok(Job {
        model: request.model.clone(),
        remote: model.remote.clone(),
        stop: Stop::of(directives.cut, &direction.faults, script.steps()),
        script,
        prompt_tokens: fit.prompt,
        pace: pace(request, model, settings, &direction, fit.prompt),
        clock: settings.clock,
        stream: request.stream,
        shape: request.shape,
        fail: directives.fail.map(|status| Refusal {
            status,
            message: format!("simulated failure with status {}", status.as_u16()),
        }),
        faults: direction.faults,
    })
}

/// By mark, else by rule, else by model, else as set. Reading the prompt comes on top.
fn pace(
    request: &ChatRequest,
    model: &Model,
    settings: &Settings,
    direction: &Direction,
    prompt: u64,
) -> Pace {
    let outcome = direction.outcome.as_ref();
    let latency = request.directives.latency;
    let rate = request.directives.tokens_per_second;
    Pace {
        latency: latency
            .or_else(|| outcome?.latency)
            .unwrap_or(settings.pace.latency)
            + reading(model, prompt),
        tokens_per_second: rate
            .or_else(|| outcome?.tokens_per_second)
            .or(model.tokens_per_second)
            .unwrap_or(settings.pace.tokens_per_second),
    }
}

/// How long the model reads a prompt of so many tokens.
fn reading(model: &Model, prompt: u64) -> Duration {
    let rate = model.prompt_tokens_per_second.filter(|rate| *rate > 0.0);
    #[expect(
        clippy::cast_precision_loss,
        reason = "a prompt has less than 2^52 tokens"
    )]
    let span = rate.map_or(0.0, |rate| prompt as f64 / rate);
    Duration::try_from_secs_f64(span).unwrap_or_default()
}

/// The options that a runner is started with.
fn runner(request: &ChatRequest, release: Release) -> Value {
    const OPTIONS: [&str; 6] = [
        "num_batch",
        "num_gpu",
        "main_gpu",
        "use_mmap",
        "num_thread",
        "draft_num_predict",
    ];
    let given = OPTIONS.into_iter().filter_map(|name| {
        let value = request.options.get(name)?;
        Some((name.to_owned(), value.clone()))
    });
    let shift = release
        .reloads_for_shift()
        .then(|| ("shift".to_owned(), json!(request.shift)));
    Value::Object(given.chain(shift).collect())
}

fn check_capabilities(request: &ChatRequest, model: &Model) -> Result<(), Refusal> {
    if request.wants_thinking() && !model.can("thinking") {
        return Err(Refusal::bad_request(format!(
            "{:?} does not support thinking",
            request.model
        )));
    }
    if !model.can("completion") {
        return Err(Refusal::bad_request(format!(
            "{:?} does not support {}",
            request.model,
            request.shape.verb()
        )));
    }
    if request.suffix && !model.can("insert") {
        return Err(Refusal::bad_request(format!(
            "{} does not support insert",
            model.full_name()
        )));
    }
    if !request.tools.is_empty() && !model.can("tools") {
        return Err(Refusal::bad_request(format!(
            "{} does not support tools",
            model.full_name()
        )));
    }
    Ok(())
}

/// Before 0.30 levels are for one family of models alone, which is not among those that are simulated.
fn check_think(request: &ChatRequest, release: Release) -> Result<(), Refusal> {
    match (&request.think, release) {
        (Some(Think::Level(level)), Release::V0_17) => Err(Refusal::bad_request(format!(
            "think value {level:?} is not supported for this model"
        ))),
        _ => Ok(()),
    }
}

fn check_images(messages: &[Message], model: &Model, release: Release) -> Result<(), Refusal> {
    let images: usize = messages.iter().map(|message| message.images).sum();
    if images == 0 || model.can("vision") || release == Release::V0_17 {
        return Ok(());
    }
    Err(Refusal::runner(
        "Multimodal data provided, but model does not support multimodal requests.",
    ))
}

fn check_format(format: &Value, release: Release) -> Result<(), Refusal> {
    match format {
        Value::Null => Ok(()),
        Value::Object(_) => schema::check(format, release),
        Value::String(name) if name == "json" => Ok(()),
        other => Err(Refusal::internal(format!(
            r#"invalid format: {:?}; expected "json" or a valid JSON Schema object"#,
            other.to_string()
        ))),
    }
}
