//! The shape of `swarm.yaml`, with its defaults. What the schema says of a field is what is accepted.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use swarm_agents::roles;
use swarm_protocol::{AgentName, Span};

/// The whole file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) nats: Nats,
    pub(crate) ollama: Ollama,
    pub(crate) agents: BTreeMap<AgentName, Agent>,
    pub(crate) mcp: Mcp,
    pub(crate) mcp_servers: Map<String, Value>,
    pub(crate) runs: Runs,
    pub(crate) tools: Tools,
}

impl Default for Config {
    fn default() -> Self {
        let names = roles::ROLES
            .iter()
            .filter_map(|role| role.name.parse().ok());
        Self {
            nats: Nats::default(),
            ollama: Ollama::default(),
            agents: names.map(|name| (name, Agent::default())).collect(),
            mcp: Mcp::default(),
            mcp_servers: Map::new(),
            runs: Runs::default(),
            tools: Tools::default(),
        }
    }
}

/// `nats`: the server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Nats {
    #[schemars(extend("format" = "nats-urls"))]
    pub(crate) url: String,
    pub(crate) creds: Option<String>,
    #[schemars(range(min = 1, max = 5))]
    pub(crate) replicas: u32,
    /// How long an agent may be silent about an attempt before another one gets it.
    #[schemars(extend("format" = "time"))]
    pub(crate) work_ack_wait: Span,
}

impl Default for Nats {
    fn default() -> Self {
        let work_ack_wait = Span::from_secs(30);
        Self {
            url: "nats://127.0.0.1:4222".to_owned(),
            creds: None,
            replicas: 1,
            work_ack_wait,
        }
    }
}

/// `ollama`: where models are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Ollama {
    #[schemars(length(min = 1), extend("items" = { "type": "string", "format": "ollama-url" }))]
    pub(crate) hosts: Vec<String>,
    #[schemars(range(min = 1))]
    pub(crate) parallel: u32,
    #[schemars(range(min = 1))]
    pub(crate) num_ctx: u32,
    /// Whether hosts are refused whose cloud is not switched off.
    pub(crate) require_cloud_off: bool,
}

impl Default for Ollama {
    fn default() -> Self {
        Self {
            hosts: vec!["http://127.0.0.1:11434".to_owned()],
            parallel: 1,
            num_ctx: 8192,
            require_cloud_off: true,
        }
    }
}

/// `agents.<name>`: one agent; what is not set comes from the shipped role of that name.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Agent {
    pub(crate) model: Option<String>,
    pub(crate) prompt: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) capabilities: Option<Vec<String>>,
    pub(crate) tools: Option<Vec<String>>,
    #[schemars(range(min = 1))]
    pub(crate) max_iterations: Option<u32>,
    pub(crate) replicas: Option<u32>,
    pub(crate) tool_mode: Option<ToolMode>,
    pub(crate) kind: Option<AgentKind>,
}

/// How a model is given tools.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ToolMode {
    Auto,
    Native,
    Structured,
    Plain,
}

impl ToolMode {
    /// The mode, unless it is left to what the model can do.
    pub(crate) fn fixed(self) -> Option<swarm_protocol::journal::ToolMode> {
        use swarm_protocol::journal::ToolMode as Fixed;
        match self {
            Self::Auto => None,
            Self::Native => Some(Fixed::Native),
            Self::Structured => Some(Fixed::Structured),
            Self::Plain => Some(Fixed::Plain),
        }
    }
}

/// Where an agent runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AgentKind {
    Worker,
    External,
}

/// `mcp`: the gateway.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Mcp {
    pub(crate) server_host: String,
    pub(crate) server_port: u16,
    #[schemars(range(min = 1))]
    pub(crate) max_agents: u32,
    #[schemars(range(min = 1))]
    pub(crate) message_timeout: u64,
    pub(crate) enable_persistence: bool,
}

impl Default for Mcp {
    fn default() -> Self {
        Self {
            server_host: "localhost".to_owned(),
            server_port: 8080,
            max_agents: 50,
            message_timeout: 30,
            enable_persistence: true,
        }
    }
}

/// `runs`: how runs go.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Runs {
    pub(crate) default_agents: Option<Vec<AgentName>>,
    #[schemars(extend("format" = "time"))]
    pub(crate) retention: Span,
    #[schemars(range(min = 1))]
    pub(crate) max_open: u64,
    pub(crate) retry: Retry,
    pub(crate) deadlines: Deadlines,
    pub(crate) budget: Budget,
    /// How long running work may go on after a stop.
    #[schemars(extend("format" = "time"))]
    pub(crate) drain: Span,
}

impl Default for Runs {
    fn default() -> Self {
        Self {
            default_agents: None,
            retention: Span::from_secs(30 * 24 * 3600),
            max_open: 10_000,
            retry: Retry::default(),
            deadlines: Deadlines::default(),
            budget: Budget::default(),
            drain: Span::from_secs(30),
        }
    }
}

/// `runs.retry`: attempts after a failed one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Retry {
    pub(crate) max: u32,
}

impl Default for Retry {
    fn default() -> Self {
        Self { max: 3 }
    }
}

/// `runs.deadlines`: how long things may take.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Deadlines {
    #[schemars(extend("format" = "time"))]
    pub(crate) queue: Span,
    #[schemars(extend("format" = "time"))]
    pub(crate) attempt: Span,
    #[schemars(extend("format" = "time"))]
    pub(crate) total: Span,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            queue: Span::from_secs(600),
            attempt: Span::from_secs(900),
            total: Span::from_secs(3600),
        }
    }
}

/// `runs.budget`: what a run may use.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Budget {
    pub(crate) model_calls: u64,
    pub(crate) tool_calls: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            model_calls: 50,
            tool_calls: 100,
        }
    }
}

/// `tools`: where tools may look, and who builds new ones.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Tools {
    pub(crate) document_roots: Vec<String>,
    pub(crate) web_search: WebSearch,
    pub(crate) builder: Builder,
}

/// `tools.web_search`: the search engine.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct WebSearch {
    pub(crate) url: Option<String>,
}

/// `tools.builder`: the tool-builder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Builder {
    pub(crate) model: String,
    pub(crate) repairs: u32,
    pub(crate) mode: String,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            model: "llama3.2:3b".to_owned(),
            repairs: 4,
            mode: "auto".to_owned(),
        }
    }
}
