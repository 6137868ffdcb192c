//! What the streams say after a fault, checked from the first message to the last.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::{self, consumer::pull::OrderedConfig};
use futures_util::StreamExt as _;
use serde_json::Value;
use swarm_bus::{Kind, topology};
use swarm_protocol::event::Event;
use swarm_protocol::journal::{Body, Entry};
use swarm_protocol::{Answer, AnswerStatus, RunId, RunState, TaskId, Timestamp, headers, subjects};
use swarm_workflow::{State, fold};

use super::ledger::Ledger;
use crate::Server;

#[cfg(test)]
mod tests;

/// A call that begins so soon after its result was stored belongs to a worker that was at it already.
const SIDE_BY_SIDE: Duration = Duration::from_secs(1);

/// Everything that is stored.
#[derive(Debug, Default)]
pub struct History {
    runs: BTreeMap<RunId, Story>,
    problems: Vec<String>,
    /// Submissions that are no runs yet.
    pub inbox: u64,
    /// Attempts that nobody has ended.
    pub work: u64,
    /// Dead letters.
    pub dead: u64,
}

/// A run: what its log and its journals came to.
#[derive(Debug, Default)]
pub struct Story {
    /// What the log folds to.
    pub state: Option<State>,
    /// When its terminal event was stored.
    pub ended: Option<Timestamp>,
    terminal_events: usize,
    tasks: BTreeMap<TaskId, Journal>,
}

/// A task's journal.
#[derive(Debug, Default)]
struct Journal {
    /// By attempt: entries that end it.
    ends: BTreeMap<u32, usize>,
    completed: Vec<Answer>,
    /// By attempt and call: when its result was stored, how often, and what it says.
    results: BTreeMap<(u32, String), Vec<(Timestamp, String)>>,
}

/// What a history comes to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Runs that were submitted.
    pub tasks: usize,
    /// Those that have not ended.
    pub lost: usize,
    /// Calls of tools that were executed more than once.
    pub executed_twice: usize,
    /// Answers, results of calls, and ends of runs that stand there more than once.
    pub recorded_twice: usize,
}

impl History {
    /// Reads all streams, as a coordinator may.
    pub async fn read(server: &Server) -> Self {
        let client = server.connect_as("coordinator").await;
        let context = jetstream::new(client);
        let mut history = Self::default();
        for (stream, count) in [
            (topology::INBOX, &mut history.inbox),
            (topology::WORK, &mut history.work),
            (topology::DEAD, &mut history.dead),
        ] {
            *count = messages(&context, stream).await;
        }
        if messages(&context, topology::RUNS).await > 0 {
            history.read_runs(&context).await;
        }
        history
    }

    async fn read_runs(&mut self, context: &jetstream::Context) {
        let stream = context.get_stream(topology::RUNS).await.unwrap();
        let consumer = stream.create_consumer(OrderedConfig::default()).await;
        let mut stored = consumer.unwrap().messages().await.unwrap();
        while let Some(message) = stored.next().await {
            let message = message.unwrap();
            let info = message.info().unwrap();
            let at = i64::try_from(info.published.unix_timestamp_nanos() / 1_000_000).unwrap();
            let last = info.pending == 0;
            let kind = kind(message.headers.as_ref());
            self.take(
                &message.subject,
                kind,
                &message.payload,
                Timestamp::from_millis(at),
            );
            if last {
                return;
            }
        }
    }

    fn take(&mut self, subject: &str, kind: Kind, payload: &[u8], at: Timestamp) {
        if kind == Kind::Foreign {
            return;
        }
        if let Some(run) = subjects::run_of_log(subject) {
            let event: Event = self.decode(subject, payload);
            self.runs
                .entry(run)
                .or_default()
                .take_event(&event, at, &mut self.problems);
        } else if let Some((run, task, _)) = subjects::parse_journal(subject) {
            let entry: Entry = self.decode(subject, payload);
            let story = self.runs.entry(run).or_default();
            story.tasks.entry(task).or_default().take(&entry, at);
        } else {
            self.problems
                .push(format!("{subject} is no subject of a run"));
        }
    }

    fn decode<T: serde::de::DeserializeOwned>(&self, subject: &str, payload: &[u8]) -> T {
        serde_json::from_slice(payload).unwrap_or_else(|error| {
            panic!("{subject}: {error}: {}", String::from_utf8_lossy(payload))
        })
    }

    /// A run.
    ///
    /// # Panics
    /// When nothing of it is stored.
    #[must_use]
    pub fn story(&self, run: RunId) -> &Story {
        self.runs
            .get(&run)
            .unwrap_or_else(|| panic!("nothing of {run} is stored"))
    }

    /// Checks what must hold whatever was done to the processes: each submitted run has one log, numbered without a gap, that
    /// folds to its end; each attempt ended once; each answer is recorded once and is the one that the run gives; nothing is
    /// left in the queues; and no call ran again after its result was stored.
    ///
    /// # Panics
    /// With all that does not hold.
    #[must_use]
    pub fn check(&self, submitted: &[RunId], ledger: &Ledger) -> Tally {
        let (tally, problems) = self.judge(submitted, ledger);
        assert!(problems.is_empty(), "{tally:?}\n{}", problems.join("\n"));
        tally
    }

    fn judge(&self, submitted: &[RunId], ledger: &Ledger) -> (Tally, Vec<String>) {
        let mut problems = self.problems.clone();
        let wanted: BTreeSet<RunId> = submitted.iter().copied().collect();
        assert_eq!(wanted.len(), submitted.len(), "ids are submitted once here");
        for run in self.runs.keys().filter(|run| !wanted.contains(run)) {
            problems.push(format!("run {run} was never submitted"));
        }
        let mut tally = Tally {
            tasks: wanted.len(),
            ..Tally::default()
        };
        for run in &wanted {
            let Some(story) = self.runs.get(run) else {
                problems.push(format!("run {run} is lost: it has no log"));
                tally.lost += 1;
                continue;
            };
            if story.ended.is_none() {
                problems.push(format!(
                    "run {run} is lost: it has not ended: {:?}",
                    story.state
                ));
                tally.lost += 1;
            }
            story.check(*run, &mut tally, &mut problems);
        }
        for (what, left) in [("inbox", self.inbox), ("work queue", self.work)] {
            if left > 0 {
                problems.push(format!("{left} messages are left in the {what}"));
            }
        }
        self.check_calls(ledger, &mut tally, &mut problems);
        (tally, problems)
    }

    fn check_calls(&self, ledger: &Ledger, tally: &mut Tally, problems: &mut Vec<String>) {
        for (call, begins) in ledger.begins() {
            tally.executed_twice += usize::from(begins.len() > 1);
            let task = RunId::parse(&call.run)
                .and_then(|run| self.runs.get(&run))
                .and_then(|story| Some((story, call.task.parse::<TaskId>().ok()?)))
                .and_then(|(story, task)| story.tasks.get(&task));
            let stored = task.into_iter().flat_map(|task| &task.results);
            let stored = stored
                .filter(|((_, id), _)| *id == call.call)
                .flat_map(|(_, results)| results.iter().map(|(at, _)| *at))
                .min();
            let Some(stored) = stored else { continue };
            for begun in begins {
                if begun.since(stored) > SIDE_BY_SIDE {
                    problems.push(format!(
                        "{call:?} ran at {begun}, and its result is of {stored}"
                    ));
                }
            }
        }
    }

    /// How many runs ended in this state.
    #[must_use]
    pub fn ended_as(&self, wanted: RunState) -> usize {
        let states = self.runs.values().filter_map(|story| story.state.as_ref());
        states.filter(|state| state.phase == wanted).count()
    }

    /// The longest time between the ends of two runs that follow each other.
    #[must_use]
    pub fn longest_stall(&self) -> Duration {
        let mut ends: Vec<Timestamp> = self.runs.values().filter_map(|story| story.ended).collect();
        ends.sort_unstable();
        let stalls = ends.windows(2).map(|pair| pair[1].since(pair[0]));
        stalls.max().unwrap_or_default()
    }
}

impl Story {
    fn take_event(&mut self, event: &Event, at: Timestamp, problems: &mut Vec<String>) {
        self.terminal_events += usize::from(event.body.result().is_some());
        match fold(self.state.take(), event) {
            Ok(state) => {
                if state.phase.is_terminal() {
                    self.ended = Some(at);
                }
                self.state = Some(state);
            }
            Err(error) => problems.push(format!("the log of {} does not fold: {error}", event.run)),
        }
    }

    fn check(&self, run: RunId, tally: &mut Tally, problems: &mut Vec<String>) {
        if self.terminal_events > 1 {
            tally.recorded_twice += 1;
            problems.push(format!("run {run} has {} ends", self.terminal_events));
        }
        for (task, journal) in &self.tasks {
            for (attempt, ends) in journal.ends.iter().filter(|(_, ends)| **ends > 1) {
                tally.recorded_twice += 1;
                problems.push(format!(
                    "attempt {attempt} of {task} of {run} has {ends} ends"
                ));
            }
            if journal.completed.len() > 1 {
                tally.recorded_twice += 1;
                problems.push(format!("{task} of {run} has {:?}", journal.completed));
            }
            for ((attempt, call), results) in &journal.results {
                if results.len() > 1 {
                    tally.recorded_twice += 1;
                    problems.push(format!(
                        "call {call} in attempt {attempt} of {task} of {run} has {results:?}"
                    ));
                }
            }
        }
        let result = self.state.as_ref().and_then(|state| state.result.as_ref());
        for answer in result.iter().flat_map(|result| &result.answers) {
            if answer.status != AnswerStatus::Completed {
                continue;
            }
            let journal = self.tasks.get(&answer.task);
            let recorded = journal.and_then(|journal| journal.recorded(answer));
            if recorded.as_ref() != Some(answer) {
                problems.push(format!(
                    "{run} answers {answer:?}, and its journal holds {recorded:?}"
                ));
            }
        }
    }

    /// How many attempts have ended, of all tasks together.
    #[must_use]
    pub fn attempts(&self) -> usize {
        self.tasks.values().map(|journal| journal.ends.len()).sum()
    }

    /// Where the run is.
    #[must_use]
    pub fn phase(&self) -> Option<RunState> {
        self.state.as_ref().map(|state| state.phase)
    }

    /// The text of the run's result.
    #[must_use]
    pub fn text(&self) -> &str {
        let result = self.state.as_ref().and_then(|state| state.result.as_ref());
        result.map_or("", |result| result.text.as_str())
    }
}

impl Journal {
    /// The answer that is recorded. What earlier attempts used is added to it by the run.
    fn recorded(&self, of_run: &Answer) -> Option<Answer> {
        let mut recorded = self.completed.first()?.clone();
        if self.ends.len() > 1 {
            recorded.usage = of_run.usage;
            recorded.elapsed_ms = of_run.elapsed_ms;
        }
        Some(recorded)
    }

    fn take(&mut self, entry: &Entry, at: Timestamp) {
        match &entry.body {
            Body::ToolResult(result) => {
                let key = (entry.attempt, result.result.tool_use_id.clone());
                let text = serde_json::to_string(&result.result.content).unwrap();
                self.results.entry(key).or_default().push((at, text));
            }
            body if body.leaf() == subjects::Leaf::End => {
                *self.ends.entry(entry.attempt).or_default() += 1;
                if let Body::Completed(answer) = body {
                    self.completed.push((**answer).clone());
                }
            }
            _ => {}
        }
    }
}

async fn messages(context: &jetstream::Context, stream: &str) -> u64 {
    let request: Result<Value, _> = context.request(format!("STREAM.INFO.{stream}"), &()).await;
    let info = request.unwrap_or_else(|error| panic!("{stream}: {error}"));
    info["state"]["messages"]
        .as_u64()
        .unwrap_or_else(|| panic!("{info}"))
}

fn kind(all: Option<&HeaderMap>) -> Kind {
    let has = |name: &str| all.is_some_and(|all| all.get(name).is_some());
    Kind::of(
        has(headers::TRACEPARENT),
        has(headers::STREAM),
        has(headers::SUMMARY),
    )
}
