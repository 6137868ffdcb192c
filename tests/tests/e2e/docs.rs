//! The commands of the documentation, run as they stand there.
//!
//! A block of shell below a `<!-- test -->` line is run to its end and must end with 0; one below `<!-- test: background "words" -->`
//! is a process that is up, once it has said the words, while the blocks behind it run, or up to one below
//! `<!-- test: after Ctrl-C -->`, before which the last such process is ended. Ports of the documentation, 4222 and 4223, are free
//! ones here.

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
    /// Whether the last one that stays is ended before.
    after_end: bool,
}

fn blocks(text: &str) -> Vec<Block> {
    let marked = text.split(MARK).skip(1);
    marked
        .map(|rest| {
            let (mark, rest) = rest
                .split_once(&format!("-->\n{SHELL}"))
                .expect("a block of shell");
            let script = rest.split("```").next().expect("the end of a block");
            let (background, after_end) = match mark.trim() {
                "" => (None, false),
                ": after Ctrl-C" => (None, true),
                mark => (mark.strip_prefix(": background"), false),
            };
            assert!(
                mark.trim().is_empty() || after_end || background.is_some(),
                "{mark}"
            );
            Block {
                script: script.to_owned(),
                background: background.map(|words| match words.trim().trim_matches('"') {
                    "" => "swarm is ready".to_owned(),
                    words => words.to_owned(),
                }),
                after_end,
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

    /// Runs the marked blocks of a page of the repository; gives the processes that stay.
    async fn run(&self, page: &str) -> Vec<Process> {
        let mut background = Vec::new();
        for block in blocks(&read(page)) {
            if block.after_end {
                end(background.pop().into_iter().collect()).await;
            }
            if let Some(words) = &block.background {
                let process = self.start("background", &format!("exec {}", block.script.trim()));
                process.says(words, Duration::from_secs(30)).await;
                background.push(process);
            } else {
                self.succeeds(&block.script).await;
            }
        }
        assert!(!background.is_empty(), "nothing of {page} was tried");
        background
    }

    async fn succeeds(&self, script: &str) {
        let mut process = self.start("block", script);
        let status = process.ends(Duration::from_secs(90)).await;
        let said = format!("{script}\n{}\n{}", process.out(), process.log());
        assert_eq!(status.code(), Some(0), "{said}");
        assert!(!said.contains("No responders"), "{said}");
        assert!(!said.contains("Nats-Service-Error"), "{said}");
    }
}

/// A page of the repository.
fn read(page: &str) -> String {
    std::fs::read_to_string(tools::repository().join(page)).unwrap()
}

/// Ends them as Ctrl-C does, the last one first.
async fn end(processes: Vec<Process>) {
    for mut process in processes.into_iter().rev() {
        process.signal(Signal::SIGINT);
        assert_eq!(process.ends(Duration::from_secs(20)).await.code(), Some(0));
    }
}

impl Drop for Machine {
    /// A page that failed may have left a detached stack up.
    fn drop(&mut self) {
        if std::thread::panicking() {
            let down = self.shell("swarm down").output();
            down.map(drop).unwrap_or_default();
        }
    }
}

#[tokio::test]
async fn commands_of_the_readme_do_what_it_says() {
    let machine = Machine::new();
    end(machine.run("README.md").await).await;
}

#[tokio::test]
async fn commands_of_the_operations_page_do_what_it_says() {
    let page = "docs/operations.md";
    let (marked, all) = (blocks(&read(page)).len(), read(page).matches(SHELL).count());
    assert_eq!(marked, all, "every block of {page} is run");
    let mut machine = Machine::new();
    let sim = Sim::start(machine.home.path(), &FAST).await;
    let hosts = format!("[\"{}\"]", sim.url());
    machine.environment.push(("SWARM_OLLAMA_HOSTS", hosts));
    let background = machine.run(page).await;
    machine.succeeds("swarm down").await;
    end(background).await;
}
