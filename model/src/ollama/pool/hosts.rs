//! The hosts of a pool: what is known of each, what it is doing, and what is to be looked at.
//!
//! A host is *usable* for a model when it answered the last look at it, has the model on its own machine, and is not
//! refused because of a cloud.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Moment;

/// How long it holds what a host said of its models and of its cloud.
pub const TOLD_FOR: Duration = Duration::from_secs(30);

/// How long it holds what a host said is loaded.
pub const LOADED_FOR: Duration = Duration::from_secs(3);

/// So long a host is not asked that passed a prompt on to a cloud.
pub const QUARANTINE: Duration = Duration::from_secs(600);

/// How long a host is left alone after its first failure; it doubles up to the longest.
pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// All hosts, in the order of the configuration.
#[derive(Debug)]
pub struct Hosts(Vec<Host>);

/// What is known of a host, and what it is doing.
#[derive(Debug, Default)]
pub(super) struct Host {
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
pub(super) enum Fit {
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

    /// How well it suits a call for this model.
    pub(super) fn fit(&self, model: &str) -> Fit {
        match &self.told {
            Some(told) if told.loaded.iter().any(|loaded| loaded == model) => Fit::Loaded,
            Some(told) if told.loaded.is_empty() => Fit::Empty,
            _ => Fit::Swap,
        }
    }

    /// Slots that are in use.
    pub(super) fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// Slots that may be used: one, to try it, after a failure.
    pub(super) fn open_slots(&self) -> u32 {
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

impl Hosts {
    /// So many hosts with so many slots each, of which nothing is known.
    #[must_use]
    pub fn new(hosts: usize, slots: u32) -> Self {
        let host = || Host {
            slots: slots.max(1),
            ..Host::default()
        };
        Self(std::iter::repeat_with(host).take(hosts).collect())
    }

    /// What is to be asked of a host now, before calls are made.
    fn due(&self, host: usize, now: Moment) -> Option<Due> {
        let host = self.0.get(host)?;
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
        let numbered = || self.0.iter().enumerate();
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
        self.0.get(host).is_none_or(|host| {
            let told = match due {
                Due::All => host.told_at,
                Due::Loaded => host.loaded_at,
            };
            told.max(host.failed_at) > since
        })
    }

    /// A host answered a look at it.
    pub fn learn(&mut self, host: usize, told: Told, now: Moment) {
        if let Some(host) = self.0.get_mut(host) {
            host.told = Some(told);
            (host.told_at, host.loaded_at) = (now, now);
            host.left_alone_until = Moment::ZERO;
        }
    }

    /// A host said what is loaded.
    pub fn learn_loaded(&mut self, host: usize, loaded: Vec<String>, now: Moment) {
        if let Some(host) = self.0.get_mut(host)
            && let Some(told) = &mut host.told
        {
            told.loaded = loaded;
            host.loaded_at = now;
        }
    }

    /// A host did not answer, or the connection to it was lost: it is left alone for a while, and then looked at.
    /// `jitter` lies between 0 and 1.
    pub fn failed(&mut self, host: usize, trouble: String, jitter: f64, now: Moment) {
        if let Some(host) = self.0.get_mut(host) {
            let doubled = FIRST_PAUSE * 2_u32.saturating_pow(host.failures.min(10));
            let pause = doubled.min(LONGEST_PAUSE).mul_f64(0.75 + jitter / 2.0);
            host.failures = host.failures.saturating_add(1);
            host.failed_at = now;
            host.left_alone_until = now + pause;
            host.told = None;
            host.trouble = trouble;
        }
    }

    /// A host wrote an answer with this model. Whether that is news.
    pub fn answered(&mut self, host: usize, model: &str) -> bool {
        let Some(host) = self.0.get_mut(host) else {
            return false;
        };
        let had_failed = std::mem::take(&mut host.failures) > 0;
        match &mut host.told {
            Some(told) if !told.loaded.iter().any(|loaded| loaded == model) => {
                told.loaded.push(model.to_owned());
                true
            }
            _ => had_failed,
        }
    }

    /// A host does not have a model any more.
    pub fn is_gone(&mut self, host: usize, model: &str) {
        if let Some(told) = self.told_mut(host) {
            told.models.remove(model);
        }
    }

    fn told_mut(&mut self, host: usize) -> Option<&mut Told> {
        self.0.get_mut(host)?.told.as_mut()
    }

    /// A host passed a prompt on to a cloud.
    pub fn quarantine(&mut self, host: usize, now: Moment) {
        if let Some(host) = self.0.get_mut(host) {
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
        let told = self.0.get(host)?.told.as_ref()?;
        told.models.get(model).cloned()
    }

    /// The usable hosts for a model, with its digest on each.
    #[must_use]
    pub fn usable(&self, model: &str) -> Vec<(usize, String)> {
        let hosts = self
            .0
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
            .filter_map(|index| Some((index, self.0.get(index)?.trouble.clone())))
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
        if self.0.iter().any(is_remote) {
            Lack::Cloud
        } else {
            Lack::Missing
        }
    }

    fn numbered(&self, which: impl Fn(&Host) -> bool) -> impl Iterator<Item = usize> {
        let hosts = self.0.iter().enumerate();
        hosts.filter_map(move |(index, host)| which(host).then_some(index))
    }

    /// All of them.
    pub(super) fn all(&self) -> &[Host] {
        &self.0
    }

    /// The usable hosts for a model, without the excluded ones.
    pub(super) fn usable_for<'a>(
        &'a self,
        model: &'a str,
        excluded: &'a [usize],
    ) -> impl Iterator<Item = (usize, &'a Host)> + 'a {
        let hosts = self.0.iter().enumerate();
        hosts.filter(move |(index, host)| !excluded.contains(index) && host.has(model))
    }

    /// When hosts that are left alone may be back, without the excluded ones.
    pub(super) fn back<'a>(&'a self, excluded: &'a [usize]) -> impl Iterator<Item = Moment> + 'a {
        let hosts = self.0.iter().enumerate();
        let left_alone =
            hosts.filter(|(index, host)| host.told.is_none() && !excluded.contains(index));
        left_alone.map(|(_, host)| host.left_alone_until.max(host.quarantined_until))
    }

    /// A slot is taken.
    pub(super) fn take(&mut self, host: usize) {
        if let Some(host) = self.0.get_mut(host) {
            host.in_flight += 1;
        }
    }

    /// A slot is free again.
    pub fn release(&mut self, host: usize) {
        if let Some(host) = self.0.get_mut(host) {
            host.in_flight = host.in_flight.saturating_sub(1);
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub const SECOND: Duration = Duration::from_secs(1);
    pub const START: Moment = Duration::from_secs(100);

    pub fn told(models: &[&str], loaded: &[&str]) -> Told {
        let local = |name: &&str| ((*name).to_owned(), Standing::Local(format!("d-{name}")));
        Told {
            models: models.iter().map(local).collect(),
            loaded: loaded.iter().map(|name| (*name).to_owned()).collect(),
            cloud_is_on: false,
        }
    }

    /// Hosts that have the models `a` and `b`, of which nothing is loaded.
    fn hosts(number: usize) -> Hosts {
        let mut hosts = Hosts::new(number, 1);
        for host in 0..number {
            hosts.learn(host, told(&["a", "b"], &[]), START);
        }
        hosts
    }

    #[test]
    fn what_is_to_be_asked_of_a_host() {
        let mut hosts = Hosts::new(1, 1);
        assert_eq!(hosts.due(0, START), Some(Due::All));
        hosts.learn(0, told(&["a"], &[]), START);
        assert_eq!(hosts.due(0, START + LOADED_FOR - SECOND), None);
        assert_eq!(hosts.due(0, START + LOADED_FOR), Some(Due::Loaded));
        hosts.learn_loaded(0, vec!["a".into()], START + LOADED_FOR);
        assert_eq!(hosts.due(0, START + LOADED_FOR), None);
        assert_eq!(hosts.0[0].fit("a"), Fit::Loaded);
        assert_eq!(hosts.due(0, START + TOLD_FOR), Some(Due::All));
        assert_eq!(hosts.due(1, START), None);
    }

    #[test]
    fn a_host_that_fails_is_left_alone_for_longer_and_longer() {
        let mut hosts = hosts(2);
        let mut now = START;
        let mut pauses = Vec::new();
        for _ in 0..8 {
            hosts.failed(0, "gone".into(), 0.5, now);
            assert_eq!(hosts.usable("a"), [(1, "d-a".to_owned())]);
            assert_eq!(hosts.due(0, now), None);
            let until = hosts.0[0].left_alone_until;
            assert_eq!(hosts.due(0, until), Some(Due::All));
            pauses.push((until - now).as_millis());
            now = until;
        }
        assert_eq!(pauses, [250, 500, 1000, 2000, 4000, 8000, 10000, 10000]);
        // The others are not all slowed down at the same time.
        let mut shortest = Hosts::new(1, 1);
        shortest.failed(0, String::new(), 0.0, START);
        assert_eq!(shortest.0[0].left_alone_until - START, FIRST_PAUSE * 3 / 4);
    }

    #[test]
    fn calls_do_not_wait_for_a_look_at_a_host_that_failed() {
        let mut hosts = hosts(2);
        hosts.failed(1, "gone".into(), 0.5, START);
        let now = START + FIRST_PAUSE;
        assert_eq!(hosts.looks("a", &[], START), []);
        assert_eq!(hosts.looks("a", &[], now), [(1, Due::All, false)]);
        assert_eq!(hosts.looks("a", &[0], now), [(1, Due::All, true)]);
        assert_eq!(hosts.looks("c", &[], now), [(1, Due::All, true)]);
        assert!(!hosts.has_news(1, Due::All, START));
        hosts.failed(1, "gone".into(), 0.5, now);
        assert!(hosts.has_news(1, Due::All, START));
        let later = now + LOADED_FOR;
        hosts.learn_loaded(0, vec![], later);
        assert!(hosts.has_news(0, Due::Loaded, now));
        assert!(!hosts.has_news(0, Due::All, now));
    }

    #[test]
    fn a_model_that_nobody_had_is_soon_looked_for_again() {
        let mut hosts = hosts(1);
        let now = START + LOADED_FOR;
        assert_eq!(hosts.looks("c", &[], now - SECOND), []);
        assert_eq!(hosts.looks("c", &[], now), [(0, Due::All, true)]);
        assert_eq!(hosts.looks("a", &[], now), [(0, Due::Loaded, true)]);
        // Also when the list of what is loaded was read meanwhile.
        hosts.learn_loaded(0, vec![], now);
        assert_eq!(hosts.looks("c", &[], now), [(0, Due::All, true)]);
        assert_eq!(hosts.looks("a", &[], now), []);
    }

    #[test]
    fn a_quarantine() {
        let mut hosts = hosts(1);
        hosts.quarantine(0, START);
        assert_eq!(hosts.usable("a"), []);
        assert_eq!(hosts.lack("a", START), Lack::Cloud);
        let end = START + QUARANTINE;
        assert_eq!(hosts.looks("a", &[], end - SECOND), []);
        assert_eq!(hosts.looks("a", &[], end), [(0, Due::All, true)]);
    }

    #[test]
    fn why_nobody_has_it() {
        let mut hosts = hosts(2);
        assert_eq!(hosts.lack("c", START), Lack::Missing);
        hosts.is_remote(0, "a");
        hosts.is_gone(1, "a");
        assert_eq!(hosts.lack("a", START), Lack::Cloud);
        let refused = Told {
            cloud_is_on: true,
            ..told(&["a"], &[])
        };
        hosts.learn(1, refused, START);
        assert_eq!(hosts.lack("a", START), Lack::CloudIsOn(vec![1]));
        assert_eq!(hosts.lack("c", START), Lack::Missing);
        hosts.failed(0, "gone".into(), 0.5, START);
        assert_eq!(
            hosts.lack("a", START),
            Lack::Unreached(vec![(0, "gone".into())])
        );
    }
}
