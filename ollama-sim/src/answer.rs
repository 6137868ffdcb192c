//! Answers without a model: the text depends on the model's name and the messages, and on nothing else.
//!
//! A reader sees who was asked (the role), for what (the task) and, where the message brings answers of others, what
//! each of them said. Different requests get different texts: the last sentence holds eight digits of their hash.

mod phrases;
mod prompt;

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use crate::conversation::{Message, first, last};
use prompt::{Kind, Section};

pub use prompt::{shortened, task};

/// The answer of this model to these messages.
pub fn compose(model: &str, messages: &[Message]) -> String {
    let system = first(messages, "system");
    let user = last(messages, "user");
    let hash = hash(model, messages);
    let role = prompt::role(system);
    let sections = prompt::sections(user);
    let kind = prompt::kind(&role, sections.len());

    let points = phrases::choose(phrases::bank(kind), &hash);
    let mut points = points.into_iter();
    let lead = points.next().unwrap_or_default();
    let mut text = opening(model, &role, kind, lead);
    // A String takes whatever is written to it.
    write!(
        text,
        " The task was: \u{201c}{}\u{201d}.",
        prompt::task(user)
    )
    .unwrap_or_default();
    for Section { name, gist } in &sections {
        write!(text, "\n- {name}: {gist}").unwrap_or_default();
    }
    for (number, point) in (1..).zip(points) {
        write!(text, "\n{number}. {}.", capitalized(point)).unwrap_or_default();
    }
    write!(
        text,
        "\nAnswer {} is made up from the question; no model was asked.",
        name_of(&hash)
    )
    .unwrap_or_default();
    text
}

/// A given answer, marked as simulated.
pub fn given(model: &str, reply: &str) -> String {
    format!("{}{reply}", mark(model))
}

/// What every text that is made up begins with.
pub fn mark(model: &str) -> String {
    format!("[SIMULATED {model}] ")
}

fn opening(model: &str, role: &str, kind: Kind, lead: &str) -> String {
    let did = match kind {
        Kind::Facts => "gathered facts",
        Kind::Ideas => "looked for ideas",
        Kind::Risks => "looked for weak spots",
        Kind::Summary => "read every answer",
        Kind::Generic => "thought it over",
    };
    format!(
        "{}As the {role} I {did}, and what weighs most is that {lead}.",
        mark(model)
    )
}

fn hash(model: &str, messages: &[Message]) -> Vec<u8> {
    let mut hasher = Sha256::new();
    let texts = messages
        .iter()
        .flat_map(|message| [&message.role, &message.content]);
    hasher.update(model);
    for text in texts {
        // The length keeps "ab", "c" apart from "a", "bc".
        hasher.update(text.len().to_be_bytes());
        hasher.update(text);
    }
    hasher.finalize().to_vec()
}

fn name_of(hash: &[u8]) -> String {
    hash.iter()
        .take(4)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn capitalized(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or(String::new(), |first| {
        first.to_uppercase().chain(characters).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chat(system: &str, user: &str) -> Vec<Message> {
        vec![Message::new("system", system), Message::new("user", user)]
    }

    #[test]
    fn an_answer_names_role_and_task_and_makes_three_points() {
        let text = compose(
            "llama3.2:3b",
            &chat(
                "You are the research agent of a team.",
                "# Task\nWhy is the sky blue?",
            ),
        );
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 5, "{text}");
        assert!(
            lines[0].starts_with(
                "[SIMULATED llama3.2:3b] As the research agent I gathered facts, and "
            ),
            "{text}"
        );
        assert!(
            lines[0].ends_with(". The task was: \u{201c}Why is the sky blue?\u{201d}."),
            "{text}"
        );
        let numbers: Vec<_> = lines[1..4].iter().map(|line| &line[..3]).collect();
        assert_eq!(numbers, ["1. ", "2. ", "3. "]);
    }

    #[test]
    fn every_part_of_the_request_counts() {
        let asked = chat("You are the critic.", "x");
        let text = compose("a:1", &asked);
        assert_eq!(compose("a:1", &asked), text);
        let mut longer = asked.clone();
        longer.insert(1, Message::new("assistant", "earlier"));
        let others = [
            compose("a:2", &asked),
            compose("a:1", &chat("You are the critic!", "x")),
            compose("a:1", &chat("You are the critic.", "y")),
            compose("a:1", &longer),
        ];
        for other in others {
            assert_ne!(other, text);
        }
    }

    #[test]
    fn a_summary_tells_every_contribution() {
        let own = compose(
            "llama3.2:3b",
            &chat("You are the research agent.", "Why? Really?"),
        );
        let own_first = own
            .strip_prefix("[SIMULATED llama3.2:3b] ")
            .and_then(|text| text.split(". ").next())
            .unwrap();
        let user = format!(
            "Sum up.\n\n## research_agent\n\n{own}\n\n## critic\nToo long. And more.\n## silent\n"
        );
        let text = compose("llama3.2:1b", &chat("You are the summarizer agent.", &user));
        let lines: Vec<_> = text.lines().collect();
        assert!(
            lines[0].starts_with(
                "[SIMULATED llama3.2:1b] As the summarizer agent I read every answer, "
            ),
            "{text}"
        );
        assert_eq!(
            lines[1..4],
            [
                format!("- research_agent: {own_first}."),
                "- critic: Too long.".to_owned(),
                "- silent: (no text)".to_owned()
            ]
        );
    }

    #[test]
    fn a_given_answer_is_marked_too() {
        assert_eq!(given("a:1", "yes"), "[SIMULATED a:1] yes");
    }
}
