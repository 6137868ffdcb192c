//! What a turn of an agent costs in a process without a bus, beside a bare HTTP call of the same body to the same simulator.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use futures_util::StreamExt as _;
use serde::Serialize;
use serde_json::{Value, json};
use swarm_agents::agent_loop::{AgentLoop, Settings, Step};
use swarm_model::{ChatEvent, ChatModel as _, Ollama, Options};
use swarm_protocol::submission::Budget;
use swarm_protocol::work::Work;
use swarm_protocol::{RunId, Timestamp, Version};
use tempfile::TempDir;

use crate::process::{Process, free_port, listening, own_cpu};

const MODEL: &str = "llama3.2:3b";
const PROMPT: &str = "You are the measured agent. Answer briefly.";
const NUM_PREDICT: u32 = 2048;
const WINDOW: u32 = 8192;

/// What one turn costs, in µs of processor time: the median of the rounds.
#[derive(Debug, Clone, Serialize)]
pub struct Turn {
    /// A turn of an agent.
    pub agent_us: f64,
    /// A bare call.
    pub bare_us: f64,
    /// Of both, round by round.
    pub ratio: f64,
    /// Tokens of the answer.
    pub tokens: u64,
}

/// Which of both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Caller {
    /// The agent loop and the model client.
    Agent,
    /// An HTTP client that reads the answer to its end, and nothing of it.
    Bare,
}

/// Measures both in turns, each in a process of its own.
pub async fn measure(rounds: usize, turns: usize) -> Result<Turn> {
    let folder = TempDir::new()?;
    let port = free_port()?;
    let _simulator = simulator(port, folder.path()).await?;
    let mut pairs = Vec::new();
    for _ in 0..rounds {
        let bare = of(Caller::Bare, port, turns).await?;
        let agent = of(Caller::Agent, port, turns).await?;
        pairs.push((agent, bare));
    }
    let median = |of: fn(&(f64, f64)) -> f64| {
        let mut values: Vec<f64> = pairs.iter().map(of).collect();
        values.sort_unstable_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
    };
    Ok(Turn {
        agent_us: median(|(agent, _)| *agent),
        bare_us: median(|(_, bare)| *bare),
        ratio: median(|(agent, bare)| agent / bare),
        tokens: tokens(port).await?,
    })
}

async fn simulator(port: u16, folder: &Path) -> Result<Process> {
    let beside = std::env::current_exe()?.with_file_name("ollama-sim");
    // The answer is the one of all other rows, a token for each word.
    let rules = folder.join("rules.json");
    let answer =
        json!({ "rules": [{ "name": "measured", "then": [{ "text": crate::model::ANSWER }] }] });
    std::fs::write(&rules, answer.to_string())?;
    let mut command = Command::new(beside);
    command.args(["--listen", &format!("127.0.0.1:{port}")]);
    command.args(["--latency", "0", "--tokens-per-second", "0"]);
    command.arg("--rules").arg(rules);
    let process = Process::start("ollama-sim", command, folder)?;
    listening(port).await?;
    Ok(process)
}

async fn of(caller: Caller, port: u16, turns: usize) -> Result<f64> {
    let name = match caller {
        Caller::Agent => "agent",
        Caller::Bare => "bare",
    };
    let mut command = tokio::process::Command::new(std::env::current_exe()?);
    command.args(["turns", name, &port.to_string(), &turns.to_string()]);
    let output = command.output().await?;
    if !output.status.success() {
        bail!("{name}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let printed = String::from_utf8(output.stdout)?;
    printed.trim().parse().context("no figure was printed")
}

/// Prints the µs of processor time that a turn costs in this process. The first turns, which open connections, do not count.
pub async fn run(caller: Caller, port: u16, turns: usize) -> Result<()> {
    let calls = Calls::new(port)?;
    for _ in 0..turns.div_ceil(10) {
        calls.one(caller).await?;
    }
    let before = own_cpu()?;
    for _ in 0..turns {
        calls.one(caller).await?;
    }
    let used = own_cpu()?.saturating_sub(before);
    println!("{}", used.as_secs_f64() * 1e6 / turns as f64);
    Ok(())
}

async fn tokens(port: u16) -> Result<u64> {
    let body = Calls::new(port)?.bare().await?;
    let last = body.trim_end().rsplit('\n').next().unwrap_or_default();
    let last: Value = serde_json::from_str(last)?;
    last["eval_count"].as_u64().context("no eval_count")
}

struct Calls {
    http: reqwest::Client,
    url: String,
    /// What the model client sends for the same turn.
    body: String,
    ollama: Ollama,
    settings: Settings,
    work: Work,
}

impl Calls {
    fn new(port: u16) -> Result<Self> {
        let host = format!("http://127.0.0.1:{port}");
        let body = json!({
            "model": MODEL,
            "messages": [
                { "role": "system", "content": PROMPT },
                { "role": "user", "content": crate::TASK.trim() },
            ],
            "options": { "num_ctx": WINDOW, "num_predict": NUM_PREDICT },
            "stream": true, "truncate": false, "shift": false,
        });
        Ok(Self {
            http: reqwest::Client::builder().no_proxy().build()?,
            url: format!("{host}/api/chat"),
            body: body.to_string(),
            ollama: Ollama::new(Options::new(vec![host.parse()?]))?,
            settings: Settings {
                prompt: PROMPT.to_owned(),
                model: MODEL.to_owned(),
                max_iterations: 3,
                num_predict: NUM_PREDICT,
                tool_mode: None,
            },
            work: Work {
                v: Version,
                run: RunId::random(),
                task: "measured".parse()?,
                attempt: 1,
                agent: "measured".parse()?,
                input: crate::TASK.to_owned(),
                context: None,
                budget: Budget::default(),
                deadline: Timestamp::now().after(Duration::from_secs(3600)),
                decisions: BTreeMap::new(),
                messages: Vec::new(),
            },
        })
    }

    async fn one(&self, caller: Caller) -> Result<String> {
        match caller {
            Caller::Agent => self.agent().await,
            Caller::Bare => self.bare().await,
        }
    }

    async fn bare(&self) -> Result<String> {
        let call = self.http.post(&self.url).body(self.body.clone());
        Ok(call.send().await?.error_for_status()?.text().await?)
    }

    async fn agent(&self) -> Result<String> {
        let facts = self.ollama.facts(MODEL).await?;
        let mut agent = AgentLoop::new(self.settings.clone(), facts, Vec::new(), &self.work);
        loop {
            let request = match agent.step() {
                Step::Ask(request) => request,
                Step::Answer(text) => return Ok(text),
                other => bail!("{other:?}"),
            };
            let mut events = self.ollama.chat(*request);
            while let Some(event) = events.next().await {
                if let ChatEvent::Done(completion) = event? {
                    let turn = agent.read(completion, 0);
                    agent.take(&turn);
                }
            }
        }
    }
}
