//! What is to be done about a run because of the time, by whoever sees it.

use std::collections::BTreeMap;
use std::time::Duration;

use swarm_protocol::{AgentName, Code, ErrorBody, Span, TaskId, Timestamp};

use crate::next::overdue;
use crate::state::State;

/// What is to be done when the next deadline of a run may have passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Due {
    /// Nothing: it has ended.
    Nothing,
    /// The run's time is over: the attempts that are live are ended in their journals first.
    EndLive(ErrorBody),
    /// It is decided about [`Input::Due`](crate::Input::Due), for this deadline.
    Decide(&'static str),
}

impl Due {
    /// What is to be done now.
    #[must_use]
    pub fn of(state: &State, now: Timestamp) -> Self {
        if state.accepted().is_none() || state.phase.is_terminal() {
            return Self::Nothing;
        }
        match overdue(state, now) {
            Some(reason) if state.live().next().is_some() => Self::EndLive(reason),
            Some(_) => Self::Decide("total"),
            None => Self::Decide("retry"),
        }
    }
}

/// The live tasks of a run that wait for an instance of their agent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Queued {
    /// Those that have waited for too long, their attempt, and what is said about it.
    pub over: Vec<(TaskId, u32, ErrorBody)>,
    /// When the next one has.
    pub next: Option<Timestamp>,
}

impl Queued {
    /// By what is known of absent agents: since when no instance of them is live. A submission that says nothing has its
    /// tasks wait so `long`.
    #[must_use]
    pub fn of(
        state: &State,
        absent: &BTreeMap<AgentName, Timestamp>,
        now: Timestamp,
        long: Duration,
    ) -> Self {
        let Some(accepted) = state.accepted() else {
            return Self::default();
        };
        let longest = accepted.submission.queue_timeout.map_or(long, |own| own.0);
        let mut queued = Self::default();
        for (task, attempt) in state.live() {
            let agent = state.agent_of(task);
            let Some((agent, gone)) = agent.and_then(|agent| Some((agent, *absent.get(agent)?)))
            else {
                continue;
            };
            let since = state.dispatched_at(task).map_or(gone, |at| at.max(gone));
            if now.since(since) >= longest {
                let message = format!("nobody ran {agent} for {}", Span(longest));
                let reason = ErrorBody::new(Code::Queue, message);
                queued.over.push((task.clone(), attempt, reason));
            } else {
                let at = since.after(longest);
                queued.next = Some(queued.next.map_or(at, |next| next.min(at)));
            }
        }
        queued
    }
}
