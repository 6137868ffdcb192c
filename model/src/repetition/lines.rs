//! Whether the last lines of a text are but a few different ones, whatever number stands before them.

use std::collections::{HashMap, VecDeque};

use super::{Repetition, excerpt};

/// How many lines are remembered.
const REMEMBERED: usize = 32;

/// Most different lines among them for a repetition.
const DIFFERENT: usize = 3;

/// Fewest bytes of the most frequent one: shorter lines come again in code and tables.
const MIN_LENGTH: usize = 24;

/// Most bytes of a line that are compared.
const MAX_LENGTH: usize = 512;

/// The last lines that are not blank.
#[derive(Debug, Clone, Default)]
pub struct Lines {
    current: Vec<u8>,
    last: VecDeque<Vec<u8>>,
}

impl Lines {
    /// Takes the next bytes.
    pub fn push(&mut self, bytes: &[u8]) -> Option<Repetition> {
        let mut pieces = bytes.split(|byte| *byte == b'\n');
        self.extend(pieces.next()?);
        for piece in pieces {
            let found = self.end();
            if found.is_some() {
                return found;
            }
            self.extend(piece);
        }
        None
    }

    fn extend(&mut self, piece: &[u8]) {
        let room = MAX_LENGTH.saturating_sub(self.current.len());
        self.current.extend(piece.iter().take(room));
    }

    fn end(&mut self) -> Option<Repetition> {
        let line = std::mem::take(&mut self.current);
        let line = without_number(&line);
        if line.is_empty() {
            return None;
        }
        if self.last.len() == REMEMBERED {
            self.last.pop_front();
        }
        self.last.push_back(line.to_vec());
        if self.last.len() < REMEMBERED {
            return None;
        }
        let mut times: HashMap<&[u8], usize> = HashMap::new();
        for line in &self.last {
            *times.entry(line).or_default() += 1;
            if times.len() > DIFFERENT {
                return None;
            }
        }
        let most = times.values().max().copied()?;
        let line = self
            .last
            .iter()
            .find(|line| times.get(line.as_slice()) == Some(&most))
            .filter(|line| is_text(line))?;
        Some(Repetition {
            excerpt: excerpt(line),
            times: most,
        })
    }
}

/// A line without what a list puts before it: a number, a dash, a star, blanks. A line of nothing else is left as it is.
fn without_number(line: &[u8]) -> &[u8] {
    let list = |byte: &u8| {
        byte.is_ascii_digit()
            || matches!(
                byte,
                b' ' | b'\t' | b'-' | b'*' | b'#' | b'.' | b')' | b':' | b'('
            )
    };
    let line = line.trim_ascii();
    match line.iter().position(|byte| !list(byte)) {
        Some(start) => line.get(start..).unwrap_or_default(),
        None => line,
    }
}

/// Whether a line is long enough, and text rather than a row of a table or of a drawing: mostly letters.
fn is_text(line: &[u8]) -> bool {
    let letter = |byte: &&u8| byte.is_ascii_alphabetic() || !byte.is_ascii();
    line.len() >= MIN_LENGTH && line.iter().filter(letter).count() * 2 > line.len()
}
