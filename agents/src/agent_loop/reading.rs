//! From what a host brought to a turn as the journal holds it. Decided once, so that a replay reads what was decided.

use std::collections::HashSet;

use serde_json::Value;
use swarm_model::{ChatError, Completion, DoneReason};
use swarm_protocol::Usage;
use swarm_protocol::journal::{ModelTurn, ToolCall, ToolMode, TurnProblem};

use super::structured::{self, Action};
use super::words;
use crate::measures::Measure;
use crate::salvage::{Form, Salvage, Salvaged};
use crate::thinking;

/// What a turn was asked for.
#[derive(Debug, Clone)]
pub(super) struct Asked<'a> {
    /// The number of the turn, for ids.
    pub(super) turn: u32,
    /// The model.
    pub(super) model: &'a str,
    /// How tools were offered.
    pub(super) mode: ToolMode,
    /// The names of the agent's tools.
    pub(super) tools: Vec<&'a str>,
    /// Whether tools were offered before this turn and no longer.
    pub(super) closing: bool,
    /// What the model was given to read that others wrote: it may quote calls from there.
    pub(super) foreign: Vec<&'a str>,
}

/// What the content of a turn comes to.
#[derive(Debug, Default)]
struct Content {
    text: String,
    calls: Vec<(Option<String>, String, Value)>,
    salvaged: bool,
    problem: Option<TurnProblem>,
}

impl Content {
    fn answer(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            ..Self::default()
        }
    }

    fn problem(problem: TurnProblem, text: &str) -> Self {
        Self {
            problem: Some(problem),
            ..Self::answer(text)
        }
    }
}

impl From<Salvaged> for Content {
    fn from(salvaged: Salvaged) -> Self {
        let calls = salvaged.calls.into_iter();
        Self {
            text: salvaged.text,
            calls: calls
                .map(|call| (None, call.name, call.arguments))
                .collect(),
            salvaged: true,
            problem: None,
        }
    }
}

/// The turn that an answer is.
pub(super) fn turn(asked: &Asked<'_>, completion: Completion, elapsed_ms: u64) -> ModelTurn {
    let usage = Usage {
        input_tokens: completion.input_tokens,
        output_tokens: completion.output_tokens,
        model_calls: 1,
        tool_calls: 0,
    };
    let simulated = completion.simulated;
    let content = read(asked, completion);
    ModelTurn {
        model: asked.model.to_owned(),
        text: content.text,
        tool_calls: with_ids(asked.turn, content.calls),
        usage,
        elapsed_ms,
        mode: (asked.mode != ToolMode::Plain).then_some(asked.mode),
        problem: content.problem,
        salvaged: content.salvaged,
        simulated,
    }
}

/// The turn that an error is, when it is one of the model and not of its host: the model may do better next time.
pub(super) fn failed_turn(
    asked: &Asked<'_>,
    error: &ChatError,
    elapsed_ms: u64,
) -> Option<ModelTurn> {
    let problem = match error {
        ChatError::ToolsUnsupported { .. } if Measure::RefusedTools.is_on() => {
            TurnProblem::ToolsUnsupported
        }
        ChatError::ToolParse { .. } if Measure::UnreadableCall.is_on() => {
            TurnProblem::CallUnreadable
        }
        ChatError::Looping { .. } => TurnProblem::Looping,
        ChatError::ContextTooLong { .. } | ChatError::Truncated { .. } => TurnProblem::TooLong,
        _ => return None,
    };
    let refused = matches!(
        problem,
        TurnProblem::ToolsUnsupported | TurnProblem::TooLong
    );
    Some(ModelTurn {
        model: asked.model.to_owned(),
        text: String::new(),
        tool_calls: Vec::new(),
        usage: Usage {
            model_calls: u64::from(!refused),
            ..Usage::default()
        },
        elapsed_ms,
        mode: (asked.mode != ToolMode::Plain).then_some(asked.mode),
        problem: Some(problem),
        salvaged: false,
        simulated: false,
    })
}

fn read(asked: &Asked<'_>, completion: Completion) -> Content {
    let cut = completion.done_reason == DoneReason::Length;
    let stripped = thinking::strip(&completion.text);
    let thought = !completion.thinking.trim().is_empty() || !stripped.thinking.is_empty();
    let text = stripped.answer.trim();
    let mut content = match asked.mode {
        _ if asked.tools.is_empty() || asked.closing => without_tools(asked, text),
        ToolMode::Structured => structured(asked, text),
        ToolMode::Native | ToolMode::Plain => native(asked, text, &completion),
    };
    if is_nothing(&content.text, content.calls.len()) {
        let nothing = if thought {
            TurnProblem::OnlyThinking
        } else {
            content.problem.unwrap_or(TurnProblem::Empty)
        };
        content.problem = Some(nothing);
    }
    let is_unfinished = match content.problem {
        None => content.calls.is_empty(),
        Some(problem) => matches!(problem, TurnProblem::NotJson | TurnProblem::CallAnnounced),
    };
    if cut && is_unfinished && Measure::Cut.is_on() {
        content.problem = Some(TurnProblem::Cut);
    }
    content
}

/// Whether this is no answer, whatever the host says.
pub(super) fn is_nothing(text: &str, calls: usize) -> bool {
    Measure::EmptyAnswer.is_on() && text.trim().is_empty() && calls == 0
}

fn without_tools(asked: &Asked<'_>, text: &str) -> Content {
    if asked.closing && !salvage(asked, text).calls.is_empty() {
        return Content::problem(TurnProblem::CallAtTheEnd, text);
    }
    Content::answer(text)
}

fn structured(asked: &Asked<'_>, text: &str) -> Content {
    match structured::read(text) {
        Ok(Action::Final(answer)) => Content::answer(answer.trim()),
        Ok(Action::Call { name, arguments }) => Content {
            calls: vec![(None, name, arguments)],
            ..Content::default()
        },
        Err(_) if text.is_empty() => Content::default(),
        Err(_) => {
            let salvaged = salvage(asked, text);
            if salvaged.calls.is_empty() && Measure::NotJson.is_on() {
                Content::problem(TurnProblem::NotJson, text)
            } else {
                Content::from(salvaged)
            }
        }
    }
}

fn native(asked: &Asked<'_>, text: &str, completion: &Completion) -> Content {
    if !completion.tool_calls.is_empty() {
        let calls = completion.tool_calls.iter();
        let calls = calls.map(|call| (call.id.clone(), call.name.clone(), call.arguments.clone()));
        return Content {
            text: text.to_owned(),
            calls: calls.collect(),
            ..Content::default()
        };
    }
    if text.is_empty() {
        // A host that finds a tag of a call and no call behind it gives neither: what the model wrote is lost.
        let is_lost = completion.output_tokens > 1
            && completion.thinking.is_empty()
            && Measure::SwallowedCall.is_on();
        return Content {
            problem: is_lost.then_some(TurnProblem::CallUnreadable),
            ..Content::default()
        };
    }
    let salvaged = salvage(asked, text);
    if !salvaged.calls.is_empty() {
        return Content::from(salvaged);
    }
    if let Some(call) = unknown_call(asked, text) {
        return Content {
            calls: vec![call],
            salvaged: true,
            ..Content::default()
        };
    }
    if words::announces_call(text, asked.tools.iter().copied()) && Measure::Nudge.is_on() {
        return Content::problem(TurnProblem::CallAnnounced, text);
    }
    Content::answer(text)
}

/// An answer that is nothing but the call of a tool which was not offered: hosts pass that on as text. The model is told the
/// names that there are.
fn unknown_call(asked: &Asked<'_>, text: &str) -> Option<(Option<String>, String, Value)> {
    let Value::Object(mut fields) = serde_json::from_str(text).ok()? else {
        return None;
    };
    let name = fields.get("name")?.as_str()?.to_owned();
    let arguments = ["arguments", "parameters"]
        .into_iter()
        .find_map(|field| fields.remove(field))?;
    let is_call = fields.len() == 1 && arguments.is_object();
    let is_quoted = asked.foreign.iter().any(|read| read.contains(text));
    (is_call && !is_quoted && !asked.tools.contains(&name.as_str()))
        .then_some((None, name, arguments))
}

fn salvage(asked: &Asked<'_>, text: &str) -> Salvaged {
    let salvage = Salvage {
        offered: &asked.tools,
        order: &Form::order_of(asked.model),
        read: &asked.foreign,
    };
    salvage.calls(text)
}

/// Calls with an id each: hosts give none, or the same twice.
fn with_ids(turn: u32, calls: Vec<(Option<String>, String, Value)>) -> Vec<ToolCall> {
    let mut taken: HashSet<String> = HashSet::new();
    let calls = calls.into_iter().enumerate();
    calls
        .map(|(n, (id, name, input))| {
            let own = || format!("call_t{turn}_{}", n + 1);
            // Ids of the host are unique in a turn at best.
            let id = id
                .filter(|id| !id.is_empty())
                .map(|id| format!("{id}_{turn}"));
            let tool_use_id = match id {
                Some(id) if !taken.contains(&id) => id,
                _ if Measure::OwnIds.is_on() => own(),
                id => id.unwrap_or_default(),
            };
            taken.insert(tool_use_id.clone());
            ToolCall {
                tool_use_id,
                name,
                input,
            }
        })
        .collect()
}
