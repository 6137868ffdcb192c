//! `runs`: summaries, newest first, page by page.

use swarm_bus::service::Call;
use swarm_protocol::card::Card;
use swarm_protocol::endpoint::{RunsReply, RunsRequest, read_optional};
use swarm_protocol::limits::{DEFAULT_PAGE, MAX_PAGE};
use swarm_protocol::summary::{Stored, WaitKind, WaitingFor};
use swarm_protocol::{AgentName, Code, ErrorBody, RunId, Summary, Timestamp};

use crate::Shared;

/// A page ends with the summary that reaches this size: replies are messages.
const PAGE_BYTES: usize = 512 * 1024;

pub(super) async fn answer(shared: &Shared, call: Call) {
    let listed = match shared.index.caught_up().await {
        Ok(()) => list(shared, call.request.payload()),
        Err(behind) => Err(behind),
    };
    match listed {
        Ok(reply) => call.reply_json(&reply).await,
        Err(error) => call.fail(&error).await,
    }
}

fn list(shared: &Shared, payload: &[u8]) -> Result<RunsReply, ErrorBody> {
    let request: RunsRequest = read_optional(payload)?;
    let limit = request.limit.unwrap_or(DEFAULT_PAGE);
    if !(1..=MAX_PAGE).contains(&limit) {
        let message = format!("limit {limit} is out of range: 1 to {MAX_PAGE}");
        return Err(ErrorBody::new(Code::Field, message).field("limit"));
    }
    let after = request.after.as_deref().map(read_cursor).transpose()?;
    let entries = shared.index.newest(after);
    let cards = shared.cards.all();
    let mut chosen = entries
        .iter()
        .filter(|entry| matches(&request, &entry.stored))
        .map(|entry| shared.summarize(&entry.stored, &cards))
        .peekable();
    let mut items: Vec<Summary> = Vec::new();
    let mut bytes = 0;
    while items.len() < limit
        && bytes < PAGE_BYTES
        && let Some(summary) = chosen.next()
    {
        bytes += serde_json::to_vec(&summary).map_or(0, |json| json.len());
        items.push(summary);
    }
    let next = items.last().filter(|_| chosen.peek().is_some()).map(cursor);
    Ok(RunsReply { items, next })
}

fn matches(request: &RunsRequest, stored: &Stored) -> bool {
    let summary = &stored.summary;
    let labelled = |wanted: &str| {
        let labels = summary.labels.iter().flatten();
        let (name, value) = wanted
            .split_once('=')
            .map_or((wanted, None), |(name, value)| (name, Some(value)));
        labels
            .into_iter()
            .any(|(known, given)| known == name && value.is_none_or(|value| value == given))
    };
    request.state.is_none_or(|state| state == summary.state)
        && request
            .agent
            .as_ref()
            .is_none_or(|agent| stored.live.contains(agent))
        && request.label.as_deref().is_none_or(labelled)
}

fn cursor(summary: &Summary) -> String {
    format!("{}:{}", summary.submitted_at.as_millis(), summary.run)
}

fn read_cursor(text: &str) -> Result<(i64, RunId), ErrorBody> {
    let read = text
        .split_once(':')
        .and_then(|(ms, run)| Some((ms.parse().ok()?, RunId::parse(run)?)));
    read.ok_or_else(|| {
        ErrorBody::new(
            Code::Field,
            "after is no cursor: give the `next` of the page before",
        )
        .field("after")
    })
}

impl Shared {
    /// The summary for a person: with the agent or the host that the run waits for, when somebody could mend that.
    pub(crate) fn summarize(&self, stored: &Stored, cards: &[Card]) -> Summary {
        let mut summary = stored.summary.clone();
        if summary.waiting_for.is_none() && !summary.state.is_terminal() {
            let mut live = stored.live.iter();
            summary.waiting_for = live.find_map(|agent| self.missing(agent, cards, stored.at));
        }
        summary
    }

    /// What keeps an agent from any work: nobody runs it, or no model host answers its instances.
    pub(crate) fn missing(
        &self,
        agent: &AgentName,
        cards: &[Card],
        since: Timestamp,
    ) -> Option<WaitingFor> {
        let mut own = cards.iter().filter(|card| card.agent == *agent).peekable();
        if own.peek().is_none() {
            return Some(WaitingFor {
                kind: WaitKind::Agent,
                name: Some(agent.to_string()),
                since,
            });
        }
        let unreachable: Option<Vec<&String>> = own.map(|card| card.unreachable.as_ref()).collect();
        let hosts = unreachable?;
        Some(WaitingFor {
            kind: WaitKind::Host,
            name: hosts.first().map(|host| (*host).clone()),
            since,
        })
    }
}
