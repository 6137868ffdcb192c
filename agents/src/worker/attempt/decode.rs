//! From a delivery to the work that it is; what is none is set aside.

use swarm_bus::Delivery;
use swarm_bus::delivery::DeadContext;
use swarm_protocol::version::{self, Unread};
use swarm_protocol::work::Work;
use swarm_protocol::{Code, ErrorBody, subjects};

use crate::worker::Shared;

/// Why a delivery is not worked on.
pub(super) enum Undecided {
    /// A newer version wrote it.
    Newer(Unread),
    /// No version would write it.
    Wrong(ErrorBody),
}

pub(super) fn decode(shared: &Shared, delivery: &Delivery) -> Result<Work, Undecided> {
    let undecodable =
        |message: String| Undecided::Wrong(ErrorBody::new(Code::Undecodable, message));
    let work: Work = version::read(delivery.payload()).map_err(|unread| match unread {
        Unread::Garbled(error) => undecodable(format!("this is no work: {error}")),
        unread => Undecided::Newer(unread),
    })?;
    let own = &shared.options.profile.agent;
    if work.agent == *own {
        Ok(work)
    } else {
        Err(undecodable(format!(
            "this is work for {}, delivered to {own}",
            work.agent
        )))
    }
}

pub(super) async fn bury(shared: &Shared, delivery: Delivery, error: &ErrorBody) {
    let agent = &shared.options.profile.agent;
    tracing::warn!(%error, %agent, seq = delivery.position().seq, "set aside as a dead letter");
    let subject = subjects::dead_agent(agent);
    if let Err(error) = delivery
        .dead_letter(subject, error, DeadContext::default())
        .await
    {
        tracing::warn!(%error, "the dead letter was not stored; the message comes back");
    }
}
