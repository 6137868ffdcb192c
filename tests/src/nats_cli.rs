//! The real `nats` CLI, as a person uses it: without credentials.

use std::process::Command;

use crate::{process, tools};

/// What a command of the CLI printed.
#[derive(Debug, Clone)]
pub struct Printed {
    /// Its stdout.
    pub out: String,
    /// Its stderr.
    pub err: String,
    /// Whether it ended with 0.
    pub ok: bool,
}

impl Printed {
    /// Both together: the CLI shows headers on stderr and bodies on stdout.
    #[must_use]
    pub fn all(&self) -> String {
        format!("{}\n{}", self.err, self.out)
    }

    /// The value of a header that the CLI shows.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        let start = format!("{name}: ");
        self.all()
            .lines()
            .find_map(|line| Some(line[line.find(&start)? + start.len()..].to_owned()))
    }
}

/// Runs `nats --server <url> <arguments>`.
pub async fn nats(url: &str, arguments: &[&str]) -> Printed {
    let mut command = Command::new(tools::installed("nats"));
    command
        .args(["--server", url])
        .args(arguments)
        .env_remove("NATS_URL")
        .env_remove("NATS_CONTEXT");
    // Contexts of the person who runs the tests are none of their business.
    command.env(
        "XDG_CONFIG_HOME",
        std::env::temp_dir().join("swarm-tests-no-contexts"),
    );
    process::run(command).await.0
}
