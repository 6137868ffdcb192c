//! The worker of the fault tests, as a process: see [`swarm_tests::faults::worker`].

use swarm_tests::faults::worker::{self, SETUP};

#[tokio::main]
async fn main() {
    let filter = "info,async_nats=off,hyper=warn,reqwest=warn";
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    let setup = std::env::var(SETUP).unwrap_or_else(|error| panic!("{SETUP}: {error}"));
    let setup = serde_json::from_str(&setup).unwrap_or_else(|error| panic!("{SETUP}: {error}"));
    worker::run(setup).await;
}
