//! Requests, and who may say what.

use std::time::Duration;

use swarm_bus::connection::{Login, RequestError};
use swarm_bus::topology::{INBOX, RUNS};
use swarm_bus::{Bus, Options, Outgoing, Role};
use swarm_protocol::{RunId, subjects};
use swarm_tests::server::Release;
use swarm_tests::{eventually, holds};

use super::{Nats, PATIENCE, on_each_server, soon, submission};

on_each_server!(
    a_request_that_nobody_serves_is_answered_at_once,
    of_a_group_one_member_gets_each_request,
    who_gives_no_credentials_is_the_client,
);

fn ask() -> Outgoing {
    Outgoing::untraced(subjects::ASK, "text")
}

/// Without a coordinator a client hears so, and does not wait for its time to pass.
async fn a_request_that_nobody_serves_is_answered_at_once(release: Release) {
    let nats = Nats::start(release).await;
    let client = nats.server.bus(Role::Client).await;
    let answer = soon(client.request(ask(), Duration::from_secs(60))).await;
    assert!(
        matches!(&answer, Err(RequestError::NoResponders(subject)) if subject == subjects::ASK),
        "{answer:?}"
    );
}

/// Coordinators serve their endpoints as a queue group: a command is carried out once.
async fn of_a_group_one_member_gets_each_request(release: Release) {
    let nats = Nats::start(release).await;
    let client = nats.server.bus(Role::Client).await;
    let group = || nats.coordinator.queue_subscribe(subjects::ASK, "group");
    let (mut one, mut two) = (group().await.unwrap(), group().await.unwrap());
    // Subscriptions count once the server has answered something behind them.
    nats.coordinator.compare_clocks().await.unwrap();
    for _ in 0..20 {
        client.send(ask()).await.unwrap();
    }
    let served = soon(async {
        let mut served = [0, 0];
        while served[0] + served[1] < 20 {
            tokio::select! {
                _ = one.next() => served[0] += 1,
                _ = two.next() => served[1] += 1,
            }
        }
        served
    })
    .await;
    // What both got would be left over.
    for rest in [&mut one, &mut two] {
        rest.drain().await;
        assert!(soon(rest.next()).await.is_none(), "{served:?}");
    }
}

/// `no_auth_user`: a bare `nats req` works. What the user `client` may not say is refused, and neither stored nor answered;
/// the connection goes on.
async fn who_gives_no_credentials_is_the_client(release: Release) {
    let nats = Nats::with_topology(release).await;
    let options = Options {
        url: nats.server.url(),
        role: Role::Client,
        login: Login::Anonymous,
        name: "test".to_owned(),
        patience: PATIENCE,
    };
    let anyone = Bus::connect(options).await.unwrap();
    let log = subjects::run_log(RunId::random());
    anyone.send(Outgoing::untraced(&log, "text")).await.unwrap();
    let refused = format!("user:client\" - Publish Violation - Subject \"{log}\"");
    eventually("it is refused", PATIENCE, || async {
        holds(nats.server.log().contains(&refused))
    })
    .await;
    anyone.store(submission("text")).await.unwrap();
    assert_eq!(
        (nats.messages(RUNS).await, nats.messages(INBOX).await),
        (0, 1)
    );
}
