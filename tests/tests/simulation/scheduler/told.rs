//! What is told of a simulation: its last steps, and the first invariant that was broken.

use super::{ProcessId, Sim, Violation};

/// Steps of the trace that are kept.
const TRACE: usize = 60;

impl Sim {
    /// A line of the trace.
    pub fn trace(&self, line: impl FnOnce() -> String) {
        if let Some(trace) = &self.0.trace {
            let mut trace = trace.borrow_mut();
            if trace.len() == TRACE {
                trace.pop_front();
            }
            trace.push_back(format!("{:>9} ms  {}", self.now(), line()));
        }
    }

    /// The same, said by a process.
    pub fn say(&self, process: ProcessId, line: impl FnOnce() -> String) {
        self.trace(|| format!("{:<16} {}", self.0.processes.borrow()[process].name, line()));
    }

    /// The last lines of the trace.
    pub fn traced(&self) -> Vec<String> {
        let trace = self.0.trace.as_ref();
        trace.map_or_else(Vec::new, |trace| trace.borrow().iter().cloned().collect())
    }

    /// An invariant does not hold: the simulation ends.
    pub fn violate(&self, rule: &'static str, found: impl Into<String>) {
        let found = found.into();
        self.trace(|| format!("VIOLATION {rule}: {found}"));
        let mut violation = self.0.violation.borrow_mut();
        violation.get_or_insert(Violation { rule, found });
    }

    /// The first invariant that was broken.
    pub fn violation(&self) -> Option<Violation> {
        self.0.violation.borrow().clone()
    }
}
