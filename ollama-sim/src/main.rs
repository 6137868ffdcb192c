//! A simulated Ollama server, for tests and for trying Swarm without a model.
//!
//! The program answers the part of Ollama's HTTP API that Swarm uses. No model runs: every answer is made up from the
//! request, begins with `[SIMULATED <model>] `, and every response carries the header `X-Ollama-Sim: 1`. It owns the
//! wire behaviour (statuses, wordings, chunks, when headers go out) and must know nothing of Swarm: no crate of the
//! workspace is a dependency of it, and it is never linked into `swarm`.
//!
//! # Two ports
//!
//! - `--listen`, the API: `POST /api/chat`, `GET|HEAD /api/tags`, `POST /api/show`, `GET|HEAD /api/ps`,
//!   `GET|HEAD /api/version`, `GET|HEAD /`.
//! - `--control`, what it saw: `GET|DELETE /sim/log` (see [`log::Record`]) and `GET /sim/stats` (see [`log::Stats`]).
//!
//! # Directives
//!
//! The last user message of a request may hold `[[sim:...]]` marks that change this one answer. They are taken out
//! before the answer is made up, so they do not change its words. See [`directive::Directives`] for all of them.
//!
//! # Where it differs from a model
//!
//! - A token is a word with the blanks before it; a prompt is counted as a quarter of the bytes of its messages.
//! - `format` is checked, but the answer is prose all the same. `stop`, `seed` and `keep_alive` (but for unloading) are
//!   checked or read, not followed. Offered tools are never called.
//! - A model is loaded at once, and all of them fit.
//!
//! Reading order: `options`, `serve`, `app`, `host` and `models`, `chat`, `directive`, `answer`, `tokens`, `catalog`,
//! `log`, `control`.

mod answer;
mod app;
mod catalog;
mod chat;
mod control;
mod directive;
mod host;
mod log;
mod models;
mod options;
mod refusal;
mod serve;
mod tokens;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;

#[tokio::main]
async fn main() -> ExitCode {
    match serve::run(options::Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&error.to_string());
            error.exit_code()
        }
    }
}

/// Writes one line to stderr under the program's name.
fn say(line: &str) {
    // With stderr gone there is nobody left to tell.
    writeln!(std::io::stderr(), "ollama-sim: {line}").unwrap_or_default();
}
