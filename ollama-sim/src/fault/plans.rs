//! Faults that are planned for requests to come: by chance, or for the n-th.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Fault;
use crate::pattern::Glob;

/// When a fault happens.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The fault.
    pub fault: Fault,
    /// For which models.
    #[serde(default)]
    pub model: Option<Glob>,
    /// To the n-th matching request, from 1.
    #[serde(default)]
    pub nth: Option<u64>,
    /// To every n-th matching request.
    #[serde(default)]
    pub every: Option<u64>,
    /// With this probability, 0 to 1.
    #[serde(default)]
    pub probability: Option<f64>,
    /// At most so often.
    #[serde(default)]
    pub times: Option<u64>,
}

/// All plans, and what became of them.
#[derive(Debug)]
pub struct Plans {
    rng: fastrand::Rng,
    plans: Vec<Counted>,
}

#[derive(Debug)]
struct Counted {
    plan: Plan,
    told: Value,
    seen: u64,
    hits: u64,
}

/// How a plan stands.
#[derive(Debug, Serialize)]
pub struct Standing<'a> {
    /// The plan as it came.
    plan: &'a Value,
    /// Matching requests.
    seen: u64,
    /// Those that the fault happened to.
    hits: u64,
}

impl Plans {
    /// No plans; chance comes from this seed.
    pub fn new(seed: u64) -> Self {
        Self {
            rng: fastrand::Rng::with_seed(seed),
            plans: Vec::new(),
        }
    }

    /// Adds a plan, or a list of plans.
    ///
    /// # Errors
    /// What is wrong with one of them; then none is added.
    pub fn add(&mut self, document: Value) -> Result<(), String> {
        let list = match document {
            Value::Array(list) => list,
            one => vec![one],
        };
        let plans = list.into_iter().map(|told| {
            let plan = Plan::deserialize(&told).map_err(|error| error.to_string())?;
            Ok(Counted {
                plan,
                told,
                seen: 0,
                hits: 0,
            })
        });
        let plans = plans.collect::<Result<Vec<_>, String>>()?;
        self.plans.extend(plans);
        Ok(())
    }

    /// Forgets all plans.
    pub fn clear(&mut self) {
        self.plans.clear();
    }

    /// How all plans stand.
    pub fn standings(&self) -> Vec<Standing<'_>> {
        let plans = self.plans.iter();
        plans
            .map(|counted| Standing {
                plan: &counted.told,
                seen: counted.seen,
                hits: counted.hits,
            })
            .collect()
    }

    /// The faults that happen to a request for this model.
    pub fn draw(&mut self, model: &str) -> Vec<Fault> {
        let mut faults = Vec::new();
        for counted in &mut self.plans {
            let plan = &counted.plan;
            if plan.model.as_ref().is_some_and(|glob| !glob.matches(model)) {
                continue;
            }
            counted.seen += 1;
            let seen = counted.seen;
            // Drawn also where it does not count, so that one condition does not change the chance of the next.
            let chance = self.rng.f64();
            let hit = plan.nth.is_none_or(|nth| nth == seen)
                && plan
                    .every
                    .is_none_or(|every| seen.is_multiple_of(every.max(1)))
                && plan
                    .probability
                    .is_none_or(|probability| chance < probability)
                && plan.times.is_none_or(|times| counted.hits < times);
            if hit {
                counted.hits += 1;
                faults.push(plan.fault.clone());
            }
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn hits(plan: Value, requests: usize) -> Vec<bool> {
        let mut plans = Plans::new(7);
        plans.add(plan).unwrap();
        (0..requests)
            .map(|_| !plans.draw("m:1").is_empty())
            .collect()
    }

    #[test]
    fn plans_choose_their_requests() {
        let cases = [
            (json!({"fault": "busy"}), [true, true, true, true]),
            (
                json!({"fault": "busy", "nth": 2}),
                [false, true, false, false],
            ),
            (
                json!({"fault": "busy", "every": 2}),
                [false, true, false, true],
            ),
            (
                json!({"fault": "busy", "times": 1}),
                [true, false, false, false],
            ),
            (json!({"fault": "busy", "model": "x:*"}), [false; 4]),
            (json!({"fault": "busy", "probability": 0}), [false; 4]),
        ];
        for (plan, expected) in cases {
            assert_eq!(hits(plan.clone(), 4), expected, "{plan}");
        }
    }

    #[test]
    fn chance_comes_from_the_seed() {
        let plan = json!({"fault": "busy", "probability": 0.5});
        let drawn = hits(plan.clone(), 200);
        assert_eq!(hits(plan, 200), drawn);
        let count = drawn.iter().filter(|hit| **hit).count();
        assert!((60..140).contains(&count), "{count}");
    }

    #[test]
    fn a_bad_plan_changes_nothing() {
        let mut plans = Plans::new(0);
        assert!(
            plans
                .add(json!([{"fault": "busy"}, {"fault": "buzy"}]))
                .is_err()
        );
        assert_eq!(plans.standings().len(), 0);
    }
}
