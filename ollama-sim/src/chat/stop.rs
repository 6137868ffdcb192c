//! Where an answer stops in the middle, and how.

use crate::fault::{Fault, Kind};

/// A stop in the middle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stop {
    /// After so many chunks.
    pub after: usize,
    /// How.
    pub how: How,
}

/// How an answer stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// The connection is closed.
    Cut,
    /// The connection is reset.
    Reset,
    /// Nothing more comes.
    Stall,
}

impl Stop {
    /// The stop that marks or faults ask for, in an answer of so many chunks; in its middle if they do not say where.
    pub fn of(cut: bool, faults: &[Fault], steps: usize) -> Option<Self> {
        let middle = steps.div_ceil(2);
        if cut {
            return Some(Self {
                after: middle,
                how: How::Cut,
            });
        }
        faults.iter().find_map(|fault| {
            let how = match fault.kind {
                Kind::Cut => How::Cut,
                Kind::Reset => How::Reset,
                Kind::Stall => How::Stall,
                _ => return None,
            };
            let after = fault.after.unwrap_or(middle).min(steps);
            Some(Self { after, how })
        })
    }
}
