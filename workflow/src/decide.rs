//! What an input decides: the next event of a run, or nothing.

mod attempts;
mod commands;
mod submit;

use swarm_protocol::event::{Body, Cause, Effect, Event};
use swarm_protocol::journal::{Body as Entries, CallDecision, Entry, Suspended};
use swarm_protocol::limits::{MAX_EVENTS, MAX_LOG_BYTES};
use swarm_protocol::trace::TraceParent;
use swarm_protocol::{
    AgentName, Answer, BlobRef, Code, ErrorBody, InstanceId, RunId, RunState, Submission, TaskId,
    Timestamp, Version,
};

use crate::blobs::{Blob, Contents, Ledger};
use crate::compile::Team;
use crate::next::Ending;
use crate::result;
use crate::state::{State, fold};
use attempts::{due, task_ended, task_suspended};
use commands::{again, cancel, decide_call, delete, message, pause, resume};
use submit::{begin, repeat};

/// Who decides, when and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Context {
    /// The run.
    pub run: RunId,
    /// Now.
    pub at: Timestamp,
    /// The coordinator.
    pub by: InstanceId,
    /// Why.
    pub cause: Cause,
}

/// A submission on its way to become a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Submit {
    /// What was read from its payload.
    pub submission: Result<Submission, ErrorBody>,
    /// The first characters of the payload, when it is text.
    pub excerpt: String,
    /// The target that its subject named.
    pub target: Option<String>,
    /// SHA-256 of payload and target.
    pub content_sha256: String,
    /// When it was stored.
    pub submitted_at: Timestamp,
    /// Where the answer of its `ask` goes.
    pub reply: Option<String>,
    /// The span of whoever submitted it, when that one had a trace.
    pub traceparent: Option<TraceParent>,
}

/// What happened to a run.
#[derive(Debug, Clone, PartialEq)]
pub enum Input<'a> {
    /// A submission was delivered.
    Submit(&'a Submit, &'a Team),
    /// An attempt's journal was ended.
    TaskEnded {
        /// The task.
        task: &'a TaskId,
        /// The attempt.
        attempt: u32,
        /// How.
        answer: &'a Answer,
    },
    /// An attempt's journal was ended: it waits for a person.
    TaskSuspended {
        /// The task.
        task: &'a TaskId,
        /// The attempt.
        attempt: u32,
        /// For what.
        suspended: &'a Suspended,
    },
    /// A person decided about a call.
    Decide {
        /// What they were asked.
        approval: &'a str,
        /// Which call they mean.
        call_sha256: &'a str,
        /// What they decided.
        decision: CallDecision,
        /// What they said.
        reason: Option<String>,
    },
    /// A person sent a message to an agent of the run.
    Message {
        /// To whom.
        to: &'a AgentName,
        /// What it says.
        text: &'a str,
    },
    /// A person brought a task back that had failed.
    Again {
        /// The task.
        task: &'a TaskId,
    },
    /// Somebody asked for a cancel.
    Cancel {
        /// What they said.
        reason: Option<String>,
    },
    /// Somebody asked that no new attempt starts.
    Pause {
        /// What they said.
        reason: Option<String>,
    },
    /// Somebody asked that attempts start again.
    Resume {
        /// What they said.
        reason: Option<String>,
    },
    /// A deadline may have passed.
    Due,
    /// Somebody asked to do another run again, which has ended, as this one.
    Repeat(&'a State),
    /// Somebody asked to forget it.
    Delete,
}

impl<'a> Input<'a> {
    /// What an entry of a journal means for its run; nothing unless it ends an attempt.
    #[must_use]
    pub fn of_entry(entry: &'a Entry) -> Option<Self> {
        let (task, attempt) = (&entry.task, entry.attempt);
        match &entry.body {
            Entries::Completed(answer)
            | Entries::Failed(answer)
            | Entries::Canceled(answer)
            | Entries::TimedOut(answer) => Some(Self::TaskEnded {
                task,
                attempt,
                answer,
            }),
            Entries::Suspended(suspended) => Some(Self::TaskSuspended {
                task,
                attempt,
                suspended,
            }),
            Entries::ModelTurn(_)
            | Entries::ToolResult(_)
            | Entries::CallBegun { .. }
            | Entries::MessageReceived(_) => None,
        }
    }
}

/// What an input decides.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// Append this event, when these blobs are stored: it refers to them.
    Append {
        /// The event.
        event: Box<Event>,
        /// The blobs.
        blobs: Vec<Blob>,
    },
    /// Fetch these blobs, and ask again with their texts, or with why there are none.
    Fetch(Vec<BlobRef>),
    /// Nothing: it was decided before, or does not concern the run any more.
    Ignore,
}

/// Decides, knowing the contents of the blobs that it asked for before ([`Decision::Fetch`]).
#[must_use]
pub fn decide(
    state: Option<&State>,
    input: Input<'_>,
    context: Context,
    contents: &Contents,
) -> Decision {
    let mut ledger = Ledger::new(contents);
    let event = event_of(state, input, context, &mut ledger);
    let (wanted, blobs) = ledger.close();
    match event.map(Box::new) {
        _ if !wanted.is_empty() => Decision::Fetch(wanted),
        Some(event) => Decision::Append { event, blobs },
        None => Decision::Ignore,
    }
}

fn event_of(
    state: Option<&State>,
    input: Input<'_>,
    context: Context,
    ledger: &mut Ledger<'_>,
) -> Option<Event> {
    let event = match (state, input) {
        (None, Input::Submit(submit, team)) => Some(begin(submit, team, context, ledger)),
        (None, Input::Repeat(old)) => repeat(old, context, ledger),
        (None, _) | (Some(_), Input::Submit(..) | Input::Repeat(_)) => None,
        (Some(state), Input::Delete) => delete(state, context),
        (Some(state), _) if state.phase.is_terminal() => None,
        (
            Some(state),
            Input::TaskEnded {
                task,
                attempt,
                answer,
            },
        ) => task_ended(state, task, attempt, answer, context, ledger),
        (
            Some(state),
            Input::TaskSuspended {
                task,
                attempt,
                suspended,
            },
        ) => task_suspended(state, task, attempt, suspended, context, ledger),
        (
            Some(state),
            Input::Decide {
                approval,
                call_sha256,
                decision,
                reason,
            },
        ) => decide_call(state, approval, call_sha256, decision, reason, context),
        (Some(state), Input::Message { to, text }) => message(state, to, text, context),
        (Some(state), Input::Again { task }) => again(state, task, context),
        (Some(state), Input::Cancel { reason }) => cancel(state, reason, context, ledger),
        (Some(state), Input::Pause { reason }) => pause(state, reason, context),
        (Some(state), Input::Resume { reason }) => resume(state, reason, context),
        (Some(state), Input::Due) => due(state, context, ledger),
    };
    event.map(|event| within_limits(state, event, ledger))
}

/// The last event that a run may have is its end.
fn within_limits(state: Option<&State>, event: Event, ledger: &mut Ledger<'_>) -> Event {
    let Some(state) = state.filter(|state| !state.phase.is_terminal()) else {
        return event;
    };
    let is_last = event.n >= MAX_EVENTS || state.bytes >= MAX_LOG_BYTES;
    if event.body.result().is_some() || !is_last {
        return event;
    }
    let message = format!(
        "the run has {MAX_EVENTS} events or {} MiB of texts, and takes no more",
        MAX_LOG_BYTES / 1024 / 1024
    );
    // What the event says still counts; what it would begin does not begin.
    let said = Event {
        effects: Vec::new(),
        ..event.clone()
    };
    let Ok(after) = fold(Some(state.clone()), &said) else {
        return event;
    };
    let ending = Ending::failed(ErrorBody::new(Code::Limit, message));
    let context = Context {
        run: event.run,
        at: event.at,
        by: event.by,
        cause: event.cause,
    };
    let mut ended = end(&after, ending, context, ledger);
    ended.effects.extend(end_live(&after));
    ended
}

/// Has all live tasks ended, and their workers told.
fn end_live(state: &State) -> Vec<Effect> {
    let live = state.live().map(|(task, attempt)| Effect::EndTask {
        task: task.clone(),
        attempt,
    });
    live.chain([Effect::SignalCancel]).collect()
}

fn end(state: &State, ending: Ending, context: Context, ledger: &mut Ledger<'_>) -> Event {
    let result = Box::new(result::of_run(state, ending, context.at, ledger));
    let body = match result.status {
        RunState::Completed => Body::Completed(result),
        RunState::Canceled => Body::Canceled(result),
        _ => Body::Failed(result),
    };
    let reply = state
        .accepted()
        .and_then(|accepted| accepted.reply.as_ref());
    event(state.n, context, body, reply_effect(reply))
}

fn reply_effect(reply: Option<&String>) -> Vec<Effect> {
    reply
        .map(|subject| Effect::Reply {
            subject: subject.clone(),
        })
        .into_iter()
        .collect()
}

fn dispatch(task: &TaskId, attempt: u32) -> Effect {
    Effect::Dispatch {
        task: task.clone(),
        attempt,
    }
}

fn event(n: u64, context: Context, body: Body, effects: Vec<Effect>) -> Event {
    let Context { run, at, by, cause } = context;
    Event {
        v: Version,
        run,
        n,
        at,
        by,
        cause,
        body,
        effects,
    }
}
