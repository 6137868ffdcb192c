//! What stops a process: SIGINT, SIGTERM, or the end of the parent that supervises it.

use std::io::Read as _;

use anyhow::Context as _;
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
    tokio::select! {
        signal = signal_only() => signal,
        () = parent_gone() => Ok(Stop::ParentGone),
    }
}

/// Waits for the first signal.
///
/// # Errors
/// When signals cannot be listened for.
pub(crate) async fn signal_only() -> anyhow::Result<Stop> {
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be listened for")?;
    let mut terminate =
        signal(SignalKind::terminate()).context("SIGTERM cannot be listened for")?;
    Ok(tokio::select! {
        _ = interrupt.recv() => Stop::Interrupt,
        _ = terminate.recv() => Stop::Terminate,
    })
}

async fn parent_gone() {
    if std::env::var_os(SUPERVISED).is_none() {
        return std::future::pending().await;
    }
    let (gone, waiting) = tokio::sync::oneshot::channel();
    // A thread of its own, which nobody joins: the runtime would wait at its end for a read that never returns.
    std::thread::spawn(move || {
        let mut byte = [0];
        while matches!(std::io::stdin().read(&mut byte), Ok(1..)) {}
        gone.send(()).unwrap_or_default();
    });
    waiting.await.unwrap_or_default();
}
