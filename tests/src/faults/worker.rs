//! The worker of the tests: one of the crate `agents`, with the tools that write to the ledger.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use swarm_agents::agent_loop::Settings;
use swarm_agents::{Profile, Worker};
use swarm_bus::connection::Login;
use swarm_bus::work_loop::Shutdown;
use swarm_bus::{Bus, Role};
use swarm_model::ollama::Deadlines;
use swarm_model::{Ollama, Options};
use swarm_protocol::{AgentName, InstanceId, Span};
use swarm_tools::{Tool, Toolset};

use super::ledger::Ledger;
use super::tool::LedgerTool;
use crate::server::password;

/// The variable that holds a worker's setup as JSON.
pub const SETUP: &str = "SWARM_LEDGER_WORKER";

/// How a worker is put together.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Setup {
    /// Where NATS is.
    pub nats: String,
    /// Where the models are.
    pub host: String,
    /// What its tools write to.
    pub ledger: Ledger,
    /// The agent.
    pub agent: AgentName,
    /// Tasks at once.
    pub slots: u32,
    /// How long the server waits for a sign of life.
    pub work_ack_wait: Span,
    /// Longest attempt.
    pub attempt: Span,
    /// Longest pause before a token.
    pub tokens: Span,
}

/// Works until the process is killed, or cannot go on.
pub async fn run(setup: Setup) {
    let bus = Bus::connect(swarm_bus::Options {
        url: setup.nats,
        role: Role::Agent,
        login: Login::Password(password("agent")),
        name: "ledger worker".to_owned(),
        patience: Duration::from_secs(30),
    });
    let bus = bus.await.unwrap_or_else(|error| panic!("{error}"));
    let host = setup.host.parse().expect("the host is a URL");
    let model = Ollama::new(Options {
        parallel: setup.slots,
        deadlines: Deadlines {
            first_token: setup.tokens.0,
            first_token_unloaded: setup.tokens.0,
            between_tokens: setup.tokens.0,
            ..Deadlines::default()
        },
        ..Options::new(vec![host])
    });
    let model = model.unwrap_or_else(|error| panic!("{error}"));
    let tools = LedgerTool::both(&setup.ledger).map(|tool| Arc::new(tool) as Arc<dyn Tool>);
    let profile = Profile {
        agent: setup.agent,
        description: "Writes to the ledger".to_owned(),
        capabilities: Vec::new(),
        settings: Settings {
            prompt: "You write to the ledger.".to_owned(),
            model: "llama3.2:3b".to_owned(),
            max_iterations: 5,
            num_predict: 2048,
            tool_mode: None,
        },
        tools: Toolset::new(tools.into()).unwrap_or_else(|error| panic!("{error}")),
    };
    let options = swarm_agents::Options {
        profile,
        instance: InstanceId::random(),
        host: "tests".to_owned(),
        slots: setup.slots,
        drain: Duration::from_secs(5),
        attempt_deadline: setup.attempt.0,
        work_ack_wait: setup.work_ack_wait.0,
    };
    let worked = Worker::new(bus, Arc::new(model), options).run(Shutdown::default());
    let worked = Box::pin(worked).await;
    worked.unwrap_or_else(|error| panic!("{error}"));
}
