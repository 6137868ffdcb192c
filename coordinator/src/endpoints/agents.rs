//! `agents`: the cards of live instances.

use swarm_bus::service::Call;
use swarm_protocol::ErrorBody;
use swarm_protocol::endpoint::{AgentsReply, AgentsRequest, read_optional};

use crate::Shared;

pub(super) async fn answer(shared: &Shared, call: Call) {
    match list(shared, call.request.payload()) {
        Ok(reply) => call.reply_json(&reply).await,
        Err(error) => call.fail(&error).await,
    }
}

fn list(shared: &Shared, payload: &[u8]) -> Result<AgentsReply, ErrorBody> {
    let request: AgentsRequest = read_optional(payload)?;
    let mut items = shared.cards.all();
    items.retain(|card| {
        request
            .agent
            .as_ref()
            .is_none_or(|agent| card.agent == *agent)
            && request
                .capability
                .as_ref()
                .is_none_or(|capability| card.capabilities.contains(capability))
    });
    Ok(AgentsReply { items })
}
