//! `swarm status`: processes, streams, runs, and what waits.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use swarm_bus::connection::without_credentials;
use swarm_bus::store::Fill;
use swarm_bus::{Bus, Outgoing, Role, topology};
use swarm_client::Client;
use swarm_protocol::card::Card;
use swarm_protocol::endpoint::AgentsRequest;
use swarm_protocol::trace::TraceParent;
use swarm_protocol::{AgentName, Code, RunState, Timestamp};

use crate::args::Global;
use crate::config::Config;
use crate::connect::{COMMAND_PATIENCE, connect, server_url, url_of};
use crate::data_dir;
use crate::exit::{Failure, UNREACHABLE};
use crate::output::{self, Format};
use crate::runs::{card_state, coarse, table};
use crate::up::board::{self, Process, State};
use crate::up::{Left, holder, left_over};

/// All there is to show.
#[derive(Debug, Default, Serialize)]
struct Status {
    /// The `swarm up` of this data directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    up: Option<board::Stack>,
    /// What a `swarm up` left that was killed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    left_over: Vec<Left>,
    /// The server, when it is reachable.
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<String>,
    agents: Vec<Card>,
    streams: Vec<Stream>,
    /// What the coordinator that answered knows of runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    runs: Option<RunCounts>,
    waiting: Vec<Waiting>,
}

#[derive(Debug, Serialize)]
struct Stream {
    name: String,
    messages: u64,
    bytes: u64,
    max_bytes: Option<u64>,
    percent: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RunCounts {
    open: u64,
    by_state: BTreeMap<RunState, u64>,
    #[serde(default)]
    pub(crate) held: Option<String>,
}

/// Something that waits, and why.
#[derive(Debug, Serialize)]
struct Waiting {
    what: String,
    why: String,
}

/// Shows it all. Nothing running at all is an error.
pub(crate) async fn status(global: &Global, config: &Config) -> Result<(), Failure> {
    let directory = data_dir::path()?;
    let up = holder(&directory).and_then(|_pid| board::read(&directory));
    let url = match &up {
        Some(stack) => url_of(global, config, stack)?,
        None => server_url(global, config)?,
    };
    let global = Global {
        nats: Some(url.clone()),
        ..global.clone()
    };
    let connected = connect(&global, config, Role::Client, COMMAND_PATIENCE).await;
    let left_over = left_over(&directory);
    let status = match connected {
        Ok(client) => {
            let observer = connect(&global, config, Role::Observer, COMMAND_PATIENCE)
                .await
                .ok();
            let seen = look(url, Client::new(client.clone()), client, observer).await;
            Status {
                up,
                left_over,
                ..seen
            }
        }
        Err(failure) if up.is_none() && left_over.is_empty() => return Err(failure),
        Err(_unreachable) => Status {
            up,
            left_over,
            ..Status::default()
        },
    };
    match global.output {
        Format::Json => output::document(&status),
        Format::Text => show(&status),
    }
    let answers = status.server.is_none() || status.runs.is_some();
    if answers {
        return Ok(());
    }
    Err(Failure::new(
        UNREACHABLE,
        Code::Unavailable,
        "no coordinator answers: start one with `swarm coordinator`, or all with `swarm up`",
    ))
}

async fn look(url: String, client: Client, bus: Bus, observer: Option<Bus>) -> Status {
    let agents = client.agents(&AgentsRequest::default()).await;
    let agents = agents.map(|reply| reply.items).unwrap_or_default();
    let runs = count_runs(&bus).await;
    let mut streams = Vec::new();
    let mut waiting = Vec::new();
    if let Some(observer) = &observer {
        for stream in topology::STREAMS {
            if let Ok(fill) = observer.fill(stream).await {
                streams.push(Stream::from(fill));
            }
        }
        waiting = what_waits(observer, &agents, &streams, runs.as_ref()).await;
    }
    Status {
        server: Some(format!(
            "{}, nats-server {}",
            without_credentials(&url),
            bus.server_version()
        )),
        agents,
        streams,
        runs,
        waiting,
        ..Status::default()
    }
}

impl From<Fill> for Stream {
    fn from(fill: Fill) -> Self {
        Self {
            percent: fill.percent(),
            name: fill.stream,
            messages: fill.messages,
            bytes: fill.bytes,
            max_bytes: fill.max_bytes,
        }
    }
}

/// The statistics of the service's endpoint `runs` hold what a coordinator knows of runs.
pub(crate) async fn count_runs(bus: &Bus) -> Option<RunCounts> {
    #[derive(Deserialize)]
    struct Stats {
        endpoints: Vec<Endpoint>,
    }
    #[derive(Deserialize)]
    struct Endpoint {
        name: String,
        #[serde(default)]
        data: Option<RunCounts>,
    }
    let subject = swarm_protocol::subjects::service_stats();
    let request = Outgoing::new(subject, "", TraceParent::root());
    let reply = bus.request(request, COMMAND_PATIENCE).await.ok()?;
    let stats: Stats = serde_json::from_slice(reply.payload()).ok()?;
    let mut endpoints = stats.endpoints.into_iter();
    endpoints.find(|endpoint| endpoint.name == "runs")?.data
}

async fn what_waits(
    observer: &Bus,
    agents: &[Card],
    streams: &[Stream],
    runs: Option<&RunCounts>,
) -> Vec<Waiting> {
    let mut waiting = Vec::new();
    let inbox = streams.iter().find(|stream| stream.name == topology::INBOX);
    if let Some(inbox) = inbox.filter(|inbox| inbox.messages > 0) {
        let held = runs.and_then(|runs| runs.held.clone());
        let nobody = "no coordinator answers: start one with `swarm coordinator`".to_owned();
        let why = match runs {
            None => nobody,
            Some(_) => held.unwrap_or_else(|| "they are being taken".to_owned()),
        };
        waiting.push(Waiting {
            what: format!("{} submissions", inbox.messages),
            why,
        });
    }
    for agent in observer.work_consumers().await.unwrap_or_default() {
        let Ok(agent) = agent.parse::<AgentName>() else {
            continue;
        };
        let backlog = observer.work_backlog(&agent).await.ok().flatten();
        let pending = backlog.map_or(0, |backlog| backlog.pending);
        if pending > 0 {
            waiting.push(Waiting {
                what: format!("{pending} attempts of {agent}"),
                why: why_agent_waits(&agent, agents),
            });
        }
    }
    waiting
}

fn why_agent_waits(agent: &AgentName, cards: &[Card]) -> String {
    let own: Vec<&Card> = cards.iter().filter(|card| card.agent == *agent).collect();
    let paused = own.iter().find_map(|card| card.reason.clone());
    let slots: u32 = own.iter().map(|card| card.slots).sum();
    match (own.is_empty(), paused) {
        (true, _) => format!("nobody runs it: start it with `swarm agent {agent}`"),
        (false, Some(reason)) => reason,
        (false, None) => {
            format!("all of its {slots} slots are taken; another `swarm agent {agent}` would help")
        }
    }
}

fn show(status: &Status) {
    let now = Timestamp::now();
    if let Some(up) = &status.up {
        let simulated = if up.simulated {
            ", models are SIMULATED"
        } else {
            ""
        };
        let ready = if up.ready { "up" } else { "starting" };
        output::data(&format!(
            "swarm up, process {}, {ready} for {}{simulated}",
            up.pid,
            coarse(now.since(up.started_at))
        ));
    }
    for left in &status.left_over {
        output::data(&format!(
            "left over by a `swarm up` that was killed: {left}; `swarm down` ends it"
        ));
    }
    match &status.server {
        Some(server) => output::data(&format!("server {server}")),
        None => output::data("the NATS server does not answer"),
    }
    output::data("");
    show_processes(status, now);
    if !status.streams.is_empty() {
        output::data("");
        show_streams(&status.streams);
    }
    output::data("");
    if let Some(runs) = &status.runs {
        let states: Vec<String> = runs
            .by_state
            .iter()
            .filter(|(_, count)| **count > 0)
            .map(|(state, count)| format!("{count} {state}"))
            .collect();
        let states = if states.is_empty() {
            "none".to_owned()
        } else {
            states.join(", ")
        };
        output::data(&format!("runs: {states}"));
        if let Some(held) = &runs.held {
            output::data(&format!("submissions are held: {held}"));
        }
    }
    for Waiting { what, why } in &status.waiting {
        output::data(&format!("waiting: {what}: {why}"));
    }
}

/// Children of `swarm up`, then instances that were started otherwise.
fn show_processes(status: &Status, now: Timestamp) {
    let mut rows = table(&[
        "PROCESS",
        "PID",
        "STATE",
        "BUSY",
        "SINCE",
        "RESTARTS",
        "LAST ERROR",
    ]);
    let children = status.up.iter().flat_map(|up| &up.children);
    let mut shown = Vec::new();
    for child in children {
        let card = status
            .agents
            .iter()
            .find(|card| Some(card.pid) == child.pid);
        shown.extend(child.pid);
        rows.add_row([
            child.name.clone(),
            child.pid.map(|pid| pid.to_string()).unwrap_or_default(),
            child_state(child, card),
            card.map(|card| format!("{}/{}", card.busy, card.slots))
                .unwrap_or_default(),
            coarse(now.since(child.since)),
            child.restarts.to_string(),
            output::line(child.last_error.as_deref().unwrap_or_default(), 100),
        ]);
    }
    for card in status
        .agents
        .iter()
        .filter(|card| !shown.contains(&card.pid))
    {
        rows.add_row([
            card.agent.to_string(),
            format!("{} on {}", card.pid, card.host),
            card_state(card),
            format!("{}/{}", card.busy, card.slots),
            coarse(now.since(card.started_at)),
            String::new(),
            card.reason.clone().unwrap_or_default(),
        ]);
    }
    output::data(&rows.trim_fmt());
}

fn child_state(child: &Process, card: Option<&Card>) -> String {
    match (child.state, card) {
        (State::Running, Some(card)) => card_state(card),
        (State::Running, None) => "running".to_owned(),
        (State::Restarting, _) => "restarting".to_owned(),
    }
}

fn show_streams(streams: &[Stream]) {
    let mut rows = table(&["STREAM", "MESSAGES", "BYTES", "FULL"]);
    for stream in streams {
        rows.add_row([
            stream.name.clone(),
            stream.messages.to_string(),
            indicatif::HumanBytes(stream.bytes).to_string(),
            format!("{} %", stream.percent),
        ]);
    }
    output::data(&rows.trim_fmt());
}
