use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::hosts::FIRST_PAUSE;
use super::hosts::tests::{SECOND, START, told};
use super::*;

/// Hosts of one slot each that have the models `a` and `b`, of which these are loaded.
fn pool(loaded: &[&[&str]]) -> Pool {
    let mut pool = Pool::new(loaded.len(), 1);
    for (host, loaded) in loaded.iter().enumerate() {
        pool.hosts.learn(host, told(&["a", "b"], loaded), START);
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
        busy.hosts.learn(host, told(&["a"], &["a"]), START);
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
    pool.hosts.learn(0, told(&["b"], &[]), START);
    pool.hosts.learn(1, told(&["a"], &[]), START);
    let refused = Told {
        cloud_is_on: true,
        ..told(&["a"], &["a"])
    };
    pool.hosts.learn(2, refused, START);
    assert_eq!(ask(&mut pool, "a", START), go(1, false));
    assert_eq!(ask(&mut pool, "c", START), Pick::Nobody);
    assert_eq!(pool.hosts.usable("a"), [(1, "d-a".to_owned())]);
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
    pool.hosts.release(0);
    let due = START + SWITCH_AFTER;
    assert_eq!(pool.pick(swap, START + SECOND), Pick::Wait(Some(due)));
    assert_eq!(pool.pick(loaded, START + SECOND), go(0, true));
    let third = pool.join("a", vec![], START + SECOND);
    pool.hosts.release(0);
    // Its patience is over: it is first in the line.
    let later = START + SECOND + SWITCH_AFTER;
    assert_eq!(pool.pick(third, due), Pick::Wait(Some(later)));
    assert_eq!(pool.pick(swap, due), go(0, false));
    pool.hosts.release(0);
    assert_eq!(pool.pick(third, due), go(0, true));
}

#[test]
fn a_swap_that_takes_nothing_from_anybody_is_made_at_once() {
    let mut pool = pool(&[&["a"]]);
    assert_eq!(ask(&mut pool, "b", START), go(0, false));
    pool.hosts.answered(0, "b");
    pool.hosts.release(0);
    assert_eq!(ask(&mut pool, "b", START), go(0, true));
}

#[test]
fn a_host_that_came_back_is_tried_with_one_call() {
    let mut pool = Pool::new(1, 4);
    pool.hosts.failed(0, "gone".into(), 0.5, START);
    assert_eq!(
        pool.hosts.lack("a", START),
        Lack::Unreached(vec![(0, "gone".into())])
    );
    assert_eq!(pool.hosts.looks("a", &[], START), [(0, Due::All, true)]);
    assert_eq!(pool.hosts.looks("a", &[0], START), []);
    pool.hosts.learn(0, told(&["a"], &[]), START);
    assert_eq!(pool.hosts.looks("a", &[], START), []);
    assert_eq!(ask(&mut pool, "a", START), go(0, false));
    let second = pool.join("a", vec![], START);
    assert_eq!(
        pool.pick(second, START),
        Pick::Wait(Some(START + SWITCH_AFTER))
    );
    pool.hosts.answered(0, "a");
    assert_eq!(pool.pick(second, START), go(0, true));
    pool.hosts.failed(0, "again".into(), 0.5, START);
    assert_eq!(
        pool.hosts.back(&[]).collect::<Vec<_>>(),
        [START + FIRST_PAUSE]
    );
}

#[test]
fn a_waiting_call_looks_again_when_a_host_may_be_back() {
    let mut pool = pool(&[&[], &[]]);
    assert_eq!(ask(&mut pool, "a", START), go(0, false));
    pool.hosts.failed(1, "gone".into(), 0.5, START);
    let waiting = pool.join("a", vec![], START);
    assert_eq!(
        pool.pick(waiting, START),
        Pick::Wait(Some(START + FIRST_PAUSE))
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
                    let usable: BTreeSet<usize> = pool.hosts.usable(MODELS[model])
                        .into_iter()
                        .map(|(host, _)| host)
                        .filter(|host| !excluded.contains(host))
                        .collect();
                    let free = |host: &usize| pool.hosts.all()[*host].in_flight() < pool.hosts.all()[*host].open_slots();
                    let has_free = usable.iter().any(free);
                    let is_called = pool.called(now).contains(&ticket);
                    let pick = pool.pick(ticket, now);
                    prop_assert_eq!(is_called, !matches!(pick, Pick::Wait(_)));
                    match pick {
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
                    pool.hosts.release(flying.remove(which % flying.len()));
                }
                Op::Learn(host, models, loaded) => pool.hosts.learn(host, told(&names(&models), &names(&loaded)), now),
                Op::Fail(host) => pool.hosts.failed(host, String::new(), 0.5, now),
                Op::Answered(host, model) => {
                    pool.hosts.answered(host, MODELS[model]);
                }
                Op::Quarantine(host) => pool.hosts.quarantine(host, now),
                Op::Pass(millis) => now += Duration::from_millis(millis),
                Op::Pick(_) | Op::Leave(_) | Op::Release(_) => {}
            }
            let mut counts = BTreeMap::new();
            for host in &flying {
                *counts.entry(*host).or_insert(0) += 1;
            }
            for (index, host) in pool.hosts.all().iter().enumerate() {
                prop_assert_eq!(host.in_flight(), counts.get(&index).copied().unwrap_or_default());
                prop_assert!(host.in_flight() <= slots);
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
            pool.hosts.learn(host, told(&MODELS, &names(loaded)), START);
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
                pool.hosts.answered(host, MODELS[model]);
                pool.hosts.release(host);
            }
            now += SECOND;
            prop_assert!(now < START + SECOND * 100, "{} wait for ever", line.len());
        }
    }
}
