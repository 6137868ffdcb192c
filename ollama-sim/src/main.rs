//! A simulated Ollama server, for tests and for trying Swarm without a model.
//!
//! The program answers the part of Ollama's HTTP API that Swarm uses. No model runs: every answer is made up from the
//! request, begins with `[SIMULATED <model>] `, and every response carries the header `X-Ollama-Sim: 1`. It owns the
//! wire behaviour (statuses, wordings, chunks, when headers go out) and must know nothing of Swarm: no crate of the
//! workspace is a dependency of it, and it is never linked into `swarm`.
//!
//! # Two ports
//!
//! - `--listen`, the API.
//! - `--control`, what it saw: `GET|DELETE /sim/log` (see [`log::Record`]) and `GET /sim/stats` (see [`log::Stats`]).
//!
//! # What is said
//!
//! By default (see [`default`]) an offered tool is called once, a `format` gets an instance, and everything else gets
//! prose. The last user message of a request may hold `[[sim:...]]` marks that change this one answer; they are taken
//! out before the answer is made up, so they do not change its words. See [`directive::Directives`] for all of them.
//!
//! # Where it differs from a model
//!
//! - A token is a word with the blanks before it, and four bytes of a call; a prompt is counted as a quarter of the
//!   bytes of its messages and tools.
//! - `stop`, `seed` and the other options of sampling are checked, not followed.
//!
//! Reading order: `options`, `serve`, `app`, `guard`, `release`, `host` and `models`, `access`, `chat`, `conversation`,
//! `directive`, `rules`, `default`, `script`, `answer`, `schema`, `tokens`, `fault`, `scheduler`, `catalog`, `store`,
//! `account`, `log`, `control`.

mod access;
mod account;
mod answer;
mod app;
mod catalog;
mod chat;
mod clock;
mod connection;
mod control;
mod conversation;
mod default;
mod directive;
mod document;
mod embed;
mod fault;
mod guard;
mod host;
mod keep_alive;
mod log;
mod metrics;
mod models;
mod openai;
mod options;
mod pattern;
mod refusal;
mod release;
mod rules;
mod scheduler;
mod schema;
mod script;
mod serve;
mod store;
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
