//! The micro service `swarm`: a file per endpoint.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;
use swarm_bus::Bus;
use swarm_bus::connection::RequestError;
use swarm_bus::service::{Call, Endpoint, Options, Service};
use swarm_bus::work_loop::Shutdown;
use swarm_protocol::endpoint::SERVICE;
use swarm_protocol::journal::CallDecision;
use swarm_protocol::{InstanceId, RunState, subjects};
use tokio_util::task::TaskTracker;

use crate::Shared;
use crate::admission::Admission;
use crate::index::Index;

mod agents;
mod ask;
mod command;
mod dead;
mod decide;
mod delete;
mod explain;
mod message;
mod register;
mod result;
mod retry;
mod runs;
mod steer;

use steer::Command;

const ENDPOINTS: [Endpoint; 18] = [
    Endpoint {
        name: "ask",
        subject: subjects::ASK,
    },
    Endpoint {
        name: "ask-target",
        subject: subjects::ASK_TARGET,
    },
    Endpoint {
        name: "result",
        subject: subjects::RESULT,
    },
    Endpoint {
        name: "runs",
        subject: subjects::RUNS,
    },
    Endpoint {
        name: "explain",
        subject: subjects::EXPLAIN,
    },
    Endpoint {
        name: "cancel",
        subject: subjects::CANCEL,
    },
    Endpoint {
        name: "pause",
        subject: subjects::PAUSE,
    },
    Endpoint {
        name: "resume",
        subject: subjects::RESUME,
    },
    Endpoint {
        name: "retry",
        subject: subjects::RETRY,
    },
    Endpoint {
        name: "approve",
        subject: subjects::APPROVE,
    },
    Endpoint {
        name: "deny",
        subject: subjects::DENY,
    },
    Endpoint {
        name: "message",
        subject: subjects::MESSAGE,
    },
    Endpoint {
        name: "delete",
        subject: subjects::DELETE,
    },
    Endpoint {
        name: "dead",
        subject: subjects::DEAD_LETTERS,
    },
    Endpoint {
        name: "dead-requeue",
        subject: subjects::DEAD_REQUEUE,
    },
    Endpoint {
        name: "dead-drop",
        subject: subjects::DEAD_DROP,
    },
    Endpoint {
        name: "agents",
        subject: subjects::AGENTS,
    },
    Endpoint {
        name: "register",
        subject: subjects::REGISTER,
    },
];

/// Begins to take calls.
pub(crate) async fn serve(
    bus: &Bus,
    instance: &InstanceId,
    index: Index,
    admission: Arc<Admission>,
) -> Result<Service, RequestError> {
    let about_runs = move || {
        let by_state: BTreeMap<RunState, u64> = index.by_state().into_iter().collect();
        let held = admission.held().map(|held| held.to_string());
        json!({ "open": index.open(), "by_state": by_state, "held": held })
    };
    let options = Options {
        name: SERVICE,
        id: instance.to_string(),
        version: env!("CARGO_PKG_VERSION"),
        description: "Submit tasks to a team of local agents, and ask for runs and agents",
        stats_data: Arc::new(move |endpoint| (endpoint == "runs").then(&about_runs)),
    };
    Service::start(bus, options, &ENDPOINTS).await
}

/// Answers calls until the stop, each in a task of its own: a slow one holds up no other.
pub(crate) async fn answer(shared: Arc<Shared>, mut service: Service, shutdown: Shutdown) {
    let answering = TaskTracker::new();
    let mut stopping = false;
    loop {
        tokio::select! {
            call = service.next() => match call {
                Some(call) => {
                    answering.spawn(route(Arc::clone(&shared), call));
                }
                None => break,
            },
            () = shutdown.stop.cancelled(), if !stopping => {
                stopping = true;
                service.stop();
            }
        }
    }
    answering.close();
    tokio::select! {
        () = answering.wait() => {}
        // Waits for results end with the process: the requester asks again.
        () = tokio::time::sleep(DRAIN) => tracing::debug!(left = answering.len(), "calls were left unanswered"),
    }
}

/// Calls that are being answered at the stop get this long.
const DRAIN: std::time::Duration = std::time::Duration::from_millis(500);

async fn route(shared: Arc<Shared>, call: Call) {
    match call.endpoint {
        "ask" | "ask-target" => ask::answer(&shared, call).await,
        "result" => result::answer(&shared, call).await,
        "runs" => runs::answer(&shared, call).await,
        "explain" => explain::answer(&shared, call).await,
        "cancel" => steer::answer(&shared, Command::Cancel, call).await,
        "pause" => steer::answer(&shared, Command::Pause, call).await,
        "resume" => steer::answer(&shared, Command::Resume, call).await,
        "retry" => retry::answer(&shared, call).await,
        "approve" => decide::answer(&shared, CallDecision::Approved, call).await,
        "deny" => decide::answer(&shared, CallDecision::Denied, call).await,
        "message" => message::answer(&shared, call).await,
        "delete" => delete::answer(&shared, call).await,
        "dead" => dead::list(&shared, call).await,
        "dead-requeue" => dead::requeue(&shared, call).await,
        "dead-drop" => dead::drop(&shared, call).await,
        "agents" => agents::answer(&shared, call).await,
        "register" => register::answer(&shared, call).await,
        other => tracing::error!(endpoint = other, "no such endpoint"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use swarm_protocol::subjects::catalog::{self, Travels};

    use super::*;

    #[test]
    fn what_is_served_is_what_is_listed() {
        let served = ENDPOINTS.iter().map(|endpoint| endpoint.subject.to_owned());
        // Discovery, which every micro service answers.
        let listed = catalog::ALL.iter().filter(|subject| {
            subject.travels == Travels::Request && !subject.pattern.starts_with("$SRV.")
        });
        let listed = listed.map(|subject| subject.pattern.replace("<target>", ">"));
        assert_eq!(
            served.collect::<BTreeSet<_>>(),
            listed.collect::<BTreeSet<_>>()
        );
    }
}
