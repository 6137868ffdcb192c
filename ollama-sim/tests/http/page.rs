//! The README: its rules and plans are taken, and it names what there is.

use serde_json::{Value, json};

use crate::support::{Sim, ask, program};
use crate::tools::{after_the_call, offering};

const PAGE: &str = include_str!("../../README.md");

/// The blocks of YAML, in order.
fn blocks() -> Vec<&'static str> {
    let after = PAGE.split("```yaml\n").skip(1);
    after
        .map(|rest| rest.split_once("```").unwrap().0)
        .collect()
}

#[tokio::test]
async fn its_rules_are_followed() {
    let sim = Sim::start(&[]).await;
    sim.put("/sim/rules", blocks()[0]).await;
    let result = json!({"role": "tool", "content": "rain"});
    let answer = after_the_call(&sim, "The weather in Oslo?", result).await;
    let text = "The tool get_weather says rain for: The weather in Oslo?";
    assert_eq!(answer, text);
    let tagged = sim.whole(&offering("Hm")).await.1;
    let text = tagged["message"]["content"].as_str().unwrap();
    assert!(text.starts_with("<tool_call>"), "{text}");
    let error = "model runner has unexpectedly stopped";
    assert_eq!(sim.error(&ask("break")).await, (500, error.to_owned()));
    assert_eq!(sim.whole(&ask("break")).await.0, 200);
}

#[tokio::test]
async fn its_plans_are_taken() {
    let sim = Sim::start(&[]).await;
    sim.put("/sim/faults", blocks()[1]).await;
    let listing: Value = sim.told("/sim/faults").await;
    assert_eq!(listing["faults"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn every_fault_that_it_names_is_known() {
    let sim = Sim::start(&[]).await;
    let table = PAGE
        .split("## Faults")
        .nth(1)
        .unwrap()
        .split("## The control")
        .next()
        .unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| ")).skip(1);
    let mut names: Vec<&str> = rows
        .flat_map(|row| row.split('`').skip(1).step_by(2))
        .collect();
    let dialects = ["bare", "fenced", "function", "tagged", "pythonic"];
    names.retain(|name| !dialects.contains(name));
    assert_eq!(names.len(), 43);
    for name in names {
        sim.put("/sim/faults", format!("[{{fault: {name}}}]")).await;
    }
}

#[test]
fn every_option_that_it_names_is_known() {
    let help = String::from_utf8(program(&["--help"]).output().unwrap().stdout).unwrap();
    let named = PAGE
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|code| code.starts_with("--"));
    let options = named.filter_map(|code| code.split(' ').next());
    let unknown: Vec<_> = options.filter(|option| !help.contains(option)).collect();
    assert_eq!(unknown, [""; 0]);
}
