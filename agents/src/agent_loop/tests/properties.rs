//! What holds whatever a model says.

use super::*;

/// What a model does in a turn of a generated history.
#[derive(Debug, Clone)]
enum Move {
    Say(&'static str),
    Cut(&'static str),
    Call(Vec<(Option<&'static str>, &'static str, u8)>),
    Error(u8),
}

fn moves() -> impl Strategy<Value = Vec<(Move, bool)>> {
    let texts = prop::sample::select(vec![
        "",
        "So.",
        "I'll use the sum tool.",
        "<think>Hm.",
        r#"{"action":"sum","arguments":{"a":1}}"#,
        r#"{"action":"final","answer":""}"#,
        r#"{"action":"final","answer":"So."}"#,
        r#"{"name":"sum","arguments":{"a":2}}"#,
        "{\"action\":",
    ]);
    let call = (
        prop::option::of(prop::sample::select(vec!["x", "y", ""])),
        prop::sample::select(vec!["sum", "clock", "none"]),
        0..3_u8,
    );
    let one = prop_oneof![
        1 => texts.clone().prop_map(Move::Say),
        1 => texts.prop_map(Move::Cut),
        3 => prop::collection::vec(call, 1..4).prop_map(Move::Call),
        1 => (0..4_u8).prop_map(Move::Error),
    ];
    prop::collection::vec((one, any::<bool>()), 40)
}

fn apply(agent: &mut AgentLoop, act: &Move) -> ModelTurn {
    match act {
        Move::Say(text) => hear(agent, says(text)),
        Move::Cut(text) => hear(
            agent,
            Completion {
                done_reason: DoneReason::Length,
                ..says(text)
            },
        ),
        Move::Call(named) => {
            let named: Vec<_> = named
                .iter()
                .map(|(id, name, a)| (*id, *name, json!({ "a": a })))
                .collect();
            hear(agent, calls(&named))
        }
        Move::Error(kind) => {
            let text = || "x".to_owned();
            let error = match kind {
                0 => ChatError::ToolParse { message: text() },
                1 => ChatError::Looping { excerpt: text() },
                2 => ChatError::ToolsUnsupported { model: text() },
                _ => ChatError::Truncated {
                    expected: 9,
                    evaluated: 1,
                },
            };
            fail(agent, &error)
        }
    }
}

/// Every result in a request follows the call that it answers.
fn check_pairs(request: &ChatRequest) {
    let mut open: Vec<&str> = Vec::new();
    for message in &request.messages {
        if message.role == Role::Tool {
            let id = message.tool_call_id.as_deref().unwrap();
            assert!(open.contains(&id), "{:?}", request.messages);
            open.retain(|call| *call != id);
        } else {
            assert!(open.is_empty(), "{:?}", request.messages);
            open = message
                .tool_calls
                .iter()
                .filter_map(|call| call.id.as_deref())
                .collect();
        }
    }
    assert!(open.is_empty(), "{:?}", request.messages);
}

proptest! {
    /// Whatever a model does: the loop ends within its bound, a chat never has an orphan, and a replay comes to the same.
    #[test]
    fn the_loop_ends_and_replays(
        native in any::<bool>(),
        tools in any::<bool>(),
        max_iterations in 1..5_u32,
        moves in moves(),
    ) {
        let work = work(None, Budget::default());
        let new = || AgentLoop::new(
            settings(max_iterations),
            facts(native),
            if tools { offers() } else { Vec::new() },
            &work,
        );
        let (mut live, mut replayed) = (new(), new());
        let mut moves = moves.into_iter();
        let mut calls_of_the_model = 0;
        loop {
            match live.step() {
                Step::Ask(request) => {
                    prop_assert!(request.tools.is_empty() || request.format.is_none());
                    check_pairs(&request);
                    let (act, _) = moves.next().expect("the loop ends before 40 turns");
                    let turn = apply(&mut live, &act);
                    calls_of_the_model += turn.usage.model_calls;
                    replayed.take(&turn);
                }
                Step::Call(open) => {
                    let succeeds = moves.next().is_some_and(|(_, succeeds)| succeeds);
                    let status = if succeeds { ToolStatus::Success } else { ToolStatus::Error };
                    for call in open.iter().rev() {
                        let result = live.known(call).unwrap_or_else(|| ToolReturn {
                            result: ToolResult {
                                tool_use_id: call.tool_use_id.clone(),
                                status,
                                content: vec![ToolContent::Text("r".into())],
                            },
                            name: call.name.clone(),
                            repairs: Vec::new(),
                            repeated: false,
                            elapsed_ms: 1,
                        });
                        live.take_result(&result);
                        replayed.take_result(&result);
                    }
                }
                Step::Answer(text) => {
                    prop_assert!(!text.trim().is_empty());
                    break;
                }
                Step::Fail(_) => break,
            }
            prop_assert_eq!(&live, &replayed);
            let written = serde_json::to_string(&live).unwrap();
            prop_assert_eq!(&live, &serde_json::from_str::<AgentLoop>(&written).unwrap());
        }
        prop_assert!(calls_of_the_model <= u64::from(max_iterations) + 1);
        prop_assert!(live.is_over() || matches!(live.step(), Step::Fail(_)));
    }
}
