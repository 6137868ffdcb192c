//! The NATS server: reachable, guarded, in step, and with room.

use swarm_bus::connection::{Login, Options, password_variable, without_credentials};
use swarm_bus::{Bus, Role, topology};
use swarm_protocol::AgentName;
use swarm_protocol::error::chain;

use super::Finding;
use crate::args::Global;
use crate::config::Config;
use crate::connect::{COMMAND_PATIENCE, connect, server_url};
use crate::roles::topology_settings;

/// From this fill on a stream is said to be full; the coordinator holds submissions then.
const FULL: u64 = 80;

/// A server that was reached.
pub(super) struct Seen {
    pub(super) client: Bus,
    /// Who may look at streams and consumers, when the login is right.
    pub(super) observer: Option<Bus>,
}

pub(super) async fn look(global: &Global, config: &Config) -> (Option<Seen>, Vec<Finding>) {
    let client = match connect(global, config, Role::Client, COMMAND_PATIENCE).await {
        Ok(client) => client,
        Err(failure) => {
            let message = failure.error.map(|error| error.message);
            let finding =
                Finding::problem("server", message.unwrap_or_default(), "`swarm up --detach`");
            return (None, vec![finding]);
        }
    };
    let url = server_url(global, config).unwrap_or_default();
    let mut findings = vec![Finding::ok(
        "server",
        format!(
            "nats-server {} at {}",
            client.server_version(),
            without_credentials(&url)
        ),
    )];
    findings.extend(logins(global, config, &url).await);
    let observer = connect(global, config, Role::Observer, COMMAND_PATIENCE)
        .await
        .ok();
    if let Some(observer) = &observer {
        findings.extend(topology(observer, config).await);
        findings.extend(fill(observer).await);
        findings.extend(clock(observer).await);
    }
    (Some(Seen { client, observer }), findings)
}

async fn logins(global: &Global, config: &Config, url: &str) -> Vec<Finding> {
    if lets_anybody_in(url).await {
        return vec![Finding::problem(
            "users",
            "the server takes any login: everybody who reaches it may change runs and streams",
            "start it with the nats.conf of Swarm: `swarm up` does",
        )];
    }
    let login = |role| {
        let connecting = Box::pin(connect(global, config, role, COMMAND_PATIENCE));
        async move { (role, connecting.await) }
    };
    let (coordinator, agent, observer) = tokio::join!(
        login(Role::Coordinator),
        login(Role::Agent),
        login(Role::Observer)
    );
    let mut refused = Vec::new();
    for (role, connected) in [coordinator, agent, observer] {
        if let Err(failure) = connected {
            let message = failure.error.map(|error| error.message);
            let mend = format!(
                "set {} to the password that the server was started with",
                password_variable(role)
            );
            refused.push(Finding::problem("users", message.unwrap_or_default(), mend));
        }
    }
    if refused.is_empty() {
        refused.push(Finding::ok(
            "users",
            "coordinator, agent, observer and client may log in",
        ));
    }
    refused
}

/// Whether somebody whom the server cannot know gets in, as on a server without users.
async fn lets_anybody_in(url: &str) -> bool {
    let stranger = || uuid::Uuid::new_v4().to_string();
    let options = Options {
        url: url.to_owned(),
        role: Role::Client,
        login: Login::UserPassword(stranger(), stranger()),
        name: "swarm doctor".to_owned(),
        patience: COMMAND_PATIENCE,
    };
    Bus::connect(options).await.is_ok()
}

async fn topology(observer: &Bus, config: &Config) -> Vec<Finding> {
    let agents: Vec<AgentName> = config.agents.keys().cloned().collect();
    let settings = topology_settings(config);
    let drift = match observer.compare_topology(&settings, &agents).await {
        Ok(drift) => drift,
        Err(error) => {
            return vec![Finding::problem(
                "streams",
                chain(&error),
                "`swarm coordinator` makes what is missing",
            )];
        }
    };
    let missing = drift.missing.iter().map(|what| {
        let mend = "`swarm coordinator`, or `swarm up`, makes it";
        Finding::problem("streams", format!("{what} is not there"), mend)
    });
    let differing = drift.differing.iter().map(|what| {
        let mend =
            "`swarm coordinator` changes what may be changed; else back up, remove, and restore";
        Finding::problem("streams", format!("not as it should be: {what}"), mend)
    });
    let mut findings: Vec<Finding> = missing.chain(differing).collect();
    if findings.is_empty() {
        findings.push(Finding::ok(
            "streams",
            "streams and consumers are as they should be",
        ));
    }
    findings
}

async fn fill(observer: &Bus) -> Vec<Finding> {
    let mut fills = Vec::new();
    for stream in topology::STREAMS {
        fills.extend(observer.fill(stream).await.ok());
    }
    // The oldest dead letters make room by themselves.
    fills.retain(|fill| fill.stream != topology::DEAD);
    let full = fills.iter().filter(|fill| fill.percent() >= FULL);
    let findings: Vec<Finding> = full
        .map(|fill| {
            Finding::problem(
                "room",
                format!("{} is {} % full", fill.stream, fill.percent()),
                makes_room(&fill.stream),
            )
        })
        .collect();
    match fills.iter().max_by_key(|fill| fill.percent()) {
        Some(fullest) if findings.is_empty() => vec![Finding::ok(
            "room",
            format!("{} is the fullest, {} %", fullest.stream, fullest.percent()),
        )],
        _ => findings,
    }
}

fn makes_room(stream: &str) -> &'static str {
    match stream {
        topology::INBOX => "`swarm coordinator`: one more takes what waits",
        topology::WORK => {
            "`swarm agent NAME`: one more takes what waits; `swarm status` shows for whom it waits"
        }
        topology::RUNS | topology::BLOBS_STREAM => {
            "`swarm runs delete RUN` for runs that have ended, or a shorter runs.retention"
        }
        _ => "`swarm status` shows what it holds",
    }
}

async fn clock(observer: &Bus) -> Option<Finding> {
    let clock = observer.compare_clocks().await.ok().flatten()?;
    Some(if clock.is_in_step() {
        Finding::ok("clock", "in step with the server's")
    } else {
        let mend = "`timedatectl set-ntp true` on the machine that is wrong";
        Finding::problem("clock", clock.to_string(), mend)
    })
}
