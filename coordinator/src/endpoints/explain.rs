//! `explain`: the story of a run, where its time went, and why it waits.

use std::collections::BTreeMap;

use swarm_bus::service::Call;
use swarm_protocol::card::Card;
use swarm_protocol::endpoint::{Explanation, RunRequest};
use swarm_protocol::error::chain;
use swarm_protocol::journal::Entry;
use swarm_protocol::{AgentName, Code, ErrorBody, RunId, RunRef, TaskId, Timestamp, subjects};
use swarm_workflow::State;

use crate::Shared;
use crate::index::unknown;
use crate::story::{self, Sources, Waiting};

pub(super) async fn answer(shared: &Shared, call: Call) {
    match explain(shared, call.request.payload()).await {
        Ok(reply) => call.reply_json(&reply).await,
        Err(error) => call.fail(&error).await,
    }
}

async fn explain(shared: &Shared, payload: &[u8]) -> Result<Explanation, ErrorBody> {
    let request = RunRequest::parse(payload)?;
    let run = shared.resolve(&request.run, None).await?;
    let log = shared.read_log(run).await;
    let events = log.map_err(|error| error.to_body())?.events;
    if events.is_empty() {
        return Err(unknown(&RunRef::Id(run)));
    }
    let entries = read_journals(shared, run).await?;
    let state = swarm_workflow::replay(&events)
        .map_err(|error| ErrorBody::new(Code::Log, error.to_string()))?;
    let cards = shared.cards.all();
    let waiting = waiting(shared, &state, &cards).await;
    let summary = shared.summarize(&state.summary(), &cards);
    Ok(story::tell(Sources {
        run,
        events: &events,
        entries: &entries,
        waiting: &waiting,
        waiting_for: summary.waiting_for,
        now: Timestamp::now(),
    }))
}

async fn read_journals(shared: &Shared, run: RunId) -> Result<Vec<Entry>, ErrorBody> {
    let unavailable = |detail: String| ErrorBody::new(Code::Unavailable, detail);
    let stored = shared
        .bus
        .read_runs(&subjects::journals_of(run), 1)
        .await
        .map_err(|error| unavailable(chain(&error)))?;
    // What this version does not know is no part of the story it can tell.
    let entries = stored
        .iter()
        .filter_map(|message| serde_json::from_slice(&message.payload).ok());
    Ok(entries.collect())
}

/// Live tasks that no instance has, each with the reason.
async fn waiting(shared: &Shared, state: &State, cards: &[Card]) -> Vec<Waiting> {
    let mut ahead: BTreeMap<AgentName, u64> = BTreeMap::new();
    let mut waiting = Vec::new();
    for (task, _attempt) in state.live() {
        let Some(agent) = state.agent_of(task) else {
            continue;
        };
        if is_held(cards, state.run, task) {
            continue;
        }
        if !ahead.contains_key(agent) {
            let backlog = shared.bus.work_backlog(agent).await;
            let backlog = backlog.ok().flatten().unwrap_or_default();
            ahead.insert(agent.clone(), backlog.pending + backlog.unacknowledged);
        }
        let missing = shared.missing(agent, cards, state.at);
        let slots = cards
            .iter()
            .filter(|card| card.agent == *agent)
            .map(|card| card.slots);
        let queued = ahead.get(agent).copied().unwrap_or_default();
        let why = story::why(missing.as_ref(), agent, slots.sum(), queued);
        waiting.push(Waiting {
            task: task.clone(),
            why,
        });
    }
    waiting
}

fn is_held(cards: &[Card], run: RunId, task: &TaskId) -> bool {
    let mut tasks = cards.iter().flat_map(|card| &card.tasks);
    tasks.any(|running| running.run == run && running.task == *task)
}
