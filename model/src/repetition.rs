//! Notices in a stream of text that a model repeats itself, and would go on for ever.
//!
//! Two signs, tuned so that lists, tables, code, rules of dashes and prose do not have them:
//! the text ends in one piece many times over, or its last lines are but a few different ones.

mod lines;
mod period;

use lines::Lines;

/// How many of the last bytes are looked at. A piece of a quarter of it is the longest whose repetition is noticed.
const WINDOW: usize = 8 * 1024;

/// How often the window is looked at: each time that this part of it is new.
const PART: usize = 8;

/// Fewest new bytes between two looks.
const MIN_STEP: usize = 256;

/// Most characters of an excerpt.
const EXCERPT: usize = 80;

/// What is repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repetition {
    /// Its beginning.
    pub excerpt: String,
    /// How often it stood in a row, or among the last lines.
    pub times: usize,
}

/// Looks at the text of one answer. Its memory is bounded, and its work for a byte does not grow with the text.
#[derive(Debug, Clone, Default)]
pub struct Detector {
    /// The last bytes, at most two windows.
    recent: Vec<u8>,
    /// New bytes since the last look.
    fresh: usize,
    lines: Lines,
}

impl Detector {
    /// Takes the next piece of the text. The first repetition that it notices is told; how the text was cut into pieces makes
    /// no difference to whether one is.
    pub fn push(&mut self, text: &str) -> Option<Repetition> {
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            let step = (self.recent.len().min(WINDOW) / PART).max(MIN_STEP);
            let take = step.saturating_sub(self.fresh).clamp(1, rest.len());
            let (piece, behind) = rest.split_at_checked(take)?;
            rest = behind;
            self.recent.extend_from_slice(piece);
            self.fresh += piece.len();
            let found = self.lines.push(piece);
            if found.is_some() {
                return found;
            }
            if self.fresh >= step {
                self.fresh = 0;
                let found = self.look();
                if found.is_some() {
                    return found;
                }
            }
        }
        None
    }

    fn look(&mut self) -> Option<Repetition> {
        if self.recent.len() > 2 * WINDOW {
            self.recent.drain(..self.recent.len() - WINDOW);
        }
        let window = self
            .recent
            .get(self.recent.len().saturating_sub(WINDOW)..)?;
        let (piece, times) = period::repeated(window)?;
        Some(Repetition {
            excerpt: excerpt(piece),
            times,
        })
    }
}

fn excerpt(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes)
        .trim()
        .chars()
        .take(EXCERPT)
        .collect()
}

#[cfg(test)]
mod tests;
