//! The commands of the documentation, run as they stand there.
//!
//! A block of shell below a `<!-- test -->` line is run to its end and must end with 0; one below `<!-- test: background -->`
//! is a stack that is up while the blocks behind it run.

use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use swarm_tests::process::free_port;
use swarm_tests::{Process, tools};
use tempfile::TempDir;

const MARK: &str = "<!-- test";
const BACKGROUND: &str = ": background";

/// A block of shell.
struct Block<'a> {
    script: &'a str,
    background: bool,
}

fn blocks(text: &str) -> Vec<Block<'_>> {
    let marked = text.split(MARK).skip(1);
    marked
        .map(|rest| {
            let (mark, rest) = rest.split_once("-->\n```sh\n").expect("a block of shell");
            let script = rest.split("```").next().expect("the end of a block");
            Block {
                script,
                background: mark.trim() == BACKGROUND,
            }
        })
        .collect()
}

/// A machine on which nothing has run yet.
struct Machine {
    home: TempDir,
    url: String,
}

impl Machine {
    fn new() -> Self {
        Self {
            home: TempDir::new().unwrap(),
            url: format!("nats://127.0.0.1:{}", free_port()),
        }
    }

    fn shell(&self, script: &str) -> Command {
        let mut path = vec![
            tools::installed("nats").parent().unwrap().to_path_buf(),
            tools::built("swarm").parent().unwrap().to_path_buf(),
        ];
        path.extend(std::env::split_paths(
            &std::env::var_os("PATH").unwrap_or_default(),
        ));
        let mut command = Command::new("bash");
        command.args(["-euo", "pipefail", "-c", script]);
        command
            .env_clear()
            .env("PATH", std::env::join_paths(path).unwrap())
            .env("HOME", self.home.path())
            .env("NATS_URL", &self.url)
            .current_dir(self.home.path());
        command
    }
}

#[tokio::test]
async fn commands_of_the_readme_do_what_it_says() {
    let readme = std::fs::read_to_string(tools::repository().join("README.md")).unwrap();
    let machine = Machine::new();
    let mut up = None;
    let mut ran = 0;
    for block in blocks(&readme) {
        if block.background {
            let script = format!("exec {}", block.script.trim());
            let process = Process::start("up", machine.shell(&script), machine.home.path());
            process
                .says("swarm is ready", Duration::from_secs(30))
                .await;
            up = Some(process);
            continue;
        }
        ran += 1;
        let mut process = Process::start("block", machine.shell(block.script), machine.home.path());
        let status = process.ends(Duration::from_secs(90)).await;
        let said = format!("{}\n{}", process.out(), process.log());
        assert_eq!(status.code(), Some(0), "{}\n{said}", block.script);
        assert!(!said.contains("No responders"), "{}\n{said}", block.script);
        assert!(
            !said.contains("Nats-Service-Error"),
            "{}\n{said}",
            block.script
        );
    }
    assert!(ran >= 2, "{ran} blocks");
    let mut up = up.expect("a stack");
    up.signal(Signal::SIGINT);
    assert_eq!(up.ends(Duration::from_secs(20)).await.code(), Some(0));
}
