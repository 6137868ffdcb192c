//! Which requests a rule is for.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Subject;
use crate::conversation;
use crate::pattern::{Glob, Pattern};

/// All that is said must hold.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct When {
    /// The model's name.
    model: Option<Glob>,
    /// The last user message.
    user: Option<Pattern>,
    /// The last tool message, which is the last of all messages.
    tool: Option<Pattern>,
    /// The first system message.
    system: Option<Pattern>,
    /// The role of the last message.
    last: Option<String>,
    /// Whether tools are offered, or the name of one that is.
    tools: Option<Tools>,
    /// Whether there is a `format`.
    format: Option<bool>,
    /// False: the client says that it must not think.
    think: Option<bool>,
    /// Which call of its conversation (the same model, system and first user message) it is, from 1, counted by the
    /// simulator: a retry is the next call.
    call: Option<u64>,
    /// Which turn it is, from 1: one more than there are assistant messages.
    turn: Option<usize>,
    /// Headers of the request.
    header: BTreeMap<String, Pattern>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Tools {
    Any(bool),
    Named(Glob),
}

/// What the groups of the patterns caught, by name and number.
pub type Groups = BTreeMap<String, String>;

impl When {
    /// What the patterns caught, if all conditions hold.
    pub fn groups(&self, subject: Subject<'_>) -> Option<Groups> {
        let Subject { messages, .. } = subject;
        let mut groups = Groups::new();
        let last = conversation::last_role(messages);
        let turn = messages
            .iter()
            .filter(|message| message.role == "assistant")
            .count()
            + 1;
        let holds = self
            .model
            .as_ref()
            .is_none_or(|glob| glob.matches(subject.model))
            && self.last.as_ref().is_none_or(|role| role == last)
            && self
                .format
                .is_none_or(|wanted| wanted != subject.format.is_null())
            && self.think.is_none_or(|wanted| wanted == subject.think)
            && self.call.is_none_or(|call| call == subject.call)
            && self.turn.is_none_or(|wanted| wanted == turn)
            && self.tools.as_ref().is_none_or(|tools| tools.hold(subject))
            && self.header.iter().all(|(name, pattern)| {
                let value = subject
                    .headers
                    .get(name)
                    .and_then(|value| value.to_str().ok());
                value.is_some_and(|value| pattern.catch(value, &mut groups))
            });
        let found = holds
            && self.system.as_ref().is_none_or(|pattern| {
                pattern.catch(conversation::first(messages, "system"), &mut groups)
            })
            && self.tool.as_ref().is_none_or(|pattern| {
                last == "tool" && pattern.catch(conversation::last(messages, "tool"), &mut groups)
            })
            && self.user.as_ref().is_none_or(|pattern| {
                pattern.catch(conversation::last(messages, "user"), &mut groups)
            });
        found.then_some(groups)
    }
}

impl Tools {
    fn hold(&self, subject: Subject<'_>) -> bool {
        match self {
            Self::Any(wanted) => *wanted != subject.tools.is_empty(),
            Self::Named(glob) => subject.tools.iter().any(|tool| glob.matches(&tool.name)),
        }
    }
}

impl Pattern {
    /// Whether the text has it; what its groups caught is added.
    fn catch(&self, text: &str, groups: &mut Groups) -> bool {
        let Some(caught) = self.0.captures(text) else {
            return false;
        };
        for (place, name) in self.0.capture_names().enumerate() {
            let value = caught.get(place).map_or("", |value| value.as_str());
            groups.insert(place.to_string(), value.to_owned());
            if let Some(name) = name {
                groups.insert(name.to_owned(), value.to_owned());
            }
        }
        true
    }
}
