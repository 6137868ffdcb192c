//! Which host is asked next: a value without I/O and without a clock.
//!
//! A call waits in a line for a slot of a usable host; whoever is earlier in the line chooses first. Hosts that have the
//! model loaded come first, then idle ones, in the order of the configuration. To make a host swap its model for another
//! is put off for a while ([`SWITCH_AFTER`]), as a swap takes longer than most answers. `hosts` is what is known of them.

use std::time::Duration;

mod hosts;
#[cfg(test)]
mod tests;

pub use hosts::{Due, Hosts, Lack, Standing, Told};

use hosts::{Fit, Host};

/// Since the pool was made.
pub type Moment = Duration;

/// So long a call waits for a host that has its model loaded, before another host has to swap its model.
pub const SWITCH_AFTER: Duration = Duration::from_secs(5);

/// The hosts, and who waits for one.
#[derive(Debug)]
pub struct Pool {
    /// The hosts.
    pub hosts: Hosts,
    line: Vec<Waiting>,
    tickets: u64,
}

/// A place in the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ticket(u64);

#[derive(Debug)]
struct Waiting {
    ticket: Ticket,
    model: String,
    since: Moment,
    /// Hosts that this call does not ask again.
    excluded: Vec<usize>,
}

/// What a call is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pick {
    /// It has a slot of this host, which is to be released.
    Go {
        /// The host.
        host: usize,
        /// Whether the host has the model loaded.
        loaded: bool,
    },
    /// All slots are taken. To be asked again when something changes, and at this moment.
    Wait(Option<Moment>),
    /// No host is usable.
    Nobody,
}

impl Pool {
    /// So many hosts with so many slots each, of which nothing is known, and nobody who waits.
    #[must_use]
    pub fn new(hosts: usize, slots: u32) -> Self {
        Self {
            hosts: Hosts::new(hosts, slots),
            line: Vec::new(),
            tickets: 0,
        }
    }

    /// Takes a place in the line, behind all who wait for longer. `excluded` are hosts that this call does not ask again.
    pub fn join(&mut self, model: &str, excluded: Vec<usize>, since: Moment) -> Ticket {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        let place = self.line.partition_point(|waiting| waiting.since <= since);
        let model = model.to_owned();
        self.line.insert(
            place,
            Waiting {
                ticket,
                model,
                since,
                excluded,
            },
        );
        ticket
    }

    /// Leaves the line. Who was given a slot is in it no more.
    pub fn leave(&mut self, ticket: Ticket) {
        self.line.retain(|waiting| waiting.ticket != ticket);
    }

    /// Gives a call in the line a slot, if it is its turn.
    pub fn pick(&mut self, ticket: Ticket, now: Moment) -> Pick {
        let is_meant = |(waiting, _): &(&Waiting, _)| waiting.ticket == ticket;
        let Some((waiting, choice)) = self.choices(now).find(is_meant) else {
            return Pick::Nobody;
        };
        let Some((fit, host)) = choice else {
            return self.wait(waiting, now);
        };
        self.hosts.take(host);
        self.leave(ticket);
        let loaded = fit == Fit::Loaded;
        Pick::Go { host, loaded }
    }

    /// Those in the line who have nothing to wait for: a slot is theirs as soon as they ask, or no host is usable.
    #[must_use]
    pub fn called(&self, now: Moment) -> Vec<Ticket> {
        let choices = self.choices(now);
        let called = choices.filter(|(waiting, choice)| {
            choice.is_some() || self.usable_for(waiting).next().is_none()
        });
        called.map(|(waiting, _)| waiting.ticket).collect()
    }

    /// What each in the line may choose, the first first: whoever is earlier has it, as soon as it asks.
    fn choices(&self, now: Moment) -> impl Iterator<Item = (&Waiting, Option<(Fit, usize)>)> {
        let mut taken = vec![0_u32; self.hosts.all().len()];
        self.line.iter().map(move |waiting| {
            let choice = self.choice(waiting, &taken, now);
            if let Some(count) = choice.and_then(|(_, host)| taken.get_mut(host)) {
                *count += 1;
            }
            (waiting, choice)
        })
    }

    fn usable_for<'a>(
        &'a self,
        waiting: &'a Waiting,
    ) -> impl Iterator<Item = (usize, &'a Host)> + 'a {
        self.hosts.usable_for(&waiting.model, &waiting.excluded)
    }

    /// The host that suits a call best, of those that have a slot beyond those taken.
    fn choice(&self, waiting: &Waiting, taken: &[u32], now: Moment) -> Option<(Fit, usize)> {
        self.usable_for(waiting)
            .filter_map(|(index, host)| {
                let busy = host.in_flight() + taken.get(index).copied().unwrap_or_default();
                let fit = host.fit(&waiting.model);
                let is_free = busy < host.open_slots();
                let may = is_free && (fit < Fit::Swap || self.may_swap(waiting, host, now));
                may.then_some((fit, busy, index))
            })
            .min()
            .map(|(fit, _, index)| (fit, index))
    }

    /// Whether a call may make a host swap its model: after a while, or when it has nothing to wait for and nobody waits
    /// for what the host has.
    fn may_swap(&self, waiting: &Waiting, host: &Host, now: Moment) -> bool {
        if now.saturating_sub(waiting.since) >= SWITCH_AFTER {
            return true;
        }
        let elsewhere = self
            .usable_for(waiting)
            .any(|(_, other)| other.fit(&waiting.model) == Fit::Loaded);
        let wanted = self.line.iter().any(|other| {
            other.ticket != waiting.ticket
                && other.model != waiting.model
                && host.fit(&other.model) == Fit::Loaded
        });
        !elsewhere && !wanted
    }

    fn wait(&self, waiting: &Waiting, now: Moment) -> Pick {
        if self.usable_for(waiting).next().is_none() {
            return Pick::Nobody;
        }
        let switch = waiting.since + SWITCH_AFTER;
        let back = self.hosts.back(&waiting.excluded);
        let moments = back.chain([switch]).filter(|moment| *moment > now);
        Pick::Wait(moments.min())
    }
}
