//! `register`: an instance announces itself, and gets its consumer.

use swarm_bus::service::Call;
use swarm_bus::topology;
use swarm_protocol::card::Card;
use swarm_protocol::endpoint::RegisterReply;
use swarm_protocol::error::chain;
use swarm_protocol::{Code, ErrorBody};

use crate::Shared;

pub(super) async fn answer(shared: &Shared, call: Call) {
    match register(shared, call.request.payload()).await {
        Ok(reply) => call.reply_json(&reply).await,
        Err(error) => call.fail(&error).await,
    }
}

async fn register(shared: &Shared, payload: &[u8]) -> Result<RegisterReply, ErrorBody> {
    let card: Card = serde_json::from_slice(payload)
        .map_err(|error| ErrorBody::new(Code::Json, format!("this is no agent card: {error}")))
        .inspect_err(|error| tracing::warn!(%error, "an agent could not register"))?;
    let others = shared.cards.others(&card.instance);
    let most = shared.options.max_agents;
    if others >= most as usize {
        let message = format!(
            "{others} agent instances are live and {most} may be: stop some, or raise mcp.max_agents"
        );
        return Err(ErrorBody::new(Code::TooManyAgents, message));
    }
    if !shared.roster.knows(&card.agent) {
        let applied = shared
            .bus
            .apply_work_consumer(&card.agent, &shared.options.topology)
            .await;
        applied.map_err(|error| ErrorBody::new(Code::Unavailable, chain(&error)))?;
        shared.roster.add(card.agent.clone());
        tracing::info!(agent = %card.agent, "a new agent is known");
    }
    tracing::debug!(agent = %card.agent, instance = %card.instance, "registered");
    Ok(RegisterReply {
        heartbeat_s: topology::HEARTBEAT.as_secs(),
        consumer: card.agent.to_string(),
    })
}
