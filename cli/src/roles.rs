//! The roles that run as processes: coordinator and agent.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use swarm_agents::agent_loop::Settings;
use swarm_agents::roles::{self, SUMMARIZER};
use swarm_agents::{Profile, Worker, WorkerError};
use swarm_bus::work_loop::Shutdown;
use swarm_bus::{Role, topology};
use swarm_coordinator::Coordinator;
use swarm_model::Ollama;
use swarm_protocol::error::chain;
use swarm_protocol::submission::Budget;
use swarm_protocol::{AgentName, InstanceId};
use swarm_telemetry::Process;
use swarm_tools::{Toolset, builtin};

use crate::args::{Global, RoleArgs};
use crate::config::{Agent, Config, ToolMode};
use crate::connect::{ROLE_PATIENCE, connect};
use crate::exit::{FAILED, Failure};
use crate::health::Health;
use crate::signals;

/// Most tokens of one turn: an open-ended model may loop for many thousands.
const NUM_PREDICT: u32 = 2048;

/// Runs a coordinator until it is stopped.
pub(crate) async fn coordinator(
    global: &Global,
    config: &Config,
    role: &RoleArgs,
) -> Result<(), Failure> {
    let began = Instant::now();
    let health = Health::serve(role.health).await?;
    let bus = connect(global, config, Role::Coordinator, ROLE_PATIENCE).await?;
    let instance = InstanceId::random();
    let options = swarm_coordinator::Options {
        instance: instance.clone(),
        agents: config.agents.keys().cloned().collect(),
        default_agents: config.runs.default_agents.clone(),
        summarizer: summarizer()?,
        total: config.runs.deadlines.total.0,
        queue: config.runs.deadlines.queue.0,
        retries: config.runs.retry.max,
        budget: Budget {
            model_calls: Some(config.runs.budget.model_calls),
            tool_calls: Some(config.runs.budget.tool_calls),
            ..Budget::default()
        },
        max_open: config.runs.max_open,
        max_agents: config.mcp.max_agents,
        topology: topology_settings(config),
        drain: config.runs.drain.0.min(Duration::from_secs(5)),
    };
    swarm_telemetry::start(&Process {
        role: "coordinator",
        instance: &instance,
        host: &host_name(),
    });
    let coordinator = Coordinator::start(bus, options).await?;
    health.ready_when(coordinator.readiness());
    tracing::info!(
        %instance,
        agents = config.agents.len(),
        took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        "the coordinator is ready"
    );
    let shutdown = Shutdown::default();
    stop_on_signal(&shutdown, config.runs.drain.0);
    let clean = Box::pin(coordinator.run(shutdown)).await?;
    tracing::info!(clean, "the coordinator has stopped");
    Ok(())
}

/// Runs a worker of one agent until it is stopped.
pub(crate) async fn agent(
    global: &Global,
    config: &Config,
    name: &str,
    role: &RoleArgs,
) -> Result<(), Failure> {
    let profile = profile(config, name)?;
    let missing = config.agents.get(&profile.agent).map(missing_tools);
    if let Some(missing) = missing.filter(|missing| !missing.is_empty()) {
        tracing::warn!(
            missing = missing.join(", "),
            built_in = builtin::names().join(", "),
            "tools of this agent are not there; it works without them"
        );
    }
    let health = Health::serve(role.health).await?;
    let ollama = ollama(config)?;
    let bus = connect(global, config, Role::Agent, ROLE_PATIENCE).await?;
    let instance = InstanceId::random();
    let options = swarm_agents::Options {
        profile,
        instance: instance.clone(),
        host: host_name(),
        slots: slots(config),
        drain: config.runs.drain.0,
        attempt_deadline: config.runs.deadlines.attempt.0,
        work_ack_wait: config.nats.work_ack_wait.0,
    };
    swarm_telemetry::start(&Process {
        role: "agent",
        instance: &instance,
        host: &options.host,
    });
    let worker = Worker::new(bus, Arc::new(ollama), options);
    health.ready_when(worker.readiness());
    tracing::info!(agent = name, %instance, "the agent is ready");
    let shutdown = Shutdown::default();
    stop_on_signal(&shutdown, config.runs.drain.0);
    match Box::pin(worker.run(shutdown)).await {
        Ok(clean) => {
            tracing::info!(agent = name, clean, "the agent has stopped");
            Ok(())
        }
        Err(WorkerError::Refused(error)) => Err(Failure {
            code: FAILED,
            error: Some(error),
        }),
        Err(error) => Err(Failure::from(anyhow::anyhow!(chain(&error)))),
    }
}

/// Streams and consumers as configured.
pub(crate) fn topology_settings(config: &Config) -> topology::Settings {
    topology::Settings {
        replicas: config.nats.replicas,
        retention: config.runs.retention.0,
        work_ack_wait: config.nats.work_ack_wait.0,
    }
}

fn summarizer() -> Result<AgentName, Failure> {
    Ok(SUMMARIZER
        .parse::<AgentName>()
        .context("the summarizer's name")?)
}

/// Role and configuration of an agent together.
fn profile(config: &Config, name: &str) -> Result<Profile, Failure> {
    let configured = name
        .parse::<AgentName>()
        .ok()
        .and_then(|agent| Some((config.agents.get(&agent)?, agent.clone())));
    let Some((own, agent)) = configured else {
        let known = config
            .agents
            .keys()
            .map(AgentName::as_str)
            .collect::<Vec<_>>();
        let likely = known
            .iter()
            .map(|known| (strsim::jaro_winkler(known, name), known))
            .max_by(|a, b| a.0.total_cmp(&b.0));
        let hint = match likely {
            Some((score, likely)) if score > 0.8 => format!("did you mean {likely}?"),
            _ => format!("configured are {}", known.join(", ")),
        };
        return Err(Failure::usage(format!(
            "no agent `{name}` is configured: {hint}"
        )));
    };
    let role = roles::role(name);
    let text = |own: &Option<String>, shipped: Option<&str>| {
        own.clone()
            .or_else(|| shipped.map(str::to_owned))
            .unwrap_or_default()
    };
    let default_model = roles::role(SUMMARIZER).map(|role| role.model);
    let capabilities = own.capabilities.clone().unwrap_or_else(|| {
        role.map(|role| role.capabilities.iter().map(ToString::to_string).collect())
            .unwrap_or_default()
    });
    Ok(Profile {
        agent,
        description: text(&own.description, role.map(|role| role.description)),
        capabilities,
        settings: Settings {
            prompt: text(&own.prompt, role.map(|role| role.prompt)),
            model: text(&own.model, role.map(|role| role.model).or(default_model)),
            max_iterations: own
                .max_iterations
                .or(role.map(|role| role.max_iterations))
                .unwrap_or(3),
            num_predict: NUM_PREDICT.min(config.ollama.num_ctx),
            tool_mode: own.tool_mode.and_then(ToolMode::fixed),
        },
        tools: tools(own)?,
    })
}

/// The tools of an agent, of those that there are.
fn tools(own: &Agent) -> Result<Toolset, Failure> {
    let names = own.tools.iter().flatten();
    let found = names.filter_map(|name| builtin::get(name)).collect();
    Toolset::new(found).map_err(|error| Failure::usage(error.to_string()))
}

/// The tools that an agent's configuration names and that are not there.
pub(crate) fn missing_tools(own: &Agent) -> Vec<&str> {
    let names = own.tools.iter().flatten().map(String::as_str);
    names.filter(|name| builtin::get(name).is_none()).collect()
}

/// The model of an agent as configured.
pub(crate) fn model_of(config: &Config, agent: &AgentName) -> Option<String> {
    profile(config, agent.as_str())
        .ok()
        .map(|profile| profile.settings.model)
}

/// The model hosts of the configuration. A process needs one of these.
pub(crate) fn ollama(config: &Config) -> Result<Ollama, Failure> {
    let parse = |host: &String| {
        host.parse()
            .map_err(|error| Failure::usage(format!("ollama.hosts: `{host}`: {error}")))
    };
    let hosts = config.ollama.hosts.iter().map(parse);
    let options = swarm_model::Options {
        num_ctx: config.ollama.num_ctx,
        parallel: config.ollama.parallel,
        require_cloud_off: config.ollama.require_cloud_off,
        ..swarm_model::Options::new(hosts.collect::<Result<_, _>>()?)
    };
    Ollama::new(options).map_err(|error| Failure::usage(format!("ollama: {error}")))
}

/// Tasks at once: what all hosts together are asked for at a time.
fn slots(config: &Config) -> u32 {
    let hosts = u32::try_from(config.ollama.hosts.len()).unwrap_or(u32::MAX);
    config.ollama.parallel.saturating_mul(hosts)
}

fn host_name() -> String {
    nix::unistd::gethostname()
        .ok()
        .and_then(|name| name.into_string().ok())
        .unwrap_or_else(|| "unknown".to_owned())
}

/// The first signal stops new work; when the drain has passed, or at a second signal, running work is handed back.
fn stop_on_signal(shutdown: &Shutdown, drain: Duration) {
    let shutdown = shutdown.clone();
    tokio::spawn(async move {
        match signals::stop().await {
            Ok(stop) => tracing::info!(
                ?stop,
                drain_s = drain.as_secs(),
                "stopping: no new work, running work may finish"
            ),
            Err(error) => tracing::error!(error = format!("{error:#}"), "stopping"),
        }
        shutdown.stop.cancel();
        if let Ok(stop) = signals::signal_only().await {
            tracing::info!(?stop, "stopping at once: running work is handed back");
            shutdown.hand_back.cancel();
        }
    });
}
