//! A cluster of three servers that loses one.

use std::time::{Duration, Instant};

use serde_json::Value;
use swarm_protocol::RunState;
use tempfile::TempDir;

use super::scene::{AGENT, FAST, PATIENCE, Scene, submit_somehow};
use super::{Outcome, Round};
use crate::process::free_port;
use crate::server::connect_as;
use crate::{Server, Stack, eventually, holds};

/// Runs while the leader is killed.
const RUNS: usize = 500;

/// The leader of the runs is killed while runs go on, and comes back later.
pub async fn leader_killed(mut round: Round) -> Outcome {
    let (mut scene, mut others, urls) = three_servers().await;
    let _coordinators = [
        scene.stack.coordinator().await,
        scene.stack.coordinator().await,
    ];
    let _workers = [scene.worker(AGENT), scene.worker(AGENT)];
    scene.stack.agents_are_ready(2).await;
    let info = stream(&urls).await.unwrap();
    assert_eq!(info["config"]["num_replicas"], 3, "{info}");

    let client = scene.connect_as("client").await;
    let submitting = tokio::spawn(async move {
        let tasks = (0..RUNS).map(|n| format!("ledger t{n} ms=20 hold=0"));
        submit_somehow(&client, AGENT, tasks).await
    });
    scene.ended(20 + round.pick(100), PATIENCE).await;
    let leader = stream(&urls).await.unwrap()["cluster"]["leader"].clone();
    let place = match leader.as_str().unwrap() {
        "n0" => 0,
        "n1" => 1,
        _ => 2,
    };
    server(&mut scene, &mut others, place).kill_9();
    let killed = Instant::now();
    eventually("another one leads", PATIENCE, || async {
        let info = stream(&urls).await?;
        let now = &info["cluster"]["leader"];
        holds(now.is_string() && *now != leader)
    })
    .await;
    eprintln!("F9: another leader after {:?}", killed.elapsed());
    let runs = submitting.await.unwrap();
    scene.ended(runs.len(), PATIENCE * 2).await;
    server(&mut scene, &mut others, place).start_again().await;
    eventually("it has caught up", PATIENCE, || async {
        let info = stream(&urls).await?;
        let replicas = info["cluster"]["replicas"].as_array()?;
        holds(replicas.iter().all(|replica| replica["current"] == true))
    })
    .await;
    let (history, tally) = scene.check(&runs).await;
    assert_eq!(history.ended_as(RunState::Completed), RUNS);
    let recovery = history.longest_stall();
    // Beside other tests the election takes longer.
    let longest = round.size(Duration::from_secs(30), Duration::from_secs(10));
    assert!(recovery < longest, "{recovery:?}");
    Outcome { tally, recovery }
}

/// A cluster whose first server is that of the scene, the other two, and where all are.
async fn three_servers() -> (Scene, Vec<Server>, String) {
    let folder = TempDir::new().unwrap();
    let mut servers = Vec::new();
    let routes: Vec<u16> = (0..3).map(|_| free_port()).collect();
    for place in 0..3 {
        let own = folder.path().join(format!("node{place}"));
        std::fs::create_dir_all(&own).unwrap();
        servers.push(Server::start_changed(&own, |text| node(text, place, &routes)).await);
    }
    let urls: Vec<String> = servers.iter().map(Server::url).collect();
    let urls = urls.join(",");
    let first = servers.remove(0);
    let mut stack = Stack::on(first, folder, &FAST).await;
    stack.set("NATS_URL", &urls);
    stack.set("SWARM_NATS_REPLICAS", "3");
    let mut scene = Scene::on(stack).await;
    scene.slots = 4;
    has_leader(&urls).await;
    (scene, servers, urls)
}

/// The server at a place of the cluster.
fn server<'a>(scene: &'a mut Scene, others: &'a mut [Server], place: usize) -> &'a mut Server {
    match place {
        0 => &mut scene.stack.server,
        other => &mut others[other - 1],
    }
}

fn node(text: &str, place: usize, routes: &[u16]) -> String {
    let listed: Vec<String> = routes
        .iter()
        .map(|port| format!("\"nats://127.0.0.1:{port}\""))
        .collect();
    let text = text.replace("server_name: swarm", &format!("server_name: n{place}"));
    format!(
        "{text}\ncluster {{ name: swarm, listen: \"127.0.0.1:{}\", routes: [{}] }}\n",
        routes[place],
        listed.join(", ")
    )
}

/// Waits until the cluster can make streams.
async fn has_leader(urls: &str) {
    let observer = connect_as(urls, "observer").await;
    eventually("the cluster has a leader", PATIENCE, || async {
        let reply = observer.request("$JS.API.INFO", "".into()).await.ok()?;
        let info: Value = serde_json::from_slice(&reply.payload).ok()?;
        holds(info.get("error").is_none())
    })
    .await;
}

async fn stream(urls: &str) -> Option<Value> {
    let observer = connect_as(urls, "observer").await;
    let api = "$JS.API.STREAM.INFO.SWARM_RUNS";
    let reply = observer.request(api, "".into()).await.ok()?;
    let info: Value = serde_json::from_slice(&reply.payload).ok()?;
    info.get("error").is_none().then_some(info)
}
