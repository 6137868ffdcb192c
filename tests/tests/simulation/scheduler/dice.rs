//! What the seed decides, and how often it has.

use super::Sim;
use crate::faults::{Coverage, Fault, Rates};
use crate::mutation::Mutation;

impl Sim {
    /// A number below a bound.
    pub fn below(&self, bound: u64) -> u64 {
        self.0.rng.borrow_mut().u64(0..bound.max(1))
    }

    /// A number in a range, ends included.
    pub fn between(&self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// True so often of a thousand times.
    pub fn chance(&self, per_mille: u32) -> bool {
        per_mille > 0 && self.below(1000) < u64::from(per_mille)
    }

    /// One of several.
    pub fn pick<'a, T>(&self, of: &'a [T]) -> &'a T {
        &of[usize::try_from(self.below(of.len() as u64)).unwrap()]
    }

    /// Whether this fault happens now; counted when it does.
    pub fn fault(&self, fault: Fault) -> bool {
        let rate = self.0.rates.borrow().of(fault);
        let happens = self.chance(rate);
        if happens {
            self.count(fault);
        }
        happens
    }

    /// Notes that a fault has happened.
    pub fn count(&self, fault: Fault) {
        self.0.coverage.borrow_mut().fault(fault);
        self.trace(|| format!("FAULT {fault:?}"));
    }

    /// From now on faults happen as often as this.
    pub fn set_rates(&self, rates: Rates, crashes: u32) {
        *self.0.rates.borrow_mut() = rates;
        self.0.crashes_left.set(crashes);
    }

    /// What has happened so far.
    pub fn coverage(&self) -> Coverage {
        self.0.coverage.borrow().clone()
    }

    /// Notes something that should be seen in each run of all seeds.
    pub fn note(&self, what: &'static str) {
        self.0.coverage.borrow_mut().note(what);
    }

    /// Whether the model of a role is broken in this way, to see the checker fail.
    pub fn is_mutated(&self, mutation: Mutation) -> bool {
        self.0.mutation == Some(mutation)
    }
}
