//! The Ollama transport against a fake host that says byte by byte what the test wants.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod answers;
mod cancel;
mod cloud;
mod deadlines;
mod errors;
mod facts;
mod hosts;
mod probe;
mod support;
