//! The harness of the end-to-end tests: a real nats-server with the `nats.conf` of Swarm, real `swarm` processes with the
//! users of that file, a simulated Ollama, and the real `nats` CLI. Every test has its own of each, on free ports.
//!
//! Nothing here sleeps for a time that should be long enough: everything waits for a condition, under a deadline.

pub mod faults;
pub mod home;
pub mod nats_cli;
pub mod ollama;
pub mod otlp;
pub mod process;
pub mod proxy;
pub mod reference;
pub mod server;
pub mod sim;
pub mod skewed;
pub mod small_disk;
pub mod stack;
pub mod tools;

use std::future::Future;
use std::time::{Duration, Instant};

pub use home::Home;
pub use otlp::Collector;
pub use process::Process;
pub use server::Server;
pub use sim::Sim;
pub use stack::Stack;

/// A condition is looked at this often.
const PERIOD: Duration = Duration::from_millis(20);

/// Waits until `condition` gives something; panics with `what` when it does not within `patience`.
pub async fn eventually<T, F>(what: &str, patience: Duration, mut condition: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = condition().await {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: not within {patience:?}");
        tokio::time::sleep(PERIOD).await;
    }
}

/// Whether something holds, as a condition of [`eventually`].
#[must_use]
pub fn holds(condition: bool) -> Option<()> {
    condition.then_some(())
}
