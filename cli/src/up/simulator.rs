//! The model simulator of `swarm up --simulate`: a program of its own, which always says what it is.

use std::time::Duration;

use serde::Deserialize;
use swarm_protocol::Code;
use tokio::process::Command;
use tokio::time::Instant;

use super::child::{Child, Supervision};
use super::home::Home;
use super::server::find;
use crate::args::SimulatorArgs;
use crate::exit::{Failure, UNREACHABLE};

/// Its name among the children.
pub(super) const NAME: &str = "ollama-sim";

const PATIENCE: Duration = Duration::from_secs(10);

/// Where it listens, as it writes it into its ports file.
#[derive(Deserialize)]
struct Ports {
    listen: String,
    control: String,
}

/// Starts it for some models, and gives its URL.
///
/// # Errors
/// When it is not there or does not start.
pub(super) async fn start(
    home: &Home,
    args: &SimulatorArgs,
    models: impl Iterator<Item = String>,
    supervision: &Supervision,
) -> Result<(Child, String), Failure> {
    let unreachable = |message: String| Failure::new(UNREACHABLE, Code::Unavailable, message);
    let binary = find(NAME).ok_or_else(|| {
        unreachable(
            "ollama-sim is not there: `cargo build -p ollama-sim` makes it, beside this program"
                .to_owned(),
        )
    })?;
    let ports_file = home.join("ollama-sim.json");
    if let Err(error) = std::fs::remove_file(&ports_file)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        return Err(unreachable(format!("{}: {error}", ports_file.display())));
    }
    let mut models: Vec<String> = models.collect();
    models.sort();
    models.dedup();
    let mut command = Command::new(binary);
    // Any ports will do: started again, it takes those of the ports file.
    command.args(["--listen", "127.0.0.1:0"]);
    command
        .arg("--control")
        .arg(args.simulate_control.to_string());
    command
        .arg("--ports-file")
        .arg(&ports_file)
        .arg("--models")
        .arg(models.join(","));
    command.arg("--latency").arg(&args.simulate_latency);
    command
        .arg("--tokens-per-second")
        .arg(args.simulate_tokens_per_second.to_string());
    home.forget_passwords(&mut command);
    let child = Child::start(NAME, command, supervision)?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let read = std::fs::read(&ports_file)
            .ok()
            .and_then(|text| serde_json::from_slice::<Ports>(&text).ok());
        if let Some(ports) = read {
            tracing::info!(
                control = ports.control,
                "the simulator shows its requests at /sim/log"
            );
            return Ok((child, format!("http://{}", ports.listen)));
        }
        if Instant::now() > deadline {
            return Err(unreachable(
                "ollama-sim did not start; its log says why".to_owned(),
            ));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
