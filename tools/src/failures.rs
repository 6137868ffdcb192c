//! The failures of small models that this crate has a measure against: each with it, and without it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};
use swarm_protocol::journal::{ToolCall, ToolContent};
use tokio_util::sync::CancellationToken;

use crate::measures::Measure;
use crate::probe::Probe;
use crate::{CallContext, Failure, Outcome, Tool, Toolset, invoke};

/// Why a call of a tool with these arguments has no success, and how often the tool ran.
fn call(name: &str, input: Value) -> (Outcome, u32) {
    let probe = Probe::named("probe");
    let tools = Toolset::new(vec![probe.clone() as Arc<dyn Tool>]).unwrap();
    let call = ToolCall {
        tool_use_id: "call_1".into(),
        name: name.into(),
        input,
    };
    // One thread, as a measure is off on one.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let outcome = runtime.block_on(async {
        let limit = Duration::from_secs(60);
        let context = CallContext::new("run", "task", limit, CancellationToken::new());
        invoke(&tools, &call, context).await
    });
    (outcome, probe.ran.load(Ordering::Relaxed))
}

#[test]
fn f3_arguments_as_small_models_write_them() {
    for input in [
        json!(r#"{"do": "answer", "n": 5}"#),
        json!({"name": "probe", "arguments": {"do": "answer"}}),
        json!({"do": "answer", "n": "5"}),
        json!({"do": "answer", "n": ""}),
    ] {
        let scenario = || {
            let (outcome, ran) = call("probe", input.clone());
            (outcome.failure, ran)
        };
        assert_eq!(scenario(), (None, 1), "{input}");
        let without = Measure::Repair.off(scenario);
        assert_eq!(without, (Some(Failure::BadArguments), 0), "{input}");
    }
}

#[test]
fn f4_a_tool_that_does_not_exist() {
    let scenario = || {
        let (outcome, ran) = call("prob", json!({"do": "answer"}));
        assert_eq!((outcome.failure, ran), (Some(Failure::UnknownTool), 0));
        outcome.result.content
    };
    let text = |text: &str| vec![ToolContent::Text(text.to_owned())];
    assert_eq!(
        scenario(),
        text("There is no tool \"prob\". The tools are: probe.")
    );
    assert_eq!(
        Measure::ValidNames.off(scenario),
        text("There is no tool \"prob\"."),
        "nothing that a model could mend its call by"
    );
}

#[test]
fn f12_arguments_that_the_schema_forbids() {
    let scenario = || {
        let (outcome, ran) = call("probe", json!({"do": "answer", "n": "five"}));
        (outcome.failure, ran)
    };
    assert_eq!(scenario(), (Some(Failure::BadArguments), 0));
    assert_eq!(Measure::CheckedArguments.off(scenario), (None, 1));
}

#[test]
fn f14_more_tools_than_a_small_model_can_choose_from() {
    let scenario = || {
        let names = ["mail", "sum", "clock", "weather", "news", "map", "notes"];
        let tools = names.map(|name| Probe::described(name, "A probe."));
        let tools = Toolset::new(tools.to_vec()).unwrap();
        let offered = tools.offers("What do the news say?");
        (
            offered.len(),
            offered.iter().any(|spec| spec.name() == "news"),
        )
    };
    assert_eq!(scenario(), (5, true));
    assert_eq!(Measure::FewTools.off(scenario), (7, true));
}
