//! The NATS server of `swarm up`.

use std::path::PathBuf;
use std::time::Duration;

use swarm_protocol::Code;
use tokio::net::TcpStream;
use tokio::process::Command;

use super::board::Board;
use super::child::Child;
use super::home::Home;
use crate::exit::{Failure, UNREACHABLE};

/// Its name among the children.
pub(super) const NAME: &str = "nats-server";

/// The configuration that comes with Swarm.
const CONFIGURATION: &str = include_str!("../../../nats.conf");

/// Whether something listens at a URL.
pub(super) async fn is_listening(url: &str) -> bool {
    let Some((host, port)) = address(url) else {
        return false;
    };
    let connecting = TcpStream::connect((host.as_str(), port));
    matches!(
        tokio::time::timeout(Duration::from_secs(1), connecting).await,
        Ok(Ok(_))
    )
}

/// Starts a server with the configuration of Swarm and a store in the data directory.
///
/// # Errors
/// When the URL is not of this machine, or there is no server to start.
pub(super) fn start(home: &Home, url: &str, board: &Board) -> Result<Child, Failure> {
    let unreachable = |message: String| Failure::new(UNREACHABLE, Code::Unavailable, message);
    let Some((host, port)) = address(url) else {
        return Err(Failure::usage(format!(
            "nats.url: `{url}` is no URL such as nats://127.0.0.1:4222"
        )));
    };
    if !["127.0.0.1", "localhost", "::1"].contains(&host.as_str()) {
        return Err(unreachable(format!(
            "no NATS server at {url}, and one is started on 127.0.0.1 only: a server that other machines reach needs a configuration without `no_auth_user`"
        )));
    }
    let binary = find("nats-server").ok_or_else(|| {
        unreachable(format!("no NATS server at {url}, and no nats-server to start: `scripts/setup run` installs one into .tools/bin"))
    })?;
    let file = home.join("nats.conf");
    std::fs::write(&file, CONFIGURATION)
        .map_err(|error| unreachable(format!("{}: {error}", file.display())))?;
    let mut command = Command::new(binary);
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
    tracing::info!(url, store = %home.join("store").display(), "starting a NATS server");
    Child::start(NAME, command, board)
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
