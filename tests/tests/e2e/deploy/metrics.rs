//! Dashboard, alerts and the Prometheus that feeds them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use swarm_protocol::metrics::{ALL, Kind, Metric};

use super::files::{self, text, yaml};

/// Every name that `/metrics` may show, with the metric that it is of.
fn names() -> BTreeMap<String, &'static Metric> {
    let parts = |metric: &Metric| match metric.kind {
        Kind::Counter | Kind::Gauge => [""].as_slice(),
        Kind::Histogram => &["_bucket", "_sum", "_count"],
    };
    ALL.iter()
        .flat_map(|metric| {
            let name = move |part: &&str| (format!("{}{part}", metric.name), metric);
            parts(metric).iter().map(name)
        })
        .collect()
}

/// The names and words of an expression.
fn words(expression: &str) -> Vec<&str> {
    let inner = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = expression.split(move |c| !inner(c));
    words.filter(|word| !word.is_empty()).collect()
}

/// The metrics that an expression is about, and the labels that it keeps.
fn check(expression: &str) -> (Vec<&'static Metric>, BTreeSet<String>) {
    let names = names();
    let used: Vec<&Metric> = words(expression)
        .into_iter()
        .filter(|word| word.starts_with("swarm_"))
        .map(|word| {
            let found = names.get(word).copied();
            found.unwrap_or_else(|| panic!("{word} is measured nowhere: {expression}"))
        })
        .collect();
    assert!(!used.is_empty(), "{expression}");
    let labels: BTreeSet<&str> = used
        .iter()
        .flat_map(|metric| metric.labels.iter().copied())
        .chain(["le"])
        .collect();
    let mut kept = BTreeSet::new();
    for grouping in ["by (", "on ("] {
        for rest in expression.split(grouping).skip(1) {
            for label in words(rest.split(')').next().unwrap()) {
                assert!(labels.contains(label), "label {label}: {expression}");
                kept.insert(label.to_owned());
            }
        }
    }
    for rest in expression.split('{').skip(1) {
        let label = words(rest)[0];
        assert!(labels.contains(label), "label {label}: {expression}");
    }
    (used, kept)
}

/// Every `expr` of a document.
fn expressions(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(values) => values.iter().flat_map(expressions).collect(),
        Value::Object(members) if members.contains_key("expr") => vec![value],
        Value::Object(members) => members.values().flat_map(expressions).collect(),
        _ => Vec::new(),
    }
}

/// The names between `open` and `}}` in a text with placeholders.
fn placeholders<'a>(text: &'a str, open: &str) -> Vec<&'a str> {
    let inner = text.split(open).skip(1);
    inner.map(|rest| words(rest)[0]).collect()
}

#[test]
fn the_dashboard_shows_all_that_is_measured() {
    let dashboard: Value = serde_json::from_str(&text("deploy/grafana/swarm.json")).unwrap();
    let mut shown = BTreeSet::new();
    for target in expressions(&dashboard) {
        let (used, kept) = check(target["expr"].as_str().unwrap());
        shown.extend(used.iter().map(|metric| metric.name));
        for label in placeholders(target["legendFormat"].as_str().unwrap(), "{{") {
            assert!(kept.contains(label), "{label} in the legend of {target}");
        }
    }
    let measured: BTreeSet<&str> = ALL.iter().map(|metric| metric.name).collect();
    assert_eq!(shown, measured);
}

#[test]
fn alerts_are_about_what_is_measured() {
    let alerts = yaml("deploy/prometheus/alerts.yml");
    let rules = expressions(&alerts);
    for rule in &rules {
        let (_, kept) = check(rule["expr"].as_str().unwrap());
        for (_, text) in files::members(&rule["annotations"]) {
            for label in placeholders(text.as_str().unwrap(), "$labels.") {
                assert!(kept.contains(label), "{label} in {rule}");
            }
        }
    }
    assert!(rules.len() >= 3, "{} rules", rules.len());
}

#[test]
fn prometheus_finds_every_role_and_has_the_token() {
    let configuration = yaml("deploy/prometheus/prometheus.yml");
    let [job] = files::list(&configuration["scrape_configs"]) else {
        panic!("one job in {configuration}");
    };
    let discovery = &job["dns_sd_configs"][0];
    assert_eq!(
        (&discovery["type"], &discovery["port"]),
        (&"A".into(), &8081.into())
    );
    let found: BTreeSet<String> = files::strings(&discovery["names"]).into_iter().collect();
    let services = files::services();
    let roles = services.iter().filter(|service| service.is_role());
    assert_eq!(found, roles.map(|role| role.name.clone()).collect());

    let compose = files::compose();
    let [secret] = &files::strings(&compose["services"]["prometheus"]["secrets"])[..] else {
        panic!("one secret");
    };
    let file = format!("/run/secrets/{secret}");
    assert_eq!(job["authorization"]["credentials_file"], file.as_str());
    assert_eq!(
        compose["secrets"][secret]["environment"],
        "SWARM_HEALTH_TOKEN"
    );
    for rules in files::strings(&configuration["rule_files"]) {
        text(&format!("deploy/prometheus/{rules}"));
    }
}
