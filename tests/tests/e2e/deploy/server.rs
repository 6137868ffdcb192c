//! The NATS server of the files is started as it stands there.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use swarm_tests::server::{USERS, password_variable};
use swarm_tests::{Process, eventually, tools};
use tempfile::TempDir;

use super::files::{self, Container, ENV};

#[tokio::test]
async fn the_server_of_compose_serves() {
    let services = files::services();
    let nats = services.iter().find(|service| service.name == "nats");
    let nats = nats.expect("a service `nats`");
    let check = files::strings(&nats.spec["healthcheck"]["test"]);
    let url = check.last().expect("the URL of the health check");
    let path = url.strip_prefix("http://127.0.0.1:8222");
    serves(nats, &[path.expect("the monitoring port")]).await;
}

#[tokio::test]
async fn the_server_of_kubernetes_serves() {
    let pods = files::pods();
    let nats = pods.iter().find(|pod| pod.name == "nats");
    let nats = nats.expect("a pod `nats`");
    let container = &nats.spec["spec"]["template"]["spec"]["containers"][0];
    let paths: Vec<String> = ["startupProbe", "readinessProbe", "livenessProbe"]
        .iter()
        .map(|probe| files::string(&container[*probe]["httpGet"]["path"]))
        .collect();
    // What KEDA asks for (keda, pkg/scalers/nats_jetstream_scaler.go).
    let mut paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    paths.push("/jsz?acc=$G&consumers=true&config=true");
    serves(nats, &paths).await;
}

/// Starts it, asks its monitoring port, and lets every user in with the password of `.env`.
async fn serves(container: &Container, pages: &[&str]) {
    let folder = TempDir::new().unwrap();
    let (_process, ports) = start(container, &folder).await;
    for page in pages {
        let url = format!("http://127.0.0.1:{}{page}", port(&ports["monitoring"]));
        eventually(page, Duration::from_secs(10), || async {
            let reply = reqwest::get(&url).await.ok()?;
            reply.status().is_success().then_some(())
        })
        .await;
    }
    let url = format!("nats://127.0.0.1:{}", port(&ports["nats"]));
    for user in USERS {
        let password = ENV[&password_variable(user).0].clone();
        let options = async_nats::ConnectOptions::with_user_and_password(user.to_owned(), password);
        let connected = options.connect(&url).await;
        assert!(connected.is_ok(), "{user}: {connected:?}");
    }
    let wrong = async_nats::ConnectOptions::with_user_and_password("agent".into(), "s0".into());
    assert!(wrong.connect(&url).await.is_err());
}

/// With files and ports of this machine in place of the container's; a later flag goes over an earlier one.
async fn start(container: &Container, folder: &TempDir) -> (Process, Value) {
    let arguments = &container.arguments;
    assert!(
        arguments
            .windows(2)
            .any(|pair| pair == ["--addr", "0.0.0.0"]),
        "other containers reach it: {arguments:?}"
    );
    let configuration = tools::repository().join("nats.conf");
    let mut command = Command::new(tools::installed("nats-server"));
    command.args(arguments.iter().map(|argument| match argument.as_str() {
        "/etc/nats/nats.conf" => configuration.as_os_str(),
        "/data" => folder.path().as_os_str(),
        other => other.as_ref(),
    }));
    command
        .args(["--port", "-1", "--http_port", "-1", "--ports_file_dir"])
        .arg(folder.path());
    command.env_clear().envs(&container.environment);
    let process = Process::start("nats-server", command, folder.path());
    let file = format!("nats-server_{}.ports", process.pid());
    let file = folder.path().join(file);
    let ports = eventually("nats-server listens", Duration::from_secs(10), || async {
        serde_json::from_slice(&std::fs::read(&file).ok()?).ok()
    });
    let ports = ports.await;
    (process, ports)
}

fn port(urls: &Value) -> u16 {
    let url = files::string(&urls[0]);
    let port = url.rsplit(':').next().unwrap();
    port.parse()
        .unwrap_or_else(|error| panic!("{url}: {error}"))
}
