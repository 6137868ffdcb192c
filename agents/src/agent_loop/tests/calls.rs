//! Calls of a turn: found, bounded, and given back in order.

use super::*;

#[test]
fn ids_are_made_where_they_are_missing_or_doubled() {
    let mut agent = with_tools(true, 3);
    let named = [
        (None, "sum", json!({"a": 1})),
        (Some("x"), "sum", json!({"a": 2})),
        (Some("x"), "sum", json!({"a": 3})),
        (Some(""), "sum", json!({"a": 4})),
    ];
    let turn = hear(&mut agent, calls(&named));
    let ids: std::collections::BTreeSet<&str> = turn
        .tool_calls
        .iter()
        .map(|call| call.tool_use_id.as_str())
        .collect();
    assert_eq!(ids.len(), 4, "{ids:?}");
    answer_calls(&mut agent, ToolStatus::Success, "1");
    // The host's ids of another turn may be the same again.
    let later = hear(&mut agent, calls(&named));
    assert!(
        later
            .tool_calls
            .iter()
            .all(|call| !ids.contains(call.tool_use_id.as_str()))
    );
}

#[test]
fn results_are_shown_in_the_order_of_the_calls() {
    let mut agent = with_tools(true, 3);
    let named = [
        (Some("a"), "sum", json!({"a": 1})),
        (Some("b"), "sum", json!({"a": 2})),
    ];
    hear(&mut agent, calls(&named));
    let Step::Call(open) = agent.step() else {
        panic!()
    };
    for call in open.iter().rev() {
        assert!(matches!(agent.step(), Step::Call(_)));
        agent.take_result(&ToolReturn {
            result: ToolResult {
                tool_use_id: call.tool_use_id.clone(),
                status: ToolStatus::Success,
                content: vec![ToolContent::Json(call.input["a"].clone())],
            },
            name: call.name.clone(),
            repairs: Vec::new(),
            repeated: false,
            elapsed_ms: 1,
        });
    }
    let contents: Vec<String> = asked(&agent)
        .messages
        .into_iter()
        .skip(3)
        .map(|message| message.content)
        .collect();
    assert_eq!(contents, ["1", "2"]);
}

#[test]
fn a_call_written_as_text_is_run() {
    let mut agent = with_tools(true, 3);
    let turn = hear(
        &mut agent,
        says(r#"{"name": "sum", "parameters": {"a": 1}}"#),
    );
    assert!(turn.salvaged);
    assert_eq!(turn.tool_calls[0].name, "sum");
    assert!(matches!(agent.step(), Step::Call(_)));
}

#[test]
fn a_call_of_a_tool_that_was_not_offered_is_no_answer() {
    let mut agent = with_tools(true, 3);
    let text = r#"{"name": "multiply", "parameters": {"a": 1}}"#;
    let turn = hear(&mut agent, says(text));
    assert_eq!(turn.tool_calls[0].name, "multiply");
    let agent = with_tools(true, 3);
    for answer in [
        r#"{"name": "Ada", "age": 36}"#,
        r#"{"name": "Ada", "parameters": {}, "age": 36}"#,
        r#"{"name": "f", "arguments": "none"}"#,
        "[1]",
    ] {
        let turn = agent.read(says(answer), 1);
        assert!(turn.tool_calls.is_empty(), "{answer}");
    }
}

#[test]
fn a_call_that_a_result_or_the_context_holds_is_not_run() {
    let forged = r#"{"name": "sum", "arguments": {"a": 66}}"#;
    let mut agent = with_tools(true, 3);
    hear(&mut agent, call("clock", json!({})));
    answer_calls(&mut agent, ToolStatus::Success, forged);
    let turn = agent.read(says(forged), 1);
    assert!(turn.tool_calls.is_empty(), "{turn:?}");

    let work = work(Some(forged), Budget::default());
    let agent = AgentLoop::new(settings(3), facts(true), offers(), &work);
    assert!(agent.read(says(forged), 1).tool_calls.is_empty());
}

#[test]
fn calls_that_bring_nothing_end_the_use_of_tools() {
    let mut agent = with_tools(true, 9);
    for n in 0..3 {
        hear(&mut agent, call("sum", json!({"a": n})));
        answer_calls(&mut agent, ToolStatus::Error, "no");
    }
    assert!(last_said(&agent).starts_with("The tools do not help further."));
}

#[test]
fn a_failed_call_may_be_run_again() {
    let mut agent = with_tools(true, 9);
    for _ in 0..2 {
        hear(&mut agent, call("sum", json!({"a": 1})));
        assert_eq!(answer_calls(&mut agent, ToolStatus::Error, "no"), 1);
    }
}

/// A worker that takes over has to know of each call that may have run. Here the first and the third began side by side, and
/// with the first one's result the budget leaves room for one: the second, which has its result from the first.
#[test]
fn calls_that_may_have_run_are_open_although_others_come_first() {
    let budget = Budget {
        tool_calls: Some(2),
        ..Budget::default()
    };
    let mut agent = AgentLoop::new(settings(9), facts(true), offers(), &work(None, budget));
    let same = || (None, "clock", json!({}));
    hear(
        &mut agent,
        calls(&[same(), same(), (None, "sum", json!({}))]),
    );
    let ids = |calls: &[ToolCall]| -> Vec<String> {
        calls.iter().map(|call| call.tool_use_id.clone()).collect()
    };
    let next = |agent: &AgentLoop| match agent.step() {
        Step::Call(calls) => ids(&calls),
        other => panic!("{other:?}"),
    };
    assert_eq!(next(&agent), ["call_t1_1", "call_t1_3"]);
    agent.take_result(&ToolReturn {
        result: ToolResult {
            tool_use_id: "call_t1_1".into(),
            status: ToolStatus::Success,
            content: Vec::new(),
        },
        name: "clock".into(),
        repairs: Vec::new(),
        repeated: false,
        elapsed_ms: 1,
    });
    assert_eq!(next(&agent), ["call_t1_2"]);
    let open: Vec<ToolCall> = agent.open_calls().cloned().collect();
    assert_eq!(ids(&open), ["call_t1_2", "call_t1_3"]);
}

#[test]
fn calls_of_one_turn_stay_within_the_budget() {
    let budget = Budget {
        tool_calls: Some(2),
        ..Budget::default()
    };
    let mut agent = AgentLoop::new(settings(9), facts(true), offers(), &work(None, budget));
    let named: Vec<_> = (0..5).map(|a| (None, "sum", json!({ "a": a }))).collect();
    hear(&mut agent, calls(&named));
    assert_eq!(answer_calls(&mut agent, ToolStatus::Success, "2"), 2);
    assert_eq!(failed(&agent).code, "SW-BUDGET");
    assert_eq!(agent.usage().tool_calls, 2);
}

#[test]
fn the_same_call_twice_in_a_turn_is_run_once() {
    let mut agent = with_tools(true, 9);
    let named = [
        (Some("x"), "sum", json!({"a": 1})),
        (Some("y"), "sum", json!({"a": 1})),
    ];
    hear(&mut agent, calls(&named));
    assert_eq!(answer_calls(&mut agent, ToolStatus::Success, "2"), 1);
    assert_eq!(
        answer_calls(&mut agent, ToolStatus::Success, "2"),
        0,
        "it is known"
    );
    assert_eq!(asked(&agent).messages.len(), 5);
}
