//! What holds when all has come to rest.

use std::collections::BTreeMap;
use std::rc::Rc;

use swarm_protocol::event::{Body, Effect, Event};
use swarm_protocol::journal::Body as EntryBody;
use swarm_protocol::{Code, RunState, TaskId, subjects};
use swarm_workflow::{State, replay};

use super::{Checker, Log};
use crate::bus::StreamName;
use crate::coordinator::Coordinator;
use crate::scheduler::Sim;

impl Checker {
    /// Looks at everything once more.
    pub fn check_end(&self, sim: &Sim, coordinators: &[Rc<Coordinator>]) {
        for run in &self.submitted {
            if !self.logs.contains_key(run) {
                sim.violate("I1 an accepted submission has a log", run.to_string());
            }
        }
        for (run, log) in &self.logs {
            self.check_log(sim, log);
            for coordinator in coordinators {
                let mut kept = coordinator.kept().into_iter().filter(|(of, _)| of == run);
                if let Some((_, known)) = kept.next()
                    && known.seq == log.seq
                    && known.state.as_deref() != log.state.as_ref()
                {
                    sim.violate(
                        "I10 a log folds to the state that coordinators have",
                        run.to_string(),
                    );
                }
            }
        }
        self.check_conflicts(sim);
        self.check_poison(sim);
    }

    fn check_log(&self, sim: &Sim, log: &Log) {
        let Some(state) = &log.state else { return };
        if replay(&log.events).as_ref() != Ok(state) {
            sim.violate("I10 a log folds to its state", state.run.to_string());
        }
        if !state.phase.is_terminal() {
            let summary = state.summary().summary;
            let waits = summary.waiting_for.is_some() || summary.state == RunState::Paused;
            if !waits || Self::is_live(state) {
                let found = format!(
                    "{} is {} and nothing happens any more; {:?}",
                    state.run, state.phase, state.tasks
                );
                sim.violate("I1 a run ends, or waits and says for what", found);
            }
        }
        let terminal = log
            .events
            .iter()
            .filter(|event| event.body.result().is_some());
        if state.phase.is_terminal() && terminal.count() != 1 {
            sim.violate("I2 one event ends a run", state.run.to_string());
        }
        check_answers(sim, &log.events, state);
        check_messages(sim, &log.events);
    }

    /// What was sent under the id of another run is a dead letter, and nothing else.
    fn check_conflicts(&self, sim: &Sim) {
        let inbox = subjects::dead_inbox();
        let letters = self
            .letters
            .iter()
            .filter(|letter| letter.subject == inbox)
            .count() as u64;
        if letters != self.conflicts {
            let found = format!("{letters} letters for {} conflicts", self.conflicts);
            sim.violate("I1 the same id with other content is refused", found);
        }
    }

    /// What was set aside as poison is a dead letter.
    fn check_poison(&self, sim: &Sim) {
        let poison = self
            .journals
            .values()
            .flatten()
            .filter(|(_, entry)| match &entry.body {
                EntryBody::Failed(answer) => answer
                    .error
                    .as_ref()
                    .is_some_and(|error| error.code == Code::Poison.as_str()),
                _ => false,
            });
        for (_, entry) in poison {
            let id = format!(
                "dead:{}:{}",
                StreamName::Work.as_str(),
                entry.work_seq.unwrap_or_default()
            );
            if !self
                .letters
                .iter()
                .any(|letter| letter.id.as_ref() == Some(&id))
            {
                sim.violate("I9 poison is a dead letter", entry.task.to_string());
            }
        }
    }
}

/// Each task has one answer, or one for each time that it was brought back.
fn check_answers(sim: &Sim, events: &[Event], state: &State) {
    let mut open: BTreeMap<&TaskId, bool> = BTreeMap::new();
    for event in events {
        if let Body::StepCompleted(ended) | Body::StepFailed(ended) = &event.body
            && open.insert(&ended.task, false) != Some(true)
        {
            sim.violate("I2 a task has one answer", ended.task.to_string());
        }
        for effect in &event.effects {
            if let Effect::Dispatch { task, .. } = effect {
                open.insert(task, true);
            }
        }
    }
    if let Some(result) = &state.result {
        let mut tasks: Vec<&TaskId> = result.answers.iter().map(|answer| &answer.task).collect();
        tasks.sort();
        let count = tasks.len();
        tasks.dedup();
        if tasks.len() != count {
            sim.violate("I2 a task has one answer", "twice in the result");
        }
    }
}

/// One call of `message` is one message: each call of the simulation says something else.
fn check_messages(sim: &Sim, events: &[Event]) {
    let mut seen: BTreeMap<&str, u64> = BTreeMap::new();
    for event in events {
        if let Body::Message(message) = &event.body {
            let count = seen.entry(&message.text).or_default();
            *count += 1;
            if *count > 1 {
                sim.violate(
                    "I2 a command is stored once",
                    format!("`{}` stands there twice", message.text),
                );
            }
        }
    }
}
