//! Finds the calls of tools that a model wrote as text, since its host or its template could not read them.
//!
//! A call counts only when it is the substance of the answer: a block of its own, of a tool that was offered, with little text
//! around that does not speak *about* it, and not taken over from something that the model was given to read. Pure.

mod echo;
mod forms;
mod json;
mod pythonic;
#[cfg(test)]
mod tests;

use swarm_model::ToolCall;

use crate::measures::Measure;

/// How a model writes a call as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// `{"name": …, "arguments": {…}}`, also in a list, several in a row, or in `{"type": "function", "function": …}`.
    Json,
    /// Any of the others in a fence of three backticks.
    Fenced,
    /// `<tool_call>…</tool_call>`.
    Tagged,
    /// `<function=name>{…}</function>`.
    FunctionTag,
    /// `name(key="value")`, also `[name(key="value"), …]`.
    Pythonic,
}

impl Form {
    /// The forms in the order that a model of this name is likely to use them.
    #[must_use]
    pub fn order_of(model: &str) -> [Self; 5] {
        use Form::{Fenced, FunctionTag, Json, Pythonic, Tagged};
        let model = model.to_ascii_lowercase();
        let base = model.rsplit('/').next().unwrap_or_default();
        if ["qwen", "hermes", "smollm"]
            .iter()
            .any(|family| base.starts_with(family))
        {
            [Tagged, FunctionTag, Json, Fenced, Pythonic]
        } else if base.starts_with("llama3.1") {
            [FunctionTag, Json, Pythonic, Fenced, Tagged]
        } else if ["llama4", "lfm"]
            .iter()
            .any(|family| base.starts_with(family))
        {
            [Pythonic, Json, Fenced, Tagged, FunctionTag]
        } else if base.starts_with("gemma") {
            [Fenced, Json, Pythonic, Tagged, FunctionTag]
        } else {
            [Json, Fenced, Pythonic, Tagged, FunctionTag]
        }
    }
}

/// What a salvage has to know.
#[derive(Debug, Clone, Copy)]
pub struct Salvage<'a> {
    /// The names of the tools that were offered.
    pub offered: &'a [&'a str],
    /// The forms to look for; the first one that is found counts.
    pub order: &'a [Form],
    /// What the model was given to read in this task: results of tools, documents, messages of others. A call that stands in there,
    /// in whatever form, is never taken for one of the model.
    pub read: &'a [&'a str],
}

/// An answer, with the calls taken out of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Salvaged {
    /// The calls in their order, without ids. Their arguments are as the model wrote them.
    pub calls: Vec<ToolCall>,
    /// The text around the calls; the whole answer as it was when there are none.
    pub text: String,
}

/// What an answer is found to hold.
enum Found {
    /// Calls of the model.
    Own(Salvaged),
    /// A call that it was given to read: nothing in this answer is called.
    Echo,
}

/// Most bytes of text around the calls.
const MAX_AROUND: usize = 400;

/// Words before a call that speak about it.
const ABOUT: [&str; 22] = [
    "example",
    "e.g.",
    "for instance",
    "would",
    "could",
    "should have",
    "format",
    "looks like",
    "look like",
    "returned",
    "returns",
    "result",
    "output",
    "says",
    "said",
    "contains",
    "the page",
    "the document",
    "never",
    "do not",
    "don't",
    "not call",
];

impl Salvage<'_> {
    /// Takes the calls out of an answer.
    #[must_use]
    pub fn calls(&self, answer: &str) -> Salvaged {
        self.order
            .iter()
            .filter(|_| Measure::Salvage.is_on())
            .find_map(|form| self.of_form(*form, answer))
            .and_then(|found| match found {
                Found::Own(salvaged) => Some(salvaged),
                Found::Echo => None,
            })
            .unwrap_or_else(|| Salvaged {
                calls: Vec::new(),
                text: answer.to_owned(),
            })
    }

    fn of_form(&self, form: Form, answer: &str) -> Option<Found> {
        line_starts(answer).find_map(|start| {
            let (before, rest) = answer.split_at_checked(start)?;
            let (calls, length) = self.run(form, rest)?;
            if echo::any(&calls, self.read, self.offered) && Measure::NoEcho.is_on() {
                return Some(Found::Echo);
            }
            let (before, after) = (before.trim(), rest.get(length..)?.trim());
            let around = [before, after].into_iter().filter(|part| !part.is_empty());
            is_substance(before, after).then(|| {
                Found::Own(Salvaged {
                    calls,
                    text: around.collect::<Vec<_>>().join("\n\n"),
                })
            })
        })
    }

    /// The calls that a text begins with, in a row, and where they end. Nothing else stands on their last line.
    fn run(&self, form: Form, text: &str) -> Option<(Vec<ToolCall>, usize)> {
        let mut calls = Vec::new();
        let mut end = 0;
        loop {
            let rest = text.get(end..)?;
            let skipped = rest.len()
                - rest
                    .trim_start_matches([' ', '\t', '\r', '\n', ',', ';'])
                    .len();
            let Some((more, length)) = forms::parse(form, rest.get(skipped..)?, self.offered)
            else {
                break;
            };
            calls.extend(more);
            end += skipped + length;
        }
        let line = text.get(end..)?.trim_start_matches([' ', '\t', ';']);
        let alone = line.is_empty() || line.starts_with(['\r', '\n']);
        (!calls.is_empty() && alone).then_some((calls, text.len() - line.len()))
    }
}

/// Whether calls with this around them are what the answer is for.
fn is_substance(before: &str, after: &str) -> bool {
    let short = before.len() + after.len() <= MAX_AROUND;
    let one_side = before.is_empty() || after.is_empty();
    let in_a_fence = before.matches("```").count() % 2 == 1;
    let said = before.to_lowercase();
    short && one_side && !in_a_fence && !ABOUT.iter().any(|word| said.contains(word))
}

/// Where a block may begin: at the first character of a line that is not a blank.
fn line_starts(text: &str) -> impl Iterator<Item = usize> {
    let mut start = 0;
    text.split_inclusive('\n').filter_map(move |line| {
        let blanks = line.len() - line.trim_start().len();
        let place = start + blanks;
        start += line.len();
        (blanks < line.len()).then_some(place)
    })
}
