//! Makes a chat so short that it fits.

#[cfg(test)]
mod tests;

use super::estimate::{Calibration, Size, bytes};
use super::turns::{Rank, Turn, summary, turns};
use crate::chat::{Message, Role};

/// Bytes that are left at the head and at the tail of a tool's output that is cut, from the first round to the last.
const ROUNDS: [(usize, usize); 3] = [(2000, 1000), (600, 300), (160, 80)];

/// A chat that fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compacted {
    /// What is to be sent.
    pub messages: Vec<Message>,
    /// What was done; empty when everything fitted.
    pub notes: Vec<Note>,
}

/// What was done to a chat. Places are those of the chat as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// The middle of a tool's output was left out.
    Cut {
        /// The place of its message.
        at: usize,
        /// How many bytes.
        bytes: usize,
    },
    /// Whole messages were left out; a summary stands in their place.
    LeftOut {
        /// How many.
        messages: usize,
    },
}

/// Not even what has to stay fits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the chat takes about {needed} tokens at its shortest, and there is room for {budget}")]
pub struct TooLong {
    /// Tokens of what has to stay, by estimate.
    pub needed: u64,
    /// Tokens that there is room for.
    pub budget: u64,
}

/// A chat that takes up `budget` tokens at most.
///
/// `budget` is the context window without the answer (`num_predict`) and without the offers of tools. The outputs of tools are
/// cut first, the longest first, of equal ones the oldest; then the oldest turns become one message that says how many there
/// were. The system's messages, the first message of the user, the last turn, and the last call of tools with its results stay;
/// the results of that call are cut when nothing else helps. A call never loses its results, nor results their call. What fits
/// comes back as it is, and so does what was compacted before.
///
/// Give it the whole chat each time: what is cut twice says only what the second cut left out.
///
/// # Errors
///
/// When not even what has to stay fits.
pub fn compact(
    messages: Vec<Message>,
    budget: u64,
    calibration: &Calibration,
) -> Result<Compacted, TooLong> {
    let turns = turns(&messages);
    let mut chat = Chat {
        slots: messages.into_iter().map(Slot::new).collect(),
        summary: None,
        budget,
        calibration,
    };
    chat.cut(&turns, |rank| rank != Rank::LastCall);
    let kept = |turn: &&Turn| turn.rank != Rank::Other;
    let must_stay = turns
        .iter()
        .filter(kept)
        .flat_map(|turn| turn.range.clone());
    if chat.tokens(must_stay) > budget {
        chat.cut(&turns, |rank| rank == Rank::LastCall);
    }
    chat.leave_out(&turns);
    chat.cut(&turns, |rank| rank == Rank::LastCall);
    match chat.needed() {
        needed if needed > budget => Err(TooLong { needed, budget }),
        _ => Ok(chat.done()),
    }
}

/// A message, and what became of it.
struct Slot {
    whole: Message,
    cut: Option<(Message, usize)>,
    left_out: bool,
}

impl Slot {
    fn new(whole: Message) -> Self {
        Self {
            whole,
            cut: None,
            left_out: false,
        }
    }

    fn now(&self) -> &Message {
        self.cut.as_ref().map_or(&self.whole, |(cut, _)| cut)
    }
}

struct Chat<'a> {
    slots: Vec<Slot>,
    /// Where messages were left out, and what stands there.
    summary: Option<(usize, Message)>,
    budget: u64,
    calibration: &'a Calibration,
}

impl Chat<'_> {
    /// Tokens as it is now.
    fn needed(&self) -> u64 {
        self.tokens(0..self.slots.len())
    }

    /// Tokens of these messages and the summary.
    fn tokens(&self, places: impl Iterator<Item = usize>) -> u64 {
        let slots = places.filter_map(|place| self.slots.get(place));
        let there = slots.filter(|slot| !slot.left_out).map(Slot::now);
        let summary = self.summary.iter().map(|(_, message)| message);
        let mut size = Size::default();
        for message in there.chain(summary) {
            size.bytes += bytes(message) as u64;
            size.messages += 1;
        }
        self.calibration.estimate(size)
    }

    /// Cuts outputs in turns of these ranks until the chat fits.
    fn cut(&mut self, turns: &[Turn], of: impl Fn(Rank) -> bool) {
        for (head, tail) in ROUNDS {
            let places = turns
                .iter()
                .filter(|turn| of(turn.rank))
                .flat_map(|turn| turn.range.clone());
            let mut outputs: Vec<(usize, usize)> = places
                .filter_map(|place| Some((place, self.slots.get(place)?)))
                .filter(|(_, slot)| !slot.left_out && slot.whole.role == Role::Tool)
                .map(|(place, slot)| (place, slot.now().content.len()))
                .collect();
            outputs.sort_by_key(|(place, length)| (std::cmp::Reverse(*length), *place));
            for (place, _) in outputs {
                if self.needed() <= self.budget {
                    return;
                }
                if let Some(slot) = self.slots.get_mut(place)
                    && let Some((content, bytes)) = shortened(&slot.whole.content, head, tail)
                {
                    let mut message = slot.whole.clone();
                    message.content = content;
                    slot.cut = Some((message, bytes));
                }
            }
        }
    }

    /// Leaves the oldest turns out until the chat fits.
    fn leave_out(&mut self, turns: &[Turn]) {
        for turn in turns.iter().filter(|turn| turn.rank == Rank::Other) {
            if self.needed() <= self.budget {
                return;
            }
            for slot in self.slots.get_mut(turn.range.clone()).unwrap_or_default() {
                slot.left_out = true;
            }
            let place = self
                .summary
                .as_ref()
                .map_or(turn.range.start, |(place, _)| *place);
            let left_out = self.slots.iter().filter(|slot| slot.left_out);
            self.summary = Some((place, summary(left_out.map(|slot| &slot.whole))));
        }
    }

    fn done(self) -> Compacted {
        let left_out = self.slots.iter().filter(|slot| slot.left_out).count();
        let (mut messages, mut notes) = (Vec::new(), Vec::new());
        let mut summary = self.summary;
        for (at, slot) in self.slots.into_iter().enumerate() {
            if let Some((_, message)) = summary.take_if(|(place, _)| *place == at) {
                messages.push(message);
                notes.push(Note::LeftOut { messages: left_out });
            }
            match slot.cut {
                _ if slot.left_out => {}
                Some((message, bytes)) => {
                    messages.push(message);
                    notes.push(Note::Cut { at, bytes });
                }
                None => messages.push(slot.whole),
            }
        }
        Compacted { messages, notes }
    }
}

/// A text without its middle, and how many bytes that had; nothing when it would not get much shorter.
fn shortened(text: &str, head: usize, tail: usize) -> Option<(String, usize)> {
    const NOTE: usize = 64;
    if text.len() < head + tail + 2 * NOTE {
        return None;
    }
    let from = text.floor_char_boundary(head);
    let to = text.ceil_char_boundary(text.len() - tail);
    let (head, tail) = (text.get(..from)?, text.get(to..)?);
    let bytes = to - from;
    Some((
        format!("{head}\n[{bytes} bytes were left out here]\n{tail}"),
        bytes,
    ))
}
