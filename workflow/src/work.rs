//! The work of an attempt, derived from a run's state: the same whenever its effect is published again.

use swarm_protocol::definition::Action;
use swarm_protocol::limits::{MAX_ENCODED, encoded_prefix};
use swarm_protocol::submission::Budget;
use swarm_protocol::work::Work;
use swarm_protocol::{Answer, TaskId, Version};

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
    Some(Work {
        v: Version,
        run: state.run,
        task: task.clone(),
        attempt,
        agent,
        input,
        context: accepted.submission.context.clone(),
        budget: accepted.submission.budget.unwrap_or(Budget::default()),
        deadline: accepted.deadline,
    })
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
