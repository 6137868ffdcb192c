use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::probe::Probe;
use crate::repair::Change;

async fn run_in(input: Value, cancel: CancellationToken) -> (Outcome, u32) {
    let probe = Probe::named("probe");
    let tools = Toolset::new(vec![probe.clone() as Arc<dyn Tool>]).unwrap();
    let context = CallContext::new("run", "task", Duration::from_millis(1500), cancel);
    let outcome = invoke(&tools, &call("probe", input), context).await;
    (outcome, probe.ran.load(Ordering::Relaxed))
}

async fn run(input: Value) -> (Outcome, u32) {
    run_in(input, CancellationToken::new()).await
}

fn call(name: &str, input: Value) -> ToolCall {
    ToolCall {
        tool_use_id: "call_1".into(),
        name: name.into(),
        input,
    }
}

fn failed(failure: Failure, text: &str, elapsed_ms: u64) -> Outcome {
    Outcome {
        result: ToolResult {
            tool_use_id: "call_1".into(),
            status: ToolStatus::Error,
            content: vec![ToolContent::Text(text.into())],
        },
        repairs: vec![],
        elapsed: Duration::from_millis(elapsed_ms),
        failure: Some(failure),
    }
}

#[tokio::test(start_paused = true)]
async fn a_tool_runs_on_mended_arguments() {
    let (outcome, ran) = run(json!({"do": "answer", "n": "5"})).await;
    let expected = Outcome {
        result: ToolResult {
            tool_use_id: "call_1".into(),
            status: ToolStatus::Success,
            content: vec![ToolContent::Json(json!(["call_1", 5]))],
        },
        repairs: vec![Repair {
            at: "/n".into(),
            what: Change::Parsed,
        }],
        elapsed: Duration::ZERO,
        failure: None,
    };
    assert_eq!((outcome, ran), (expected, 1));
}

#[tokio::test(start_paused = true)]
async fn no_tool_runs_on_arguments_that_are_not_valid() {
    let (outcome, ran) = run(json!({"do": "answer", "n": "five"})).await;
    let ToolContent::Text(text) = &outcome.result.content[0] else {
        panic!("{outcome:?}")
    };
    let start = "probe was not run, because its arguments are wrong:\n- n: must be integer, but is \"five\"\n\
                 They must satisfy this JSON Schema: {";
    assert!(text.starts_with(start), "{text}");
    assert!(text.contains(r#""required":["do"]"#), "{text}");
    assert_eq!(outcome, failed(Failure::BadArguments, text, 0));
    assert_eq!(ran, 0);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_tool_is_answered_with_the_names() {
    let context = || {
        CallContext::new(
            "run",
            "task",
            Duration::from_secs(1),
            CancellationToken::new(),
        )
    };
    let tools = Toolset::new(vec![Probe::named("one"), Probe::named("two")]).unwrap();
    assert_eq!(
        invoke(&tools, &call("three", json!({})), context()).await,
        failed(
            Failure::UnknownTool,
            "There is no tool \"three\". The tools are: one, two.",
            0
        )
    );
    assert_eq!(
        invoke(&Toolset::default(), &call("three", json!({})), context()).await,
        failed(
            Failure::UnknownTool,
            "There is no tool \"three\", and no other. Answer without tools.",
            0
        )
    );
}

#[tokio::test(start_paused = true)]
async fn what_a_tool_says_is_passed_on() {
    let (outcome, _) = run(json!({"do": "refuse"})).await;
    assert_eq!(outcome, failed(Failure::Refused, "No weather there.", 0));
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_an_error() {
    for way in ["panic", "panic_at_once"] {
        let (outcome, ran) = run(json!({"do": way})).await;
        let text = "probe failed by a defect of its own. Do without it.";
        assert_eq!((outcome, ran), (failed(Failure::Panicked, text, 0), 1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_ends_at_its_deadline() {
    let (outcome, ran) = run(json!({"do": "hang"})).await;
    let text = "probe was not done within 1500 ms.";
    assert_eq!((outcome, ran), (failed(Failure::Deadline, text, 1500), 1));
}

#[tokio::test(start_paused = true)]
async fn a_call_ends_when_it_is_cancelled() {
    let text = "The call of probe was canceled.";
    let cancel = CancellationToken::new();
    let later = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        cancel.cancel();
    };
    let ((outcome, _), ()) = tokio::join!(run_in(json!({"do": "hang"}), cancel.clone()), later);
    assert_eq!(outcome, failed(Failure::Canceled, text, 200));
    let (outcome, ran) = run_in(json!({"do": "answer"}), cancel).await;
    assert_eq!((outcome, ran), (failed(Failure::Canceled, text, 0), 0));
}

#[tokio::test(start_paused = true)]
async fn a_large_result_is_cut() {
    let (outcome, _) = run(json!({"do": "flood"})).await;
    let expected = [
        ToolContent::Text("x".repeat(MAX_RESULT_BYTES)),
        ToolContent::Text("[34464 more bytes of this result were left out]".into()),
    ];
    assert_eq!(outcome.result.content, expected);
    assert_eq!(outcome.failure, None);
}
