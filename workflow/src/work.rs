//! The work of an attempt, derived from a run's state: the same whenever its effect is published again.

use swarm_protocol::definition::{Action, Step};
use swarm_protocol::event::Accepted;
use swarm_protocol::limits::{MAX_ENCODED, encoded_prefix};
use swarm_protocol::submission::Budget;
use swarm_protocol::work::Work;
use swarm_protocol::{Answer, TaskId, Usage, Version};

use crate::state::State;

/// The work of an attempt; none when the run has no such task for an agent.
#[must_use]
pub fn work_for(state: &State, task: &TaskId, attempt: u32) -> Option<Work> {
    let accepted = state.accepted()?;
    let step = accepted
        .definition
        .steps
        .iter()
        .find(|step| step.id == *task)?;
    let question = accepted.submission.task.as_deref().unwrap_or_default();
    let (agent, input) = match &step.action {
        Action::Agent { agent } => (agent.clone(), question.to_owned()),
        Action::Aggregate { agent, needs, .. } => {
            let answers: Vec<&Answer> =
                needs.iter().filter_map(|task| state.answer(task)).collect();
            (agent.clone()?, summary_input(question, &answers))
        }
    };
    let known = state.task(task)?;
    let decisions = known.decisions_for(attempt);
    let messages = state.messages.iter();
    let messages = messages.filter(|(to, _)| *to == agent);
    Some(Work {
        v: Version,
        run: state.run,
        task: task.clone(),
        attempt,
        agent: agent.clone(),
        input,
        context: accepted.submission.context.clone(),
        budget: budget_for(state, accepted, step),
        deadline: accepted.deadline,
        decisions: decisions
            .map(|(call, decision)| (call.to_owned(), decision))
            .collect(),
        messages: messages.map(|(_, message)| message.clone()).collect(),
    })
}

/// What an attempt may use: of the run's budget an equal share for each task, and for the one that makes one answer of
/// the others, all that those have left.
fn budget_for(state: &State, accepted: &Accepted, step: &Step) -> Budget {
    let asks = |step: &&Step| match &step.action {
        Action::Agent { .. } => true,
        Action::Aggregate { agent, .. } => agent.is_some(),
    };
    // A log of an earlier version has only what the submission said.
    let budget = accepted
        .budget
        .or(accepted.submission.budget.unwrap_or_default());
    let tasks: Vec<&Step> = accepted.definition.steps.iter().filter(asks).collect();
    let share = match &step.action {
        Action::Aggregate { needs, .. } => {
            let answers = needs.iter().filter_map(|task| state.answer(task));
            let used = answers.fold(Usage::default(), |sum, answer| sum.plus(answer.usage));
            budget.without(used)
        }
        Action::Agent { .. } => {
            let index = tasks.iter().position(|task| task.id == step.id);
            let index = index.unwrap_or_default() as u64;
            budget.share(index, tasks.len() as u64)
        }
    };
    // Attempts that failed have used their part.
    let used = state.task(&step.id).map(|task| task.used);
    share.without(used.unwrap_or_default())
}

/// What the summarizer gets: the task, and each answer under its task's name.
///
/// Answers that are too large for one message are cut, each to its share: a summary of their beginnings is better than none.
fn summary_input(question: &str, answers: &[&Answer]) -> String {
    let share = MAX_ENCODED / answers.len().max(1);
    let mut input = format!("# Task\n\n{}\n\n# Answers\n", question.trim());
    for answer in answers {
        let text = match (&answer.text, &answer.error) {
            (Some(text), _) => shortened(text.trim(), share),
            (None, Some(error)) => format!("(no answer: {})", error.message),
            (None, None) => "(no answer)".to_owned(),
        };
        input.push_str(&format!("\n## {}\n\n{text}\n", answer.task));
    }
    input
}

fn shortened(text: &str, room: usize) -> String {
    let beginning = encoded_prefix(text, room);
    if beginning.len() == text.len() {
        text.to_owned()
    } else {
        format!("{beginning}…\n\n(cut: the answer is too large)")
    }
}
