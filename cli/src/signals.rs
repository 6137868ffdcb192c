//! What stops a process: SIGINT, SIGTERM, or the end of the parent that supervises it.

use anyhow::Context as _;
use tokio::io::AsyncReadExt as _;
use tokio::signal::unix::{SignalKind, signal};

/// Set for the children of `swarm up`: their stdin is a pipe that closes when the parent dies, however it dies.
pub(crate) const SUPERVISED: &str = "SWARM_SUPERVISED";

/// What came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    Interrupt,
    Terminate,
    ParentGone,
}

/// Waits for the first reason to stop.
///
/// # Errors
/// When signals cannot be listened for.
pub(crate) async fn stop() -> anyhow::Result<Stop> {
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be listened for")?;
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be listened for")?;
    Ok(tokio::select! {
        _ = interrupt.recv() => Stop::Interrupt,
        _ = terminate.recv() => Stop::Terminate,
        () = parent_gone() => Stop::ParentGone,
    })
}

async fn parent_gone() {
    if std::env::var_os(SUPERVISED).is_none() {
        return std::future::pending().await;
    }
    let mut stdin = tokio::io::stdin();
    let mut byte = [0];
    while matches!(stdin.read(&mut byte).await, Ok(1..)) {}
}
