//! From what a host brought to a turn as the journal holds it. Decided once, so that a replay reads what was decided.

use std::collections::HashSet;

use serde_json::Value;
use swarm_model::{ChatError, Completion, DoneReason};
use swarm_protocol::journal::{ModelTurn, ToolCall, ToolMode, TurnProblem};
use swarm_protocol::Usage;

use super::structured::{self, Action};
use super::words;
use crate::salvage;
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
    /// Their names; none in a turn without tools.
    pub(super) tools: Vec<&'a str>,
    /// Whether tools were offered before this turn and no longer.
    pub(super) closing: bool,
    /// Tokens of the request, by estimate.
    pub(super) estimated_tokens: u64,
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
    fn problem(problem: TurnProblem, text: String) -> Self {
        Self {
            text,
            problem: Some(problem),
            ..Self::default()
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
        estimated_tokens: Some(asked.estimated_tokens),
        simulated,
    }
}

/// The turn that an error is, when it is one of the model and not of its host: the model may do better next time.
pub(super) fn failed_turn(asked: &Asked<'_>, error: &ChatError, elapsed_ms: u64) -> Option<ModelTurn> {
    let problem = match error {
        ChatError::ToolsUnsupported { .. } => TurnProblem::ToolsUnsupported,
        ChatError::ToolParse { .. } => TurnProblem::CallUnreadable,
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
        estimated_tokens: None,
        simulated: false,
    })
}

fn read(asked: &Asked<'_>, completion: Completion) -> Content {
    let cut = completion.done_reason == DoneReason::Length;
    let thought = !completion.thinking.is_empty();
    let Some(text) = thinking::strip(&completion.text) else {
        return Content::problem(TurnProblem::OnlyThinking, String::new());
    };
    let text = text.trim().to_owned();
    let mut content = match asked.mode {
        _ if asked.tools.is_empty() => without_tools(asked, text),
        ToolMode::Structured => structured(asked, text),
        ToolMode::Native | ToolMode::Plain => native(asked, text, &completion),
    };
    let nothing = content.text.is_empty() && content.calls.is_empty();
    if content.problem == Some(TurnProblem::Empty) && nothing && thought {
        content.problem = Some(TurnProblem::OnlyThinking);
    }
    let cut_off = matches!(content.problem, None | Some(TurnProblem::NotJson | TurnProblem::CallAnnounced));
    if cut && cut_off && content.calls.is_empty() {
        content.problem = Some(TurnProblem::Cut);
    }
    content
}

fn without_tools(asked: &Asked<'_>, text: String) -> Content {
    if text.is_empty() {
        return Content::problem(TurnProblem::Empty, text);
    }
    if asked.closing && salvage::looks_like_call(&text) {
        return Content::problem(TurnProblem::CallAtTheEnd, text);
    }
    Content {
        text,
        ..Content::default()
    }
}

fn structured(asked: &Asked<'_>, text: String) -> Content {
    match structured::read(&text) {
        Some(Action::Final(answer)) if answer.trim().is_empty() => Content::problem(TurnProblem::Empty, text),
        Some(Action::Final(answer)) => Content {
            text: answer.trim().to_owned(),
            ..Content::default()
        },
        Some(Action::Call { name, arguments }) => Content {
            calls: vec![(None, name, arguments)],
            ..Content::default()
        },
        None if text.is_empty() => Content::problem(TurnProblem::Empty, text),
        None => match salvage::find(&text, &asked.tools) {
            Some(found) => salvaged(found),
            None => Content::problem(TurnProblem::NotJson, text),
        },
    }
}

fn native(asked: &Asked<'_>, text: String, completion: &Completion) -> Content {
    if !completion.tool_calls.is_empty() {
        let calls = completion.tool_calls.iter();
        let calls = calls.map(|call| (call.id.clone(), call.name.clone(), call.arguments.clone()));
        return Content {
            text,
            calls: calls.collect(),
            ..Content::default()
        };
    }
    if text.is_empty() {
        // A host that finds a tag of a call and no call behind it gives neither: what the model wrote is lost.
        let lost = completion.output_tokens > 1 && completion.thinking.is_empty();
        let problem = if lost { TurnProblem::CallUnreadable } else { TurnProblem::Empty };
        return Content::problem(problem, text);
    }
    match salvage::find(&text, &asked.tools) {
        Some(found) => salvaged(found),
        None if words::announces_call(&text, asked.tools.iter().copied()) => {
            Content::problem(TurnProblem::CallAnnounced, text)
        }
        None => Content {
            text,
            ..Content::default()
        },
    }
}

fn salvaged(found: salvage::Found) -> Content {
    let calls = found.calls.into_iter();
    Content {
        text: found.text,
        calls: calls.map(|call| (None, call.name, call.arguments)).collect(),
        salvaged: true,
        problem: None,
    }
}

/// Calls with an id each: hosts give none, or the same twice.
fn with_ids(turn: u32, calls: Vec<(Option<String>, String, Value)>) -> Vec<ToolCall> {
    let mut taken: HashSet<String> = HashSet::new();
    let calls = calls.into_iter().enumerate();
    calls
        .map(|(n, (id, name, input))| {
            let own = || format!("call_{turn}_{}", n + 1);
            // Ids of the host are unique in a turn at best.
            let id = id.filter(|id| !id.is_empty()).map(|id| format!("{id}_{turn}"));
            let tool_use_id = id.filter(|id| !taken.contains(id)).unwrap_or_else(own);
            taken.insert(tool_use_id.clone());
            ToolCall {
                tool_use_id,
                name,
                input,
            }
        })
        .collect()
}
