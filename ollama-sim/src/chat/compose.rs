//! What a model says to a request, and what its server makes of it.

use serde_json::Value;

use crate::default::{self, Question};
use crate::directive::Call;
use crate::fault::speech;
use crate::models::{Emission, Model};
use crate::script::{Hearing, Ids, Rules, Say, Script};
use crate::{answer, conversation};

use super::direction::Direction;
use super::request::{ChatRequest, Think};

/// What the script depends on but the request.
#[derive(Debug, Clone, Copy)]
pub struct Frame {
    /// How calls come.
    pub emission: Emission,
    /// The most tokens that may be spoken.
    pub limit: usize,
    /// What everything that looks random comes from.
    pub seed: u64,
}

/// The script of the answer.
pub fn script(
    request: &ChatRequest,
    model: &Model,
    direction: &mut Direction,
    frame: Frame,
) -> Script {
    let tools = request.tools.iter().map(|tool| tool.name.clone());
    let mut rules = Rules {
        hearing: Hearing {
            emission: frame.emission,
            tag: model.call_tag.clone(),
            tools: tools.collect(),
            thinks: thinks(request, model),
        },
        tokenizer: model.tokens.clone(),
        limit: frame.limit,
        length: request.directives.tokens,
        ids: Ids::of(&identity(request, frame.seed)),
    };
    let mut says = says(request, model, direction, frame.emission);
    for fault in &direction.faults {
        speech::distort(&mut says, fault, &mut rules, &request.tools);
    }
    let mut script = Script::new(says, &rules);
    if let Some(ending) = direction
        .outcome
        .as_mut()
        .and_then(|outcome| outcome.ending.take())
    {
        script.ending = ending;
    }
    for fault in &direction.faults {
        speech::finish(&mut script, fault, &rules);
    }
    script
}

/// What the model says: by mark, else by rule, else by default.
fn says(
    request: &ChatRequest,
    model: &Model,
    direction: &mut Direction,
    emission: Emission,
) -> Vec<Say> {
    let thinks = thinks(request, model);
    let mut says = Vec::new();
    let directives = &request.directives;
    if let Some(Call { name, arguments }) = &directives.call {
        says.push(Say::Call {
            name: name.clone(),
            arguments: arguments.clone(),
        });
    } else if let Some(reply) = &directives.reply {
        says.push(Say::Text(answer::given(&model.name, reply)));
    } else if let Some(outcome) = &mut direction.outcome {
        says.append(&mut outcome.says);
        return spoken_thoughts(says, thinks);
    } else {
        says.extend(default::answer(Question {
            model: &model.name,
            messages: &request.messages,
            tools: &request.tools,
            format: &request.format,
            reads_calls: emission == Emission::Rendered,
        }));
    }
    if thinks {
        says.insert(0, Say::Thinking(default::thinking(&request.messages)));
    }
    says
}

/// Whether the model thinks, in a field of its own.
fn thinks(request: &ChatRequest, model: &Model) -> bool {
    model.can("thinking") && request.think != Some(Think::Flag(false))
}

/// A rule can make a model think that should not: its thoughts are then part of the text, in tags.
fn spoken_thoughts(says: Vec<Say>, thinks: bool) -> Vec<Say> {
    if thinks {
        return says;
    }
    let spoken = says.into_iter().map(|say| match say {
        Say::Thinking(text) => Say::Text(format!("<think>\n{text}\n</think>\n\n")),
        other => other,
    });
    spoken.collect()
}

/// What makes one request differ from another, as bytes.
fn identity(request: &ChatRequest, seed: u64) -> Vec<u8> {
    let seed = request
        .options
        .get("seed")
        .and_then(Value::as_i64)
        .map_or_else(|| seed.to_string(), |own| format!("{seed}+{own}"));
    let last = conversation::last_role(&request.messages);
    format!("{seed} {} {last} {:?}", request.model, request.messages).into_bytes()
}
