//! Every role that the files name is started as it stands there, and gets ready.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use swarm_tests::process::free_port;
use swarm_tests::server::{USERS, password_variable};
use swarm_tests::{Process, Stack, eventually, holds, tools};

use super::files::{self, Container, Variables};
use super::images::health_check;
use crate::FAST;

/// How long a role may take to get ready.
const PATIENCE: Duration = Duration::from_secs(30);

/// A role that was started.
struct Started {
    container: Container,
    process: Process,
    /// Where it answers for its health, on this machine.
    port: u16,
}

#[tokio::test]
async fn services_of_compose_get_ready() {
    let mut stack = stack().await;
    let team = start(&mut stack, &files::services());
    let check = health_check();
    for role in &team {
        eventually(&role.container.name, PATIENCE, || async {
            let (program, arguments) = check.split_first().unwrap();
            let address = format!("127.0.0.1:{}", role.port);
            let status = Command::new(tools::built(program))
                .args(arguments.iter().map(|argument| {
                    if argument.parse::<std::net::SocketAddr>().is_ok() {
                        &address
                    } else {
                        argument
                    }
                }))
                .output();
            holds(status.unwrap().status.success())
        })
        .await;
    }
    works(&stack, &team).await;
}

#[tokio::test]
async fn pods_of_kubernetes_get_ready() {
    let mut stack = stack().await;
    let team = start(&mut stack, &files::pods());
    for role in &team {
        let container = &role.container.spec["spec"]["template"]["spec"]["containers"][0];
        for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
            let get = &container[probe]["httpGet"];
            assert_eq!(get["port"], "health", "{}", role.container.name);
            let path = files::string(&get["path"]);
            eventually(probe, PATIENCE, || async {
                holds(page(role, &path, None).await == Some(200))
            })
            .await;
        }
    }
    works(&stack, &team).await;
    queues_that_keda_watches_are_there(&stack).await;
}

async fn stack() -> Stack {
    let stack = Stack::start(&FAST).await;
    // Where the image looks for it, and where the files mount it.
    let file = tools::repository().join("swarm.yaml");
    std::fs::copy(file, stack.folder().join("swarm.yaml")).unwrap();
    stack
}

/// Starts all roles among the containers, each as often as the file says.
fn start(stack: &mut Stack, containers: &[Container]) -> Vec<Started> {
    let roles = containers.iter().filter(|container| container.is_role());
    let wanted = roles.flat_map(|role| (0..role.replicas).map(move |_| role));
    wanted
        .map(|container| {
            let port = free_port();
            let mut command = Command::new(tools::built("swarm"));
            command
                .args(&container.arguments)
                .current_dir(stack.folder())
                .env_clear()
                .envs(on_this_machine(stack, &container.environment, port));
            Started {
                container: container.clone(),
                process: Process::start(&container.name, command, stack.folder()),
                port,
            }
        })
        .collect()
}

/// The variables of a file, where the other containers are processes of this machine. A variable that the file does not
/// have is not added.
fn on_this_machine(stack: &Stack, variables: &Variables, port: u16) -> Variables {
    let mut variables = variables.clone();
    for (name, value) in &mut variables {
        match name.as_str() {
            "NATS_URL" => replace(value, "nats://nats:4222", &stack.server.url()),
            "SWARM_OLLAMA_HOSTS" => replace(value, "http://ollama:11434", &stack.sim.url()),
            "SWARM_HEALTH" => replace(value, ":8081", &format!(":{port}")),
            _ => {
                let passwords = USERS.iter().map(|user| password_variable(user));
                if let Some((_, password)) = passwords.into_iter().find(|(own, _)| own == name) {
                    *value = password;
                }
            }
        }
    }
    variables
}

fn replace(value: &mut String, there: &str, here: &str) {
    assert!(value.contains(there), "{there} in {value}");
    *value = value.replace(there, here);
}

/// The team is the one of `swarm.yaml`, does a task, and tells what it counted to whoever has the token.
async fn works(stack: &Stack, team: &[Started]) {
    let agents = files::agents();
    stack.agents_are_ready(agents.len()).await;
    let cards = stack.swarm_json(&["agents", "list"]).await;
    let live: BTreeSet<String> = files::list(&cards["items"])
        .iter()
        .map(|card| files::string(&card["agent"]))
        .collect();
    assert_eq!(live, agents);
    let run = stack.submit("What is a heat pump?", &[]).await;
    let result = stack.result(&run).await;
    assert_eq!(result["status"], "completed", "{result}");
    for role in team {
        let token = role.container.environment.get("SWARM_HEALTH_TOKEN");
        let without = page(role, "/metrics", None).await;
        let with = page(role, "/metrics", token.map(String::as_str)).await;
        let name = &role.container.name;
        assert_eq!((without, with), (Some(401), Some(200)), "{name}");
        assert!(!role.process.log().contains("ERROR"), "{name}");
    }
}

async fn page(role: &Started, path: &str, token: Option<&str>) -> Option<u16> {
    let url = format!("http://127.0.0.1:{}{path}", role.port);
    let mut request = reqwest::Client::new().get(url);
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    Some(request.send().await.ok()?.status().as_u16())
}

async fn queues_that_keda_watches_are_there(stack: &Stack) {
    let observer = stack.server.connect_as("observer").await;
    let mut watched = BTreeSet::new();
    for scaled in files::documents("deploy/k8s/keda.yaml") {
        for trigger in files::list(&scaled["spec"]["triggers"]) {
            assert_eq!(trigger["type"], "nats-jetstream");
            let queue = &trigger["metadata"];
            let (stream, consumer) = (
                files::string(&queue["stream"]),
                files::string(&queue["consumer"]),
            );
            let subject = format!("$JS.API.CONSUMER.INFO.{stream}.{consumer}");
            let reply = observer.request(subject, "".into()).await.unwrap();
            let reply: Value = serde_json::from_slice(&reply.payload).unwrap();
            assert_eq!(reply["name"], consumer.as_str(), "{reply}");
            watched.insert(consumer);
        }
    }
    assert_eq!(watched, files::agents());
}
