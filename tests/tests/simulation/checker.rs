//! What has to hold. It sees each message as it is stored and each call as it is run, keeps its own copy of all run logs and
//! journals, and compares at once; what holds only at the end, it looks at there.
//!
//! The numbers are those of the invariants that ARCHITECTURE.md tells in words.

mod at_the_end;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use swarm_model::ChatRequest;
use swarm_protocol::definition::Action;
use swarm_protocol::event::{Body, Effect, Event};
use swarm_protocol::journal::{Body as EntryBody, CallDecision, Entry};
use swarm_protocol::summary::Stored as Summarized;
use swarm_protocol::work::Work;
use swarm_protocol::{Answer, RunId, RunState, TaskId, subjects, version};
use swarm_tools::spec::Effects;
use swarm_workflow::state::Progress;
use swarm_workflow::{State, fold};

use crate::bus::{Stored, StreamName};
use crate::scheduler::Sim;
use crate::worker::model::TOOLS;

/// A tool that is run for a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Execution {
    /// For which run.
    pub run: RunId,
    /// For which task.
    pub task: TaskId,
    /// The call.
    pub call: String,
    /// The tool.
    pub tool: String,
    /// Sequence of the last entry of the journal that its worker knows.
    pub known: u64,
}

type OfTask = (RunId, TaskId);

/// A run as its log tells it so far.
#[derive(Debug, Clone, Default)]
struct Log {
    events: Vec<Event>,
    state: Option<State>,
    seq: u64,
}

/// What was stored and done so far.
#[derive(Debug, Default)]
pub struct Checker {
    logs: BTreeMap<RunId, Log>,
    journals: BTreeMap<OfTask, Vec<(u64, Entry)>>,
    executions: BTreeMap<(OfTask, String), u64>,
    submitted: BTreeSet<RunId>,
    /// By id, what was first submitted under it.
    inbox: BTreeMap<String, Rc<[u8]>>,
    conflicts: u64,
    letters: Vec<Stored>,
}

impl Checker {
    /// A client knows that its submission is stored.
    pub fn submitted(&mut self, run: RunId) {
        self.submitted.insert(run);
    }

    /// Sees a message that was stored.
    pub fn see(&mut self, sim: &Sim, stream: StreamName, stored: &Stored) {
        match (stream, subjects::run_of_log(&stored.subject)) {
            (StreamName::Runs, Some(run)) => self.see_event(sim, run, stored),
            (StreamName::Runs, None) => self.see_entry(sim, stored),
            (StreamName::Work, _) => self.see_work(sim, stored),
            (StreamName::Dead, _) => self.letters.push(stored.clone()),
            (StreamName::Inbox, _) => self.see_submission(stored),
        }
    }

    fn see_submission(&mut self, stored: &Stored) {
        let id = stored.id.clone().unwrap_or_default();
        let first = self
            .inbox
            .entry(id)
            .or_insert_with(|| Rc::clone(&stored.payload));
        self.conflicts += u64::from(*first != stored.payload);
    }

    fn see_event(&mut self, sim: &Sim, run: RunId, stored: &Stored) {
        let event: Event = version::read(&stored.payload).unwrap();
        let log = self.logs.entry(run).or_default();
        if event.n != log.events.len() as u64 + 1 {
            sim.violate(
                "I4 events are numbered without a gap",
                format!("{} follows {}", event.n, log.events.len()),
            );
            return;
        }
        let before = log.state.clone();
        if before
            .as_ref()
            .is_some_and(|before| before.phase.is_terminal())
        {
            sim.violate(
                "I2 the terminal event is the last",
                format!("{} comes after it", event.body.name()),
            );
            return;
        }
        let state = match fold(before.clone(), &event) {
            Ok(state) => state,
            Err(error) => return sim.violate("I4 a log can be followed", error.to_string()),
        };
        let header = Summarized::from_header(stored.summary.as_deref().unwrap()).unwrap();
        if header != state.summary() {
            sim.violate(
                "I10 the header is the state's summary",
                format!("{header:?}, not {:?}", state.summary()),
            );
        }
        sim.note(event.body.name());
        self.see_dispatches(sim, before.as_ref(), &state, &event);
        self.see_answer(sim, &event);
        let log = self.logs.entry(run).or_default();
        log.events.push(event);
        log.state = Some(state);
        log.seq = stored.seq;
    }

    /// What an event has started, against what may start.
    fn see_dispatches(&self, sim: &Sim, before: Option<&State>, after: &State, event: &Event) {
        for effect in &event.effects {
            let Effect::Dispatch { task, attempt } = effect else {
                continue;
            };
            if !after.phase.starts_attempts() {
                sim.violate(
                    "I7 nothing starts while a run is paused, canceled or over",
                    format!("{task} in {}", after.phase),
                );
            }
            let step = after.steps().iter().find(|step| step.id == *task);
            if let Some(Action::Aggregate { needs, .. }) = step.map(|step| &step.action)
                && needs.iter().any(|need| after.answer(need).is_none())
            {
                sim.violate("I6 no task starts before what it needs", task.to_string());
            }
            let Some(known) = after.task(task) else {
                continue;
            };
            let suspensions: BTreeSet<u32> =
                known.asked.iter().map(|asked| asked.attempt).collect();
            let ended_before = before.and_then(|before| before.answer(task)).is_some();
            let brought_back = self.brought_back(after.run, task) + u32::from(ended_before);
            let retries = after.accepted().map_or(0, |accepted| accepted.retries);
            let most =
                (1 + retries) * (1 + brought_back) + u32::try_from(suspensions.len()).unwrap();
            if *attempt > most || known.failures > retries {
                let found = format!(
                    "{task}: attempt {attempt} of at most {most}, {} failures",
                    known.failures
                );
                sim.violate("I5 attempts are bounded", found);
            }
        }
    }

    /// How often a task was brought back after it had ended.
    fn brought_back(&self, run: RunId, task: &TaskId) -> u32 {
        let events = self.logs.get(&run).map_or(&[][..], |log| &log.events);
        let mut state: Option<State> = None;
        let mut count = 0;
        for event in events {
            let dispatched = event
                .effects
                .iter()
                .any(|effect| matches!(effect, Effect::Dispatch { task: of, .. } if of == task));
            let had_ended = state
                .as_ref()
                .is_some_and(|state| state.answer(task).is_some());
            count += u32::from(dispatched && had_ended);
            // That each of them folds was seen when it came.
            state = Some(fold(state, event).unwrap());
        }
        count
    }

    /// An answer that is recorded, against the journal that it was taken from.
    fn see_answer(&self, sim: &Sim, event: &Event) {
        let (ended, answer) = match &event.body {
            Body::StepCompleted(ended) | Body::StepFailed(ended) => {
                ((&ended.task, ended.attempt), &ended.answer)
            }
            Body::Retrying(retrying) => ((&retrying.task, retrying.attempt), &retrying.answer),
            _ => return,
        };
        if !self.ends_with(event.run, ended.0, ended.1, answer) {
            sim.violate(
                "I3 an answer is the one that ended its attempt",
                format!("{} {}", ended.0, ended.1),
            );
        }
    }

    fn ends_with(&self, run: RunId, task: &TaskId, attempt: u32, answer: &Answer) -> bool {
        let journal = self
            .journals
            .get(&(run, task.clone()))
            .into_iter()
            .flatten();
        let mut ends = journal.filter(|(_, entry)| entry.attempt == attempt && entry.body.is_end());
        let of_attempt = ends.next().and_then(|(_, entry)| entry.body.answer());
        of_attempt.is_some_and(|known| {
            known.text == answer.text
                && known.status == answer.status
                && known.error == answer.error
        })
    }

    fn see_entry(&mut self, sim: &Sim, stored: &Stored) {
        let entry: Entry = version::read(&stored.payload).unwrap();
        let journal = self
            .journals
            .entry((entry.run, entry.task.clone()))
            .or_default();
        let what = || format!("{} {} {:?}", entry.task, entry.attempt, entry.body.leaf());
        if let Some((_, last)) = journal.last()
            && (entry.attempt < last.attempt
                || (entry.attempt == last.attempt && last.body.is_end()))
        {
            sim.violate("I2 nothing follows what ends an attempt", what());
        }
        let first = |known: &Entry| known.attempt == entry.attempt && known.work_seq.is_some();
        if let Some((_, known)) = journal.iter().find(|(_, known)| first(known))
            && entry
                .work_seq
                .is_some_and(|work| Some(work) != known.work_seq)
        {
            sim.violate("I2 one work writes an attempt", what());
        }
        if let EntryBody::ToolResult(result) = &entry.body {
            let id = &result.result.tool_use_id;
            let recorded = |body: &EntryBody| matches!(body, EntryBody::ToolResult(known) if known.result.tool_use_id == *id);
            if journal.iter().any(|(_, known)| recorded(&known.body)) {
                sim.violate("I2 a result is recorded once", what());
            }
        }
        journal.push((stored.seq, entry));
    }

    /// Work that is stored, against the log that asked for it.
    fn see_work(&self, sim: &Sim, stored: &Stored) {
        let work: Work = version::read(&stored.payload).unwrap();
        let events = self.logs.get(&work.run).map_or(&[][..], |log| &log.events);
        let asks = |effect: &Effect| matches!(effect, Effect::Dispatch { task, attempt } if *task == work.task && *attempt == work.attempt);
        if !events.iter().any(|event| event.effects.iter().any(asks)) {
            sim.violate(
                "I7 work is what a log asks for",
                format!("{} {}", work.task, work.attempt),
            );
        }
    }

    /// A model is asked by a worker that knows the journal up to a sequence.
    pub fn asked(&self, sim: &Sim, work: &Work, known: u64, request: &ChatRequest) {
        let journal = self
            .journals
            .get(&(work.run, work.task.clone()))
            .into_iter()
            .flatten();
        for (_, entry) in journal.filter(|(seq, _)| *seq <= known) {
            let calls = |id: &str| {
                let mut said = request
                    .messages
                    .iter()
                    .flat_map(|message| &message.tool_calls);
                said.any(|call| call.id.as_deref() == Some(id))
            };
            let answers = |id: &str| {
                request
                    .messages
                    .iter()
                    .any(|message| message.tool_call_id.as_deref() == Some(id))
            };
            let missing = match &entry.body {
                EntryBody::ModelTurn(turn) => turn
                    .tool_calls
                    .iter()
                    .map(|call| &call.tool_use_id)
                    .find(|id| !calls(id)),
                EntryBody::ToolResult(result) => {
                    Some(&result.result.tool_use_id).filter(|id| !answers(id))
                }
                _ => None,
            };
            if let Some(missing) = missing {
                sim.violate(
                    "I8 a turn that is recorded is not asked for again",
                    format!("{missing} of {} is forgotten", work.task),
                );
            }
        }
    }

    /// A tool is run.
    pub fn executed(&mut self, sim: &Sim, execution: Execution) {
        let Execution {
            run,
            task,
            call,
            tool,
            known,
        } = execution;
        let of_task = (run, task);
        let journal = self.journals.get(&of_task).into_iter().flatten();
        let recorded = |entry: &Entry| matches!(&entry.body, EntryBody::ToolResult(result) if result.result.tool_use_id == call);
        if journal
            .clone()
            .any(|(seq, entry)| *seq <= known && recorded(entry))
        {
            sim.violate(
                "I8 a call whose result is recorded is not run again",
                format!("{call} of {}", of_task.1),
            );
        }
        let is_turn = |entry: &Entry| matches!(&entry.body, EntryBody::ModelTurn(turn) if turn.tool_calls.iter().any(|known| known.tool_use_id == call));
        if !journal.clone().any(|(_, entry)| is_turn(entry)) {
            sim.violate(
                "I8 a call is recorded before it is run",
                format!("{call} of {}", of_task.1),
            );
        }
        let approvals = self.approvals(&of_task, &call);
        let count = self
            .executions
            .entry((of_task.clone(), call.clone()))
            .or_default();
        *count += 1;
        let is_once = TOOLS
            .iter()
            .any(|(name, effects)| *name == tool && *effects == Effects::Once);
        if is_once && *count > 1 + approvals {
            let found = format!(
                "{call} of {} has run {count} times, approved {approvals} times",
                of_task.1
            );
            sim.violate(
                "I8 a call that must run once runs again only when it is approved",
                found,
            );
        }
    }

    fn approvals(&self, (run, task): &OfTask, call: &str) -> u64 {
        let state = self.logs.get(run).and_then(|log| log.state.as_ref());
        let asked = state
            .and_then(|state| state.task(task))
            .into_iter()
            .flat_map(|task| &task.asked);
        let approved = asked.filter(|asked| {
            asked.approval.call.tool_use_id == call
                && asked.decision == Some(CallDecision::Approved)
        });
        approved.count() as u64
    }

    /// The runs as their logs tell them, for whoever looks.
    pub fn runs(&self) -> impl Iterator<Item = (&RunId, &State)> {
        self.logs
            .iter()
            .filter_map(|(run, log)| Some((run, log.state.as_ref()?)))
    }

    /// Whether nothing more is expected: all runs have ended, or wait for a person who has gone.
    pub fn is_quiet(&self, person_is_gone: bool) -> bool {
        let rests = |state: &State| {
            let asks = matches!(state.phase, RunState::Paused | RunState::InputRequired);
            state.phase.is_terminal() || (person_is_gone && asks && state.live().next().is_none())
        };
        let logged = |run| self.logs.get(run).is_some_and(|log| log.state.is_some());
        self.submitted.iter().all(logged) && self.runs().all(|(_, state)| rests(state))
    }

    /// Whether a task is at work, or was, under an attempt.
    pub fn is_live(state: &State) -> bool {
        state
            .tasks
            .iter()
            .any(|task| matches!(task.progress, Progress::Live { .. }))
            && state.phase != RunState::Canceling
    }
}
