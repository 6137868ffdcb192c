//! A case: one request, or a few, and what each server makes of them.

use std::collections::BTreeMap;

use futures_util::future::BoxFuture;
use swarm_tests::ollama::{Limits, Version};

use crate::host::{Host, Kind};
use crate::outcome::Outcome;

/// What each server that was asked made of a case.
pub type Found = BTreeMap<Kind, String>;

/// One case.
pub struct Case {
    /// The part of the document it stands in.
    pub part: &'static str,
    /// What is asked, in a few words.
    pub name: &'static str,
    /// How the server schedules.
    pub limits: Limits,
    /// Asks it.
    pub run: fn(Host) -> BoxFuture<'static, Outcome>,
    newest: &'static str,
    /// What Ollama 0.17.4 does, and so its simulator.
    old: Option<Difference>,
    /// What both simulators do.
    simulators: Option<Difference>,
}

/// Where a server does something else: the older one, or a simulator.
#[derive(Debug, Clone, Copy)]
pub struct Difference {
    /// What it does; none when it cannot be asked.
    pub outcome: Option<&'static str>,
    /// Why, or what that means for who talks to it.
    pub why: &'static str,
}

impl Case {
    /// A case that all servers answer like this.
    pub fn new(
        name: &'static str,
        run: fn(Host) -> BoxFuture<'static, Outcome>,
        outcome: &'static str,
    ) -> Self {
        Self {
            part: "",
            name,
            limits: Limits::default(),
            run,
            newest: outcome,
            old: None,
            simulators: None,
        }
    }

    /// It stands in this part of the document.
    pub fn in_part(mut self, part: &'static str) -> Self {
        self.part = part;
        self
    }

    /// The server's scheduler is set like this.
    pub fn with(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Ollama 0.17.4 answers something else.
    pub fn but_0_17_4(mut self, outcome: &'static str, why: &'static str) -> Self {
        let outcome = Some(outcome);
        self.old = Some(Difference { outcome, why });
        self
    }

    /// Ollama 0.17.4 cannot be asked, nor its simulator.
    pub fn not_0_17_4(mut self, why: &'static str) -> Self {
        self.old = Some(Difference { outcome: None, why });
        self
    }

    /// The simulators answer something else.
    pub fn but_simulators(mut self, outcome: &'static str, why: &'static str) -> Self {
        let outcome = Some(outcome);
        self.simulators = Some(Difference { outcome, why });
        self
    }

    /// Whether this kind of server is asked.
    pub fn runs_on(&self, kind: Kind) -> bool {
        let old = self.old.filter(|_| kind.version() == Version::V0_17_4);
        let asked = |difference: Difference| difference.outcome.is_some();
        self.difference(kind).or(old).is_none_or(asked)
    }

    /// Where this kind of server does something else: than 0.33.0, or than the one that it simulates.
    pub fn difference(&self, kind: Kind) -> Option<Difference> {
        match kind {
            Kind::Real(Version::V0_33_0) => None,
            Kind::Real(Version::V0_17_4) => self.old,
            Kind::Simulated(_) => self.simulators,
        }
    }

    fn expected(&self, kind: Kind) -> &'static str {
        let outcome = |difference: Option<Difference>| difference.and_then(|found| found.outcome);
        let simulated = outcome(self.difference(kind));
        let old = outcome(self.old).filter(|_| kind.version() == Version::V0_17_4);
        simulated.or(old).unwrap_or(self.newest)
    }

    /// What is wrong with what was found.
    pub fn faults(&self, found: &Found) -> Vec<String> {
        let mut faults = Vec::new();
        for (kind, outcome) in found {
            let expected = self.expected(*kind);
            if outcome != expected {
                faults.push(format!(
                    "{kind} answers   {outcome}\n     expected is {expected}"
                ));
            }
        }
        for difference in [self.old, self.simulators].into_iter().flatten() {
            if difference.outcome == Some(self.newest) {
                faults.push(format!("a difference that is none: {}", difference.why));
            }
        }
        faults
    }
}
