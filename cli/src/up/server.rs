//! The NATS server of `swarm up`.

use std::path::PathBuf;
use std::time::Duration;

use swarm_bus::connection::without_credentials;
use swarm_protocol::Code;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::process::Command;

use super::child::{Child, Supervision};
use super::home::Home;
use crate::exit::{Failure, UNREACHABLE};

/// Its name among the children.
pub(super) const NAME: &str = "nats-server";

const GREETING: &[u8; 5] = b"INFO ";

/// The configuration that comes with Swarm.
const CONFIGURATION: &str = include_str!("../../../nats.conf");

/// How much garbage Go's collector lets come about, in percent of what is in use, and the variable that says so; who sets it
/// knows better. With Go's 100 a server that has taken 100,000 runs at once has 268 MiB.
const GARBAGE: (&str, &str) = ("GOGC", "50");

/// A server says who it is at once.
const GREETING_PATIENCE: Duration = Duration::from_secs(2);

/// Whether a NATS server listens at a URL.
///
/// # Errors
/// When something else does.
pub(super) async fn is_there(url: &str) -> Result<bool, Failure> {
    let Some((host, port)) = address(url) else {
        return Ok(false);
    };
    let connecting = TcpStream::connect((host.as_str(), port));
    let connected = tokio::time::timeout(Duration::from_secs(1), connecting).await;
    let Ok(Ok(stream)) = connected else {
        return Ok(false);
    };
    if url.starts_with("tls://") || greets(stream).await {
        return Ok(true);
    }
    let message = format!(
        "what listens on {host}:{port} is no NATS server: stop it, or take another port, `--nats nats://{host}:{}`",
        port.wrapping_add(1).max(1024)
    );
    Err(Failure::new(UNREACHABLE, Code::Unavailable, message))
}

/// Whether somebody begins to talk as a NATS server does (nats-server `server/client.go`: `INFO {…}`).
async fn greets(mut stream: TcpStream) -> bool {
    let mut greeting = [0; GREETING.len()];
    let reading = stream.read_exact(&mut greeting);
    let read = tokio::time::timeout(GREETING_PATIENCE, reading).await;
    matches!(read, Ok(Ok(_))) && greeting == *GREETING
}

/// Starts a server with the configuration of Swarm and a store in the data directory.
///
/// # Errors
/// When the URL is not of this machine, or there is no server to start.
pub(super) fn start(home: &Home, url: &str, supervision: &Supervision) -> Result<Child, Failure> {
    let unreachable = |message: String| Failure::new(UNREACHABLE, Code::Unavailable, message);
    let shown = without_credentials(url);
    let Some((host, port)) = address(url) else {
        return Err(Failure::usage(format!(
            "nats.url: `{shown}` is no URL such as nats://127.0.0.1:4222"
        )));
    };
    if !["127.0.0.1", "localhost", "::1"].contains(&host.as_str()) {
        return Err(unreachable(format!(
            "no NATS server at {shown}, and one is started on 127.0.0.1 only: a server that other machines reach needs a configuration without `no_auth_user`"
        )));
    }
    let binary = find("nats-server").ok_or_else(|| {
        unreachable(format!("no NATS server at {shown}, and no nats-server to start: `scripts/setup run` installs one into .tools/bin"))
    })?;
    let file = home.write("nats.conf", CONFIGURATION)?;
    let mut command = Command::new(binary);
    let (variable, percent) = GARBAGE;
    if std::env::var_os(variable).is_none() {
        command.env(variable, percent);
    }
    command
        .arg("--config")
        .arg(&file)
        .arg("--store_dir")
        .arg(home.join("store"));
    command
        .arg("--addr")
        .arg(&host)
        .arg("--port")
        .arg(port.to_string())
        .envs(home.credentials());
    tracing::info!(url = shown, store = %home.join("store").display(), "starting a NATS server");
    Child::start(NAME, command, supervision)
}

/// A program: on the PATH, beside this one, or where `scripts/setup` puts it.
pub(super) fn find(program: &str) -> Option<PathBuf> {
    let on_path = std::env::var_os("PATH")
        .into_iter()
        .flat_map(|path| std::env::split_paths(&path).collect::<Vec<_>>());
    let beside = std::env::current_exe()
        .ok()
        .and_then(|binary| Some(binary.parent()?.to_path_buf()));
    let tools = PathBuf::from(".tools/bin");
    on_path
        .chain(beside)
        .chain([tools])
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

/// Host and port of a NATS URL; the first of several.
fn address(url: &str) -> Option<(String, u16)> {
    let first = url.split(',').next()?.trim();
    let rest = first.split_once("://").map_or(first, |(_, rest)| rest);
    let rest = rest
        .rsplit_once('@')
        .map_or(rest, |(_, rest)| rest)
        .trim_end_matches('/');
    match rest.rsplit_once(':') {
        Some((host, port)) => Some((host.trim_matches(['[', ']']).to_owned(), port.parse().ok()?)),
        None => Some((rest.to_owned(), 4222)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_have_a_host_and_a_port() {
        let of = |host: &str, port| Some((host.to_owned(), port));
        assert_eq!(address("nats://127.0.0.1:4333"), of("127.0.0.1", 4333));
        assert_eq!(address("nats://a:b@localhost"), of("localhost", 4222));
        assert_eq!(address("nats://[::1]:4222"), of("::1", 4222));
        assert_eq!(address("nats://h:x"), None);
    }
}
