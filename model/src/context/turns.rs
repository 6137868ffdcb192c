//! A chat in turns: what belongs together, and what has to stay.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::chat::{Message, Role};

/// Messages that stay or go together: a call of tools with its results, or any other message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// Their places in the chat.
    pub range: Range<usize>,
    /// What it is to the chat.
    pub rank: Rank,
}

/// What a turn is to its chat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rank {
    /// The system's messages, the task, and the last turn: they stay as they are.
    Kept,
    /// The last call of tools with its results: it stays, and only as a last resort are its results cut.
    LastCall,
    /// May go.
    Other,
}

/// The turns of a chat.
pub fn turns(messages: &[Message]) -> Vec<Turn> {
    let mut turns: Vec<Turn> = Vec::new();
    let mut open_call = false;
    for (place, message) in messages.iter().enumerate() {
        match turns.last_mut() {
            Some(turn) if open_call && message.role == Role::Tool => turn.range.end = place + 1,
            _ => {
                open_call = !message.tool_calls.is_empty();
                turns.push(Turn {
                    range: place..place + 1,
                    rank: Rank::Other,
                });
            }
        }
    }
    rank(messages, &mut turns);
    turns
}

fn rank(messages: &[Message], turns: &mut [Turn]) {
    let first = |turn: &Turn| messages.get(turn.range.start);
    for turn in turns.iter_mut() {
        if first(turn).is_some_and(|message| message.role == Role::System) {
            turn.rank = Rank::Kept;
        }
    }
    let is_user = |turn: &&mut Turn| first(turn).is_some_and(|message| message.role == Role::User);
    if let Some(task) = turns.iter_mut().find(is_user) {
        task.rank = Rank::Kept;
    }
    if let Some(last) = turns.last_mut() {
        last.rank = Rank::Kept;
    }
    let calls =
        |turn: &&mut Turn| first(turn).is_some_and(|message| !message.tool_calls.is_empty());
    if let Some(call) = turns.iter_mut().rfind(calls) {
        call.rank = Rank::LastCall;
    }
}

/// Most tools that a summary names.
const NAMED: usize = 8;

/// What stands in the place of messages that were left out. It is of the user, as templates know that role best.
pub fn summary<'a>(left_out: impl Iterator<Item = &'a Message>) -> Message {
    let mut count = 0;
    let mut calls: BTreeMap<&str, usize> = BTreeMap::new();
    for message in left_out {
        count += 1;
        for call in &message.tool_calls {
            *calls.entry(call.name.as_str()).or_default() += 1;
        }
    }
    let mut text = format!("[{count} earlier messages were left out here to save room.");
    if !calls.is_empty() {
        let named: Vec<String> = calls
            .iter()
            .take(NAMED)
            .map(|(name, times)| format!("{} {times}x", name.chars().take(64).collect::<String>()))
            .collect();
        text.push_str(" Tools that were called in them: ");
        text.push_str(&named.join(", "));
        text.push('.');
    }
    text.push(']');
    Message::user(text)
}
