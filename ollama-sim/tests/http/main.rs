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
mod cloud;
mod completions;
mod context;
mod control;
mod disconnect;
mod embed;
mod errors;
mod faults;
mod format;
mod generate;
mod guard;
mod making;
mod pace;
mod page;
mod program;
mod rules;
mod runners;
mod scheduler;
mod store;
mod support;
mod thinking;
mod tools;
mod wire;
