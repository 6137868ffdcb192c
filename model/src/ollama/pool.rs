//! Which host is asked next: a value without I/O and without a clock.
//!
//! A host is *usable* for a model when it answered the last look at it, has the model on its own machine, and is not
//! refused because of a cloud. A call waits for a slot of a usable host in a line; whoever is earlier in the line chooses
//! first. Hosts that have the model loaded come first, then idle ones, in the order of the configuration. To make a host
//! swap its model for another is put off for a while ([`SWITCH_AFTER`]), as a swap takes longer than most answers.

use std::collections::BTreeMap;
use std::time::Duration;

/// Since the pool was made.
pub type Moment = Duration;

/// How long it holds what a host said of its models and of its cloud.
pub const TOLD_FOR: Duration = Duration::from_secs(30);

/// How long it holds what a host said is loaded.
pub const LOADED_FOR: Duration = Duration::from_secs(3);

/// So long a call waits for a host that has its model loaded, before another host has to swap its model.
pub const SWITCH_AFTER: Duration = Duration::from_secs(5);

/// So long a host is not asked that passed a prompt on to a cloud.
pub const QUARANTINE: Duration = Duration::from_secs(600);

/// How long a host is left alone after its first failure; it doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// The hosts, and who waits for one.
#[derive(Debug)]
pub struct Pool {
    hosts: Vec<Host>,
    line: Vec<Waiting>,
    tickets: u64,
}

/// What is known of a host, and what it is doing.
#[derive(Debug, Default)]
struct Host {
    slots: u32,
    in_flight: u32,
    told: Option<Told>,
    told_at: Moment,
    loaded_at: Moment,
    /// Failures since the last answer.
    failures: u32,
    failed_at: Moment,
    left_alone_until: Moment,
    quarantined_until: Moment,
    /// What went wrong last.
    trouble: String,
}

/// What a host says of itself. Models have their canonical names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// Its models.
    pub models: BTreeMap<String, Standing>,
    /// Those of them that are loaded.
    pub loaded: Vec<String>,
    /// Whether it is refused because its cloud is not switched off.
    pub cloud_is_on: bool,
}

/// Where a model runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// On the host; with its digest, which may be empty.
    Local(String),
    /// In a cloud, behind the host.
    Remote,
}

/// A place in the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
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

/// What is to be asked of a host now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// What is loaded.
    Loaded,
    /// Everything.
    All,
}

/// Why no host is usable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lack {
    /// These did not answer; the model may be there.
    Unreached(Vec<(usize, String)>),
    /// These have it, and may pass prompts on to a cloud.
    CloudIsOn(Vec<usize>),
    /// It runs in a cloud, or where it was asked it did.
    Cloud,
    /// No host has it.
    Missing,
}

/// How well a host suits a call: the smaller, the better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    Loaded,
    Empty,
    Swap,
}

impl Host {
    fn has(&self, model: &str) -> bool {
        let told = self.told.as_ref();
        told.is_some_and(|told| {
            !told.cloud_is_on && matches!(told.models.get(model), Some(Standing::Local(_)))
        })
    }

    fn fit(&self, model: &str) -> Fit {
        match &self.told {
            Some(told) if told.loaded.iter().any(|loaded| loaded == model) => Fit::Loaded,
            Some(told) if told.loaded.is_empty() => Fit::Empty,
            _ => Fit::Swap,
        }
    }

    /// Slots that may be used: one, to try it, after a failure.
    fn open_slots(&self) -> u32 {
        if self.failures == 0 {
            self.slots
        } else {
            self.slots.min(1)
        }
    }

    fn is_left_alone(&self, now: Moment) -> bool {
        now < self.left_alone_until || now < self.quarantined_until
    }
}

impl Pool {
    /// So many hosts with so many slots each, of which nothing is known.
    #[must_use]
    pub fn new(hosts: usize, slots: u32) -> Self {
        let host = || Host {
            slots: slots.max(1),
            ..Host::default()
        };
        Self {
            hosts: std::iter::repeat_with(host).take(hosts).collect(),
            line: Vec::new(),
            tickets: 0,
        }
    }

    /// What is to be asked of a host now, before calls are made.
    fn due(&self, host: usize, now: Moment) -> Option<Due> {
        let host = self.hosts.get(host)?;
        if host.is_left_alone(now) {
            return None;
        }
        match host.told {
            None => Some(Due::All),
            Some(_) if now >= host.told_at + TOLD_FOR => Some(Due::All),
            Some(_) if now >= host.loaded_at + LOADED_FOR => Some(Due::Loaded),
            Some(_) => None,
        }
    }

    /// What is to be looked at before a call for this model that does not ask the excluded hosts again: with each host,
    /// whether the call waits for the look. It does not for a host that failed lately, when another one is usable. When
    /// none is, also those that are left alone are looked at: everything else would be a refusal.
    #[must_use]
    pub fn looks(&self, model: &str, excluded: &[usize], now: Moment) -> Vec<(usize, Due, bool)> {
        let numbered = || self.hosts.iter().enumerate();
        let has_usable =
            numbered().any(|(index, host)| host.has(model) && !excluded.contains(&index));
        numbered()
            .filter_map(|(index, host)| {
                let is_last_resort = !has_usable
                    && host.told.is_none()
                    && now >= host.quarantined_until
                    && !excluded.contains(&index);
                // Somebody may have mended it, with a pull for one.
                let is_old = !has_usable && now >= host.told_at + LOADED_FOR;
                let due = match self.due(index, now) {
                    Some(_) if is_old => Due::All,
                    Some(due) => due,
                    None if is_last_resort || (is_old && !host.is_left_alone(now)) => Due::All,
                    None => return None,
                };
                Some((index, due, host.failures == 0 || !has_usable))
            })
            .collect()
    }

    /// Whether a host was looked at since.
    #[must_use]
    pub fn has_news(&self, host: usize, due: Due, since: Moment) -> bool {
        self.hosts.get(host).is_none_or(|host| {
            let told = match due {
                Due::All => host.told_at,
                Due::Loaded => host.loaded_at,
            };
            told.max(host.failed_at) > since
        })
    }

    /// A host answered a look at it.
    pub fn learn(&mut self, host: usize, told: Told, now: Moment) {
        if let Some(host) = self.hosts.get_mut(host) {
            host.told = Some(told);
            (host.told_at, host.loaded_at) = (now, now);
            host.left_alone_until = Moment::ZERO;
        }
    }

    /// A host said what is loaded.
    pub fn learn_loaded(&mut self, host: usize, loaded: Vec<String>, now: Moment) {
        if let Some(host) = self.hosts.get_mut(host)
            && let Some(told) = &mut host.told
        {
            told.loaded = loaded;
            host.loaded_at = now;
        }
    }

    /// A host did not answer, or the connection to it was lost: it is left alone for a while, and then looked at.
    /// `jitter` lies between 0 and 1.
    pub fn failed(&mut self, host: usize, trouble: String, jitter: f64, now: Moment) {
        if let Some(host) = self.hosts.get_mut(host) {
            let doubled = FIRST_PAUSE * 2_u32.saturating_pow(host.failures.min(10));
            let pause = doubled.min(LONGEST_PAUSE).mul_f64(0.75 + jitter / 2.0);
            host.failures = host.failures.saturating_add(1);
            host.failed_at = now;
            host.left_alone_until = now + pause;
            host.told = None;
            host.trouble = trouble;
        }
    }

    /// A host wrote an answer with this model.
    pub fn answered(&mut self, host: usize, model: &str) {
        if let Some(host) = self.hosts.get_mut(host) {
            host.failures = 0;
            if let Some(told) = &mut host.told
                && !told.loaded.iter().any(|loaded| loaded == model)
            {
                told.loaded.push(model.to_owned());
            }
        }
    }

    /// A host does not have a model any more.
    pub fn is_gone(&mut self, host: usize, model: &str) {
        if let Some(told) = self.told_mut(host) {
            told.models.remove(model);
        }
    }

    fn told_mut(&mut self, host: usize) -> Option<&mut Told> {
        self.hosts.get_mut(host)?.told.as_mut()
    }

    /// A host passed a prompt on to a cloud.
    pub fn quarantine(&mut self, host: usize, now: Moment) {
        if let Some(host) = self.hosts.get_mut(host) {
            host.quarantined_until = now + QUARANTINE;
            host.told = None;
        }
    }

    /// A model turned out to run in a cloud.
    pub fn is_remote(&mut self, host: usize, model: &str) {
        if let Some(told) = self.told_mut(host) {
            told.models.insert(model.to_owned(), Standing::Remote);
        }
    }

    /// Where a model runs that a host lists.
    #[must_use]
    pub fn standing(&self, host: usize, model: &str) -> Option<Standing> {
        let told = self.hosts.get(host)?.told.as_ref()?;
        told.models.get(model).cloned()
    }

    /// The usable hosts for a model, with its digest on each.
    #[must_use]
    pub fn usable(&self, model: &str) -> Vec<(usize, String)> {
        let hosts = self
            .hosts
            .iter()
            .enumerate()
            .filter(|(_, host)| host.has(model));
        hosts
            .filter_map(
                |(index, host)| match host.told.as_ref()?.models.get(model)? {
                    Standing::Local(digest) => Some((index, digest.clone())),
                    Standing::Remote => None,
                },
            )
            .collect()
    }

    /// Why no host is usable for a model.
    #[must_use]
    pub fn lack(&self, model: &str, now: Moment) -> Lack {
        let is_quarantined = |host: &Host| now < host.quarantined_until;
        let standing = |host: &Host| host.told.as_ref()?.models.get(model).cloned();
        let unreached: Vec<(usize, String)> = self
            .numbered(|host| host.told.is_none() && !is_quarantined(host))
            .filter_map(|index| Some((index, self.hosts.get(index)?.trouble.clone())))
            .collect();
        if !unreached.is_empty() {
            return Lack::Unreached(unreached);
        }
        let is_local = |host: &Host| matches!(standing(host), Some(Standing::Local(_)));
        // What is usable is not asked because this call has tried it.
        let cloud_is_on: Vec<usize> = self
            .numbered(|host| is_local(host) && !host.has(model))
            .collect();
        if !cloud_is_on.is_empty() {
            return Lack::CloudIsOn(cloud_is_on);
        }
        let is_remote =
            |host: &Host| is_quarantined(host) || standing(host) == Some(Standing::Remote);
        if self.hosts.iter().any(is_remote) {
            Lack::Cloud
        } else {
            Lack::Missing
        }
    }

    fn numbered(&self, which: impl Fn(&Host) -> bool) -> impl Iterator<Item = usize> {
        let hosts = self.hosts.iter().enumerate();
        hosts.filter_map(move |(index, host)| which(host).then_some(index))
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
        let mut taken = vec![0_u32; self.hosts.len()];
        for waiting in &self.line {
            let choice = self.choice(waiting, &taken, now);
            if waiting.ticket != ticket {
                // Who is earlier in the line has it, as soon as it asks.
                if let Some(count) = choice.and_then(|(_, host)| taken.get_mut(host)) {
                    *count += 1;
                }
                continue;
            }
            let Some((fit, index)) = choice else {
                return self.wait(waiting, now);
            };
            if let Some(host) = self.hosts.get_mut(index) {
                host.in_flight += 1;
            }
            self.leave(ticket);
            let loaded = fit == Fit::Loaded;
            return Pick::Go {
                host: index,
                loaded,
            };
        }
        Pick::Nobody
    }

    /// A slot is free again.
    pub fn release(&mut self, host: usize) {
        if let Some(host) = self.hosts.get_mut(host) {
            host.in_flight = host.in_flight.saturating_sub(1);
        }
    }

    fn usable_for<'a>(
        &'a self,
        waiting: &'a Waiting,
    ) -> impl Iterator<Item = (usize, &'a Host)> + 'a {
        let hosts = self.hosts.iter().enumerate();
        hosts.filter(|(index, host)| !waiting.excluded.contains(index) && host.has(&waiting.model))
    }

    /// The host that suits a call best, of those that have a slot beyond those taken.
    fn choice(&self, waiting: &Waiting, taken: &[u32], now: Moment) -> Option<(Fit, usize)> {
        self.usable_for(waiting)
            .filter_map(|(index, host)| {
                let busy = host.in_flight + taken.get(index).copied().unwrap_or_default();
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
        let back = self.hosts.iter().enumerate().filter_map(|(index, host)| {
            let until = host.left_alone_until.max(host.quarantined_until);
            (host.told.is_none() && !waiting.excluded.contains(&index)).then_some(until)
        });
        let moments = back.chain([switch]).filter(|moment| *moment > now);
        Pick::Wait(moments.min())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const START: Moment = Duration::from_secs(100);

    fn told(models: &[&str], loaded: &[&str]) -> Told {
        let local = |name: &&str| ((*name).to_owned(), Standing::Local(format!("d-{name}")));
        Told {
            models: models.iter().map(local).collect(),
            loaded: loaded.iter().map(|name| (*name).to_owned()).collect(),
            cloud_is_on: false,
        }
    }

    /// Hosts of one slot each that have the models `a` and `b`, of which these are loaded.
    fn pool(loaded: &[&[&str]]) -> Pool {
        let mut pool = Pool::new(loaded.len(), 1);
        for (host, loaded) in loaded.iter().enumerate() {
            pool.learn(host, told(&["a", "b"], loaded), START);
        }
        pool
    }

    fn go(host: usize, loaded: bool) -> Pick {
        Pick::Go { host, loaded }
    }

    fn ask(pool: &mut Pool, model: &str, now: Moment) -> Pick {
        let ticket = pool.join(model, vec![], now);
        pool.pick(ticket, now)
    }

    #[test]
    fn loaded_models_first_then_idle_hosts_in_their_order() {
        let mut pool = pool(&[&[], &["b"], &["a"]]);
        let picks = ["a", "a", "b"].map(|model| ask(&mut pool, model, START));
        assert_eq!(picks, [go(2, true), go(0, false), go(1, true)]);
        let mut busy = Pool::new(2, 3);
        for host in 0..2 {
            busy.learn(host, told(&["a"], &["a"]), START);
        }
        let hosts = std::iter::repeat_with(|| ask(&mut busy, "a", START)).take(7);
        let all: Vec<Pick> = hosts.collect();
        let wait = Pick::Wait(Some(START + SWITCH_AFTER));
        let expected = [0, 1, 0, 1, 0, 1].map(|host| go(host, true));
        assert_eq!((&all[..6], &all[6]), (&expected[..], &wait));
    }

    #[test]
    fn a_host_without_the_model_is_not_asked() {
        let mut pool = Pool::new(3, 1);
        pool.learn(0, told(&["b"], &[]), START);
        pool.learn(1, told(&["a"], &[]), START);
        let refused = Told {
            cloud_is_on: true,
            ..told(&["a"], &["a"])
        };
        pool.learn(2, refused, START);
        assert_eq!(ask(&mut pool, "a", START), go(1, false));
        assert_eq!(ask(&mut pool, "c", START), Pick::Nobody);
        assert_eq!(pool.usable("a"), [(1, "d-a".to_owned())]);
        let excluded = pool.join("a", vec![1], START);
        assert_eq!(pool.pick(excluded, START), Pick::Nobody);
    }

    #[test]
    fn a_swap_is_put_off() {
        // The model is loaded elsewhere, so it is waited for.
        let mut pool = pool(&[&["a"], &["b"]]);
        assert_eq!(ask(&mut pool, "a", START), go(0, true));
        let second = pool.join("a", vec![], START);
        let due = START + SWITCH_AFTER;
        assert_eq!(pool.pick(second, START), Pick::Wait(Some(due)));
        assert_eq!(pool.pick(second, due - SECOND / 2), Pick::Wait(Some(due)));
        assert_eq!(pool.pick(second, due), go(1, false));
    }

    #[test]
    fn who_waits_for_what_is_loaded_overtakes_for_a_while() {
        let mut pool = pool(&[&["a"]]);
        assert_eq!(ask(&mut pool, "a", START), go(0, true));
        let swap = pool.join("b", vec![], START);
        let loaded = pool.join("a", vec![], START + SECOND);
        pool.release(0);
        let due = START + SWITCH_AFTER;
        assert_eq!(pool.pick(swap, START + SECOND), Pick::Wait(Some(due)));
        assert_eq!(pool.pick(loaded, START + SECOND), go(0, true));
        let third = pool.join("a", vec![], START + SECOND);
        pool.release(0);
        // Its patience is over: it is first in the line.
        let later = START + SECOND + SWITCH_AFTER;
        assert_eq!(pool.pick(third, due), Pick::Wait(Some(later)));
        assert_eq!(pool.pick(swap, due), go(0, false));
        pool.release(0);
        assert_eq!(pool.pick(third, due), go(0, true));
    }

    #[test]
    fn a_swap_that_takes_nothing_from_anybody_is_made_at_once() {
        let mut pool = pool(&[&["a"]]);
        assert_eq!(ask(&mut pool, "b", START), go(0, false));
        pool.answered(0, "b");
        pool.release(0);
        assert_eq!(ask(&mut pool, "b", START), go(0, true));
    }

    #[test]
    fn what_is_to_be_asked_of_a_host() {
        let mut pool = Pool::new(1, 1);
        assert_eq!(pool.due(0, START), Some(Due::All));
        pool.learn(0, told(&["a"], &[]), START);
        assert_eq!(pool.due(0, START + LOADED_FOR - SECOND), None);
        assert_eq!(pool.due(0, START + LOADED_FOR), Some(Due::Loaded));
        pool.learn_loaded(0, vec!["a".into()], START + LOADED_FOR);
        assert_eq!(pool.due(0, START + LOADED_FOR), None);
        assert_eq!(ask(&mut pool, "a", START), go(0, true));
        assert_eq!(pool.due(0, START + TOLD_FOR), Some(Due::All));
        assert_eq!(pool.due(1, START), None);
    }

    #[test]
    fn a_host_that_fails_is_left_alone_for_longer_and_longer() {
        let mut pool = pool(&[&[], &[]]);
        let mut now = START;
        let mut pauses = Vec::new();
        for _ in 0..8 {
            pool.failed(0, "gone".into(), 0.5, now);
            assert_eq!(
                ask(&mut pool, "a", now),
                go(1, false),
                "the other one is asked"
            );
            pool.release(1);
            assert_eq!(pool.due(0, now), None);
            let until = pool.hosts[0].left_alone_until;
            assert_eq!(pool.due(0, until), Some(Due::All));
            pauses.push((until - now).as_millis());
            now = until;
        }
        assert_eq!(pauses, [250, 500, 1000, 2000, 4000, 8000, 10000, 10000]);
        // The others are not all slowed down at the same time.
        let mut shortest = Pool::new(1, 1);
        shortest.failed(0, String::new(), 0.0, START);
        assert_eq!(
            shortest.hosts[0].left_alone_until - START,
            FIRST_PAUSE * 3 / 4
        );
    }

    #[test]
    fn a_host_that_came_back_is_tried_with_one_call() {
        let mut pool = Pool::new(1, 4);
        pool.failed(0, "gone".into(), 0.5, START);
        assert_eq!(
            pool.lack("a", START),
            Lack::Unreached(vec![(0, "gone".into())])
        );
        assert_eq!(pool.looks("a", &[], START), [(0, Due::All, true)]);
        assert_eq!(pool.looks("a", &[0], START), []);
        pool.learn(0, told(&["a"], &[]), START);
        assert_eq!(pool.looks("a", &[], START), []);
        assert_eq!(ask(&mut pool, "a", START), go(0, false));
        let second = pool.join("a", vec![], START);
        assert_eq!(
            pool.pick(second, START),
            Pick::Wait(Some(START + SWITCH_AFTER))
        );
        pool.answered(0, "a");
        assert_eq!(pool.pick(second, START), go(0, true));
        pool.failed(0, "again".into(), 0.5, START);
        assert_eq!(pool.hosts[0].left_alone_until, START + FIRST_PAUSE);
    }

    #[test]
    fn calls_do_not_wait_for_a_look_at_a_host_that_failed() {
        let mut pool = pool(&[&[], &[]]);
        pool.failed(1, "gone".into(), 0.5, START);
        let now = START + FIRST_PAUSE;
        assert_eq!(pool.looks("a", &[], START), []);
        assert_eq!(pool.looks("a", &[], now), [(1, Due::All, false)]);
        assert_eq!(pool.looks("a", &[0], now), [(1, Due::All, true)]);
        assert_eq!(pool.looks("c", &[], now), [(1, Due::All, true)]);
        assert!(!pool.has_news(1, Due::All, START));
        pool.failed(1, "gone".into(), 0.5, now);
        assert!(pool.has_news(1, Due::All, START));
        let later = now + LOADED_FOR;
        pool.learn_loaded(0, vec![], later);
        assert!(pool.has_news(0, Due::Loaded, now));
        assert!(!pool.has_news(0, Due::All, now));
    }

    #[test]
    fn a_model_that_nobody_had_is_soon_looked_for_again() {
        let mut pool = pool(&[&[]]);
        let now = START + LOADED_FOR;
        assert_eq!(pool.looks("c", &[], now - SECOND), []);
        assert_eq!(pool.looks("c", &[], now), [(0, Due::All, true)]);
        assert_eq!(pool.looks("a", &[], now), [(0, Due::Loaded, true)]);
        // Also when the list of what is loaded was read meanwhile.
        pool.learn_loaded(0, vec![], now);
        assert_eq!(pool.looks("c", &[], now), [(0, Due::All, true)]);
        assert_eq!(pool.looks("a", &[], now), []);
    }

    #[test]
    fn a_waiting_call_looks_again_when_a_host_may_be_back() {
        let mut pool = pool(&[&[], &[]]);
        assert_eq!(ask(&mut pool, "a", START), go(0, false));
        pool.failed(1, "gone".into(), 0.5, START);
        let waiting = pool.join("a", vec![], START);
        assert_eq!(
            pool.pick(waiting, START),
            Pick::Wait(Some(START + FIRST_PAUSE))
        );
    }

    #[test]
    fn a_quarantine() {
        let mut pool = pool(&[&["a"]]);
        pool.quarantine(0, START);
        assert_eq!(ask(&mut pool, "a", START), Pick::Nobody);
        assert_eq!(pool.lack("a", START), Lack::Cloud);
        let end = START + QUARANTINE;
        assert_eq!(pool.looks("a", &[], end - SECOND), []);
        assert_eq!(pool.looks("a", &[], end), [(0, Due::All, true)]);
    }

    #[test]
    fn why_nobody_has_it() {
        let mut pool = pool(&[&[], &[]]);
        assert_eq!(pool.lack("c", START), Lack::Missing);
        pool.is_remote(0, "a");
        pool.is_gone(1, "a");
        assert_eq!(pool.lack("a", START), Lack::Cloud);
        let refused = Told {
            cloud_is_on: true,
            ..told(&["a"], &[])
        };
        pool.learn(1, refused, START);
        assert_eq!(pool.lack("a", START), Lack::CloudIsOn(vec![1]));
        assert_eq!(pool.lack("c", START), Lack::Missing);
        pool.failed(0, "gone".into(), 0.5, START);
        assert_eq!(
            pool.lack("a", START),
            Lack::Unreached(vec![(0, "gone".into())])
        );
    }

    #[derive(Debug, Clone)]
    enum Op {
        Join(usize, Vec<usize>),
        Pick(usize),
        Leave(usize),
        Release(usize),
        Learn(usize, Vec<usize>, Vec<usize>),
        Fail(usize),
        Answered(usize, usize),
        Quarantine(usize),
        Pass(u64),
    }

    const MODELS: [&str; 3] = ["a", "b", "c"];

    fn op() -> impl Strategy<Value = Op> {
        let models = || prop::collection::vec(0..3_usize, 0..3);
        prop_oneof![
            3 => (0..3_usize, prop::collection::vec(0..3_usize, 0..2)).prop_map(|(m, e)| Op::Join(m, e)),
            6 => (0..8_usize).prop_map(Op::Pick),
            1 => (0..8_usize).prop_map(Op::Leave),
            3 => (0..8_usize).prop_map(Op::Release),
            3 => (0..3_usize, models(), models()).prop_map(|(h, m, l)| Op::Learn(h, m, l)),
            1 => (0..3_usize).prop_map(Op::Fail),
            1 => (0..3_usize, 0..3_usize).prop_map(|(h, m)| Op::Answered(h, m)),
            1 => (0..3_usize).prop_map(Op::Quarantine),
            2 => (1..9_000_u64).prop_map(Op::Pass),
        ]
    }

    fn names(models: &[usize]) -> Vec<&'static str> {
        models.iter().map(|model| MODELS[*model]).collect()
    }

    proptest! {
        #[test]
        fn slots_are_never_exceeded_and_nobody_starves(
            slots in 1..3_u32,
            ops in prop::collection::vec(op(), 1..80),
        ) {
            let mut pool = Pool::new(3, slots);
            let mut now = START;
            let mut waiting: Vec<(Ticket, usize, Vec<usize>, Moment)> = Vec::new();
            let mut flying: Vec<usize> = Vec::new();
            for op in ops {
                match op {
                    Op::Join(model, excluded) => {
                        let ticket = pool.join(MODELS[model], excluded.clone(), now);
                        waiting.push((ticket, model, excluded, now));
                    }
                    Op::Pick(which) if !waiting.is_empty() => {
                        let which = which % waiting.len();
                        let (ticket, model, excluded, since) = waiting[which].clone();
                        let usable: BTreeSet<usize> = pool
                            .usable(MODELS[model])
                            .into_iter()
                            .map(|(host, _)| host)
                            .filter(|host| !excluded.contains(host))
                            .collect();
                        let free = |host: &usize| pool.hosts[*host].in_flight < pool.hosts[*host].open_slots();
                        let has_free = usable.iter().any(free);
                        match pool.pick(ticket, now) {
                            Pick::Go { host, .. } => {
                                prop_assert!(usable.contains(&host));
                                waiting.remove(which);
                                flying.push(host);
                            }
                            Pick::Wait(until) => {
                                prop_assert!(!usable.is_empty());
                                prop_assert!(until.is_none_or(|until| until > now));
                                // The first in the line gets any free slot once its patience is over.
                                let is_late = now - since >= SWITCH_AFTER;
                                prop_assert!(which != 0 || !is_late || !has_free);
                                // It is asked again by then, if nothing else happens before.
                                prop_assert!(is_late || until.is_some());
                            }
                            Pick::Nobody => prop_assert!(usable.is_empty()),
                        }
                    }
                    Op::Leave(which) if !waiting.is_empty() => {
                        let (ticket, ..) = waiting.remove(which % waiting.len());
                        pool.leave(ticket);
                    }
                    Op::Release(which) if !flying.is_empty() => {
                        pool.release(flying.remove(which % flying.len()));
                    }
                    Op::Learn(host, models, loaded) => pool.learn(host, told(&names(&models), &names(&loaded)), now),
                    Op::Fail(host) => pool.failed(host, String::new(), 0.5, now),
                    Op::Answered(host, model) => pool.answered(host, MODELS[model]),
                    Op::Quarantine(host) => pool.quarantine(host, now),
                    Op::Pass(millis) => now += Duration::from_millis(millis),
                    Op::Pick(_) | Op::Leave(_) | Op::Release(_) => {}
                }
                let mut counts = BTreeMap::new();
                for host in &flying {
                    *counts.entry(*host).or_insert(0) += 1;
                }
                for (index, host) in pool.hosts.iter().enumerate() {
                    prop_assert_eq!(host.in_flight, counts.get(&index).copied().unwrap_or_default());
                    prop_assert!(host.in_flight <= host.slots);
                }
            }
        }

        #[test]
        fn a_line_is_served_to_its_end(
            slots in 1..3_u32,
            models in prop::collection::vec(0..3_usize, 1..30),
            loaded in prop::collection::vec(prop::collection::vec(0..3_usize, 0..3), 3),
        ) {
            let mut pool = Pool::new(3, slots);
            for (host, loaded) in loaded.iter().enumerate() {
                pool.learn(host, told(&MODELS, &names(loaded)), START);
            }
            let mut now = START;
            let mut line: Vec<(Ticket, usize)> = models
                .iter()
                .map(|model| (pool.join(MODELS[*model], vec![], START), *model))
                .collect();
            let mut flying = Vec::new();
            while !line.is_empty() {
                let before = line.len();
                line.retain(|(ticket, model)| match pool.pick(*ticket, now) {
                    Pick::Go { host, .. } => {
                        flying.push((host, *model));
                        false
                    }
                    _ => true,
                });
                // All that fly come back; when none flies, somebody had to be given a slot.
                prop_assert!(line.len() < before || !flying.is_empty() || now - START < SWITCH_AFTER);
                for (host, model) in flying.drain(..) {
                    pool.answered(host, MODELS[model]);
                    pool.release(host);
                }
                now += SECOND;
                prop_assert!(now < START + SECOND * 100, "{} wait for ever", line.len());
            }
        }
    }
}
