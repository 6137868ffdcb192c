//! Drives the built program over HTTP, as its users do.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod answers;
mod catalog;
mod chat;
mod control;
mod disconnect;
mod errors;
mod pace;
mod program;
mod support;
