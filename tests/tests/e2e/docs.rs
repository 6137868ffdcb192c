//! The commands of the documentation, run as they stand there.
//!
//! A block of shell below a `<!-- test -->` line is run to its end and must end with 0; one below `<!-- test: background "words" -->`
//! is a process that is up, once it has said the words, while the blocks behind it run. Ports of the documentation, 4222 and
//! 4223, are free ones here.

use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use swarm_tests::process::free_port;
use swarm_tests::{Process, Sim, tools};
use tempfile::TempDir;

use crate::FAST;

const MARK: &str = "<!-- test";
const SHELL: &str = "```sh\n";

/// A block of shell.
struct Block {
    script: String,
    /// Of one that stays: what it says when it is up.
    background: Option<String>,
}

fn blocks(text: &str) -> Vec<Block> {
    let marked = text.split(MARK).skip(1);
    marked
        .map(|rest| {
            let (mark, rest) = rest
                .split_once(&format!("-->\n{SHELL}"))
                .expect("a block of shell");
            let script = rest.split("```").next().expect("the end of a block");
            let background = mark.trim().strip_prefix(": background");
            Block {
                script: script.to_owned(),
                background: background.map(|words| match words.trim().trim_matches('"') {
                    "" => "swarm is ready".to_owned(),
                    words => words.to_owned(),
                }),
            }
        })
        .collect()
}

/// A machine on which nothing has run yet.
struct Machine {
    home: TempDir,
    ports: [u16; 2],
    environment: Vec<(&'static str, String)>,
}

impl Machine {
    fn new() -> Self {
        let ports = [free_port(), free_port()];
        Self {
            home: TempDir::new().unwrap(),
            ports,
            environment: vec![("NATS_URL", format!("nats://127.0.0.1:{}", ports[0]))],
        }
    }

    fn start(&self, name: &str, script: &str) -> Process {
        Process::start(name, self.shell(script), self.home.path())
    }

    fn shell(&self, script: &str) -> Command {
        let [first, second] = self.ports.map(|port| port.to_string());
        let script = script.replace("4222", &first).replace("4223", &second);
        let mut path = vec![
            tools::installed("nats").parent().unwrap().to_path_buf(),
            tools::built("swarm").parent().unwrap().to_path_buf(),
        ];
        path.extend(std::env::split_paths(
            &std::env::var_os("PATH").unwrap_or_default(),
        ));
        let mut command = Command::new("bash");
        command.args(["-euo", "pipefail", "-c", &script]);
        let environment = self.environment.iter().map(|(name, value)| (name, value));
        command
            .env_clear()
            .env("PATH", std::env::join_paths(path).unwrap())
            .env("HOME", self.home.path())
            .envs(environment)
            .current_dir(self.home.path());
        command
    }

    /// Runs the marked blocks of a page of the repository, so many as are known to be there.
    async fn runs(&self, page: &str, known: usize) {
        let text = std::fs::read_to_string(tools::repository().join(page)).unwrap();
        let blocks = blocks(&text);
        assert_eq!(blocks.len(), known, "blocks of {page}");
        let mut background = Vec::new();
        for block in blocks {
            if let Some(words) = &block.background {
                let process = self.start("background", &format!("exec {}", block.script.trim()));
                process.says(words, Duration::from_secs(30)).await;
                background.push(process);
                continue;
            }
            let mut process = self.start("block", &block.script);
            let status = process.ends(Duration::from_secs(90)).await;
            let said = format!("{}\n{}\n{}", block.script, process.out(), process.log());
            assert_eq!(status.code(), Some(0), "{said}");
            assert!(!said.contains("No responders"), "{said}");
            assert!(!said.contains("Nats-Service-Error"), "{said}");
        }
        for mut process in background.into_iter().rev() {
            process.signal(Signal::SIGINT);
            assert_eq!(process.ends(Duration::from_secs(20)).await.code(), Some(0));
        }
    }
}

impl Drop for Machine {
    /// A page may leave a detached stack up, and a failed one does.
    fn drop(&mut self) {
        let down = self.shell("swarm down").output();
        assert!(
            std::thread::panicking() || down.is_ok_and(|down| down.status.success()),
            "the stack of a page does not end"
        );
    }
}

#[tokio::test]
async fn commands_of_the_readme_do_what_it_says() {
    Machine::new().runs("README.md", 3).await;
}

#[tokio::test]
async fn commands_of_the_operations_page_do_what_it_says() {
    let mut machine = Machine::new();
    let sim = Sim::start(machine.home.path(), &FAST).await;
    let hosts = format!("[\"{}\"]", sim.url());
    machine.environment.push(("SWARM_OLLAMA_HOSTS", hosts));
    let page = std::fs::read_to_string(tools::repository().join("docs/operations.md")).unwrap();
    machine
        .runs("docs/operations.md", page.matches(SHELL).count())
        .await;
}
