//! What goes wrong, how often, and how often it has.

use std::collections::BTreeMap;

use crate::scheduler::{Sim, When};

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A process is killed at one of its awaits.
    Crash,
    /// A process is stopped for 1 to 90 s, and goes on.
    Freeze,
    /// A request does not reach the server.
    RequestLost,
    /// The server's word about a request does not come back.
    AckLost,
    /// A request or a reply takes up to 8 s, and others overtake it.
    Delay,
    /// A message that was handed over does not arrive.
    DeliveryLost,
    /// An acknowledgement of a delivery does not reach the server.
    SettleLost,
    /// The server does not hear that a delivery is being worked on, and hands it out again.
    ProgressLost,
    /// A signal does not reach a process.
    SignalLost,
    /// The server does not store now.
    Full,
    /// The server is away for a while.
    Outage,
    /// The server forgets the message ids that it has seen.
    IdsForgotten,
    /// Coordinators, workers or both are away for so long that the server forgets the message ids.
    NobodyHome,
    /// A worker is told to stop, hands its work back, and another one begins.
    Drain,
    /// A client asks again for what it has asked for.
    Repeat,
    /// The model host does not answer.
    HostDown,
    /// The model host fails.
    HostFails,
    /// A turn of the model takes up to two minutes.
    SlowModel,
    /// Work that kills every worker that takes it.
    Poison,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 19] = [
        Self::Crash,
        Self::Freeze,
        Self::RequestLost,
        Self::AckLost,
        Self::Delay,
        Self::DeliveryLost,
        Self::SettleLost,
        Self::ProgressLost,
        Self::SignalLost,
        Self::Full,
        Self::Outage,
        Self::IdsForgotten,
        Self::NobodyHome,
        Self::Drain,
        Self::Repeat,
        Self::HostDown,
        Self::HostFails,
        Self::SlowModel,
        Self::Poison,
    ];

    /// How often it happens at most, of a thousand occasions.
    const fn highest(self) -> u32 {
        match self {
            Self::Crash => 40,
            Self::Freeze => 10,
            Self::RequestLost | Self::AckLost | Self::Full => 60,
            Self::Delay | Self::Repeat | Self::SignalLost => 200,
            Self::DeliveryLost | Self::SettleLost | Self::ProgressLost => 100,
            Self::Outage | Self::IdsForgotten | Self::NobodyHome => 300,
            Self::Drain => 600,
            Self::HostDown | Self::HostFails | Self::SlowModel => 100,
            Self::Poison => 40,
        }
    }
}

/// How often each fault happens in a simulation, of a thousand occasions.
#[derive(Debug, Clone, Default)]
pub struct Rates(BTreeMap<Fault, u32>);

impl Rates {
    /// Nothing goes wrong.
    pub fn none() -> Self {
        Self::default()
    }

    /// Some of the faults, the seed picks which and how often: with all of them at once, most would hide others.
    pub fn drawn(sim: &Sim) -> Self {
        let drawn = Fault::ALL.into_iter().map(|fault| {
            let highest = fault.highest();
            let rate = match sim.below(3) {
                0 => 0,
                1 => highest.div_ceil(5),
                _ => highest,
            };
            (fault, rate)
        });
        Self(drawn.collect())
    }

    /// How often this one happens.
    pub fn of(&self, fault: Fault) -> u32 {
        self.0.get(&fault).copied().unwrap_or_default()
    }
}

/// What has happened, and how often.
#[derive(Debug, Clone, Default)]
pub struct Coverage {
    faults: BTreeMap<Fault, u64>,
    crashes: BTreeMap<(When, &'static str), u64>,
    notes: BTreeMap<&'static str, u64>,
}

impl Coverage {
    /// A fault has happened.
    pub fn fault(&mut self, fault: Fault) {
        *self.faults.entry(fault).or_default() += 1;
    }

    /// A process has crashed at this point.
    pub fn crash(&mut self, when: When, what: &'static str) {
        *self.crashes.entry((when, what)).or_default() += 1;
    }

    /// Something was seen.
    pub fn note(&mut self, what: &'static str) {
        *self.notes.entry(what).or_default() += 1;
    }

    /// Adds what another simulation has seen.
    pub fn add(&mut self, other: &Self) {
        for (fault, count) in &other.faults {
            *self.faults.entry(*fault).or_default() += count;
        }
        for (point, count) in &other.crashes {
            *self.crashes.entry(*point).or_default() += count;
        }
        for (what, count) in &other.notes {
            *self.notes.entry(what).or_default() += count;
        }
    }

    /// What should have happened and has not.
    pub fn missing(&self, points: &[(When, &'static str)], notes: &[&'static str]) -> Vec<String> {
        let faults = Fault::ALL
            .into_iter()
            .filter(|fault| !self.faults.contains_key(fault));
        let points = points
            .iter()
            .filter(|point| !self.crashes.contains_key(point));
        let notes = notes.iter().filter(|note| !self.notes.contains_key(*note));
        let faults = faults.map(|fault| format!("fault {fault:?}"));
        let points = points.map(|(when, what)| format!("crash {when:?} {what}"));
        let notes = notes.map(|note| format!("{note:?} seen"));
        faults.chain(points).chain(notes).collect()
    }

    /// The counts, a line each.
    pub fn lines(&self) -> Vec<String> {
        let faults = self.faults.iter();
        let faults = faults.map(|(fault, count)| format!("{count:>9}  fault {fault:?}"));
        let crashes = self.crashes.iter();
        let crashes =
            crashes.map(|((when, what), count)| format!("{count:>9}  crash {when:?} {what}"));
        let notes = self.notes.iter();
        let notes = notes.map(|(what, count)| format!("{count:>9}  {what}"));
        faults.chain(crashes).chain(notes).collect()
    }
}
