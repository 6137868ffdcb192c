use proptest::prelude::*;
use serde_json::{Value, json};
use swarm_model::{DoneReason, Role};
use swarm_protocol::journal::{ToolContent, ToolResult};
use swarm_protocol::{RunId, Timestamp, Version};

use super::*;

mod failures;

fn work(context: Option<&str>, budget: Budget) -> Work {
    Work {
        v: Version,
        run: RunId::random(),
        task: "t".parse().unwrap(),
        attempt: 1,
        agent: "a".parse().unwrap(),
        input: " Why? ".into(),
        context: context.map(str::to_owned),
        context_ref: None,
        budget,
        deadline: Timestamp::from_millis(0),
        decisions: std::collections::BTreeMap::new(),
        messages: Vec::new(),
    }
}

fn settings(max_iterations: u32) -> Settings {
    Settings {
        prompt: "You are.\n".into(),
        model: "m".into(),
        max_iterations,
        num_predict: 900,
        tool_mode: None,
    }
}

fn facts(tools: bool) -> ModelFacts {
    ModelFacts {
        tools,
        thinking: true,
        window: 8192,
        ..ModelFacts::default()
    }
}

fn offers() -> Vec<ToolOffer> {
    ["sum", "clock"]
        .map(|name| ToolOffer {
            name: name.into(),
            description: format!("The {name}."),
            parameters: json!({"type": "object"}),
        })
        .to_vec()
}

fn plain(max_iterations: u32) -> AgentLoop {
    let work = work(None, Budget::default());
    AgentLoop::new(settings(max_iterations), facts(true), Vec::new(), &work)
}

/// A loop with tools, for a model that takes them or not.
fn with_tools(native: bool, max_iterations: u32) -> AgentLoop {
    let work = work(None, Budget::default());
    AgentLoop::new(settings(max_iterations), facts(native), offers(), &work)
}

fn says(text: &str) -> Completion {
    Completion {
        text: text.into(),
        thinking: String::new(),
        tool_calls: Vec::new(),
        done_reason: DoneReason::Stop,
        input_tokens: 3,
        output_tokens: 4,
        simulated: true,
    }
}

fn calls(named: &[(Option<&str>, &str, Value)]) -> Completion {
    let tool_calls = named
        .iter()
        .map(|(id, name, arguments)| swarm_model::ToolCall {
            id: id.map(str::to_owned),
            name: (*name).into(),
            arguments: arguments.clone(),
        })
        .collect();
    Completion {
        tool_calls,
        ..says("")
    }
}

fn call(name: &str, arguments: Value) -> Completion {
    calls(&[(None, name, arguments)])
}

/// Gives the loop an answer of its model; the turn as it is recorded.
fn hear(agent: &mut AgentLoop, completion: Completion) -> ModelTurn {
    let turn = agent.read(completion, 10);
    agent.take(&turn);
    turn
}

fn fail(agent: &mut AgentLoop, error: &ChatError) -> ModelTurn {
    let turn = agent.read_error(error, 10).unwrap();
    agent.take(&turn);
    turn
}

/// Answers all open calls with this text, from what is known when the loop knows it; how many were run.
fn answer_calls(agent: &mut AgentLoop, status: ToolStatus, text: &str) -> usize {
    let Step::Call(open) = agent.step() else {
        panic!("{:?}", agent.step())
    };
    let mut run = 0;
    for call in open {
        let result = agent.known(&call).unwrap_or_else(|| {
            run += 1;
            ToolReturn {
                result: ToolResult {
                    tool_use_id: call.tool_use_id.clone(),
                    status,
                    content: vec![ToolContent::Text(text.to_owned())],
                },
                name: call.name.clone(),
                repairs: Vec::new(),
                repeated: false,
                elapsed_ms: 1,
            }
        });
        agent.take_result(&result);
    }
    run
}

fn asked(agent: &AgentLoop) -> ChatRequest {
    match agent.step() {
        Step::Ask(request) => *request,
        other => panic!("{other:?}"),
    }
}

fn failed(agent: &AgentLoop) -> ErrorBody {
    match agent.step() {
        Step::Fail(error) => error,
        other => panic!("{other:?}"),
    }
}

fn last_said(agent: &AgentLoop) -> String {
    asked(agent).messages.last().unwrap().content.clone()
}

#[test]
fn one_turn_answers() {
    let work = work(Some("Because."), Budget::default());
    let mut agent = AgentLoop::new(settings(2), facts(true), Vec::new(), &work);
    let messages = vec![
        Message::system("You are."),
        Message::user("Why?\n\n# Context\n\nBecause."),
    ];
    assert_eq!(asked(&agent), ChatRequest::new("m", messages, 900));
    hear(&mut agent, says(" So. "));
    assert_eq!(agent.step(), Step::Answer("So.".into()));
    assert_eq!(
        (
            agent.usage().model_calls,
            agent.elapsed_ms(),
            agent.simulated()
        ),
        (1, 10, true)
    );
}

#[test]
fn the_mode_is_what_the_model_can_do_unless_it_is_chosen() {
    let of = |mode, native, tools| {
        let settings = Settings {
            tool_mode: mode,
            ..settings(2)
        };
        AgentLoop::new(
            settings,
            facts(native),
            tools,
            &work(None, Budget::default()),
        )
        .mode
    };
    assert_eq!(of(None, true, offers()), ToolMode::Native);
    assert_eq!(of(None, false, offers()), ToolMode::Structured);
    assert_eq!(of(None, true, Vec::new()), ToolMode::Plain);
    for mode in [ToolMode::Native, ToolMode::Structured, ToolMode::Plain] {
        assert_eq!(of(Some(mode), true, offers()), mode);
    }
    assert_eq!(
        of(Some(ToolMode::Native), true, Vec::new()),
        ToolMode::Plain
    );
}

#[test]
fn a_native_call_and_its_result_go_back_as_the_api_has_them() {
    let mut agent = with_tools(true, 3);
    let request = asked(&agent);
    assert_eq!((request.tools.len(), request.format), (2, None));
    let turn = hear(&mut agent, call("sum", json!({"a": 1})));
    assert_eq!(turn.mode, Some(ToolMode::Native));
    assert_eq!(answer_calls(&mut agent, ToolStatus::Success, "2"), 1);
    let messages = asked(&agent).messages;
    let [_, _, said, result] = messages.as_slice() else {
        panic!("{messages:?}")
    };
    assert_eq!(said.tool_calls[0].name, "sum");
    assert_eq!(said.tool_calls[0].id, result.tool_call_id);
    assert_eq!(
        (result.tool_name.as_deref(), result.content.as_str()),
        (Some("sum"), "2")
    );
    hear(&mut agent, says("Two."));
    assert_eq!(agent.step(), Step::Answer("Two.".into()));
    assert_eq!(agent.usage().tool_calls, 1);
}

#[test]
fn a_structured_call_is_json_with_a_format_and_no_tools() {
    let mut agent = with_tools(false, 3);
    let request = asked(&agent);
    assert!(request.tools.is_empty() && request.format.is_some());
    assert_eq!(request.think, Some(false));
    assert!(request.messages[0].content.contains("- sum: The sum."));
    assert!(!agent.streams_text());
    hear(&mut agent, says(r#"{"action":"sum","arguments":{"a":1}}"#));
    answer_calls(&mut agent, ToolStatus::Success, "2");
    let messages = asked(&agent).messages;
    assert!(messages.iter().all(|message| message.tool_calls.is_empty()));
    assert!(messages.iter().all(|message| message.role != Role::Tool));
    assert_eq!(last_said(&agent), "Tool sum returned: 2");
    hear(&mut agent, says(r#"{"action":"final","answer":"Two."}"#));
    assert_eq!(agent.step(), Step::Answer("Two.".into()));
}

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

/// F: an empty answer, and thinking without an answer.
#[test]
fn an_empty_answer_is_asked_for_again_and_then_fails() {
    let mut agent = plain(2);
    let turn = hear(&mut agent, says("  "));
    assert_eq!(turn.problem, Some(TurnProblem::Empty));
    assert!(last_said(&agent).starts_with("Your answer was empty."));
    let thought = Completion {
        thinking: "Hm.".into(),
        ..says("")
    };
    let turn = agent.read(thought, 1);
    assert_eq!(turn.problem, Some(TurnProblem::OnlyThinking));
    assert_eq!(
        asked(&agent).think,
        Some(false),
        "a model that thinks, stops it"
    );
    hear(&mut agent, says("<think>Hm."));
    assert_eq!(failed(&agent).code, "SW-MODEL-EMPTY");
}

#[test]
fn thinking_is_no_part_of_the_answer() {
    let mut agent = plain(1);
    hear(&mut agent, says("<think>\nHm.\n</think>\n\nSo."));
    assert_eq!(agent.step(), Step::Answer("So.".into()));
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
fn two_unreadable_calls_make_a_native_model_a_structured_one() {
    let mut agent = with_tools(true, 9);
    let error = ChatError::ToolParse {
        message: "x".into(),
    };
    fail(&mut agent, &error);
    assert_eq!(asked(&agent).tools.len(), 2);
    // A host that swallows what it cannot read: tokens, and no text.
    hear(&mut agent, says(""));
    let request = asked(&agent);
    assert!(request.format.is_some() && request.tools.is_empty());
    // What cannot be read in this mode either ends the use of tools.
    hear(&mut agent, says("Hm?"));
    hear(&mut agent, says("Hm?"));
    let request = asked(&agent);
    assert!(request.format.is_none() && request.tools.is_empty());
    assert!(last_said(&agent).starts_with("Your tool calls could not be read."));
}

#[test]
fn a_chosen_mode_is_kept() {
    let settings = Settings {
        tool_mode: Some(ToolMode::Native),
        ..settings(9)
    };
    let mut agent = AgentLoop::new(
        settings,
        facts(true),
        offers(),
        &work(None, Budget::default()),
    );
    for _ in 0..3 {
        hear(&mut agent, says(""));
        assert_eq!(asked(&agent).tools.len(), 2);
    }
    hear(&mut agent, says(""));
    assert!(asked(&agent).tools.is_empty());
}

#[test]
fn a_host_that_refuses_tools_makes_the_model_a_structured_one_at_no_cost() {
    let mut agent = with_tools(true, 2);
    let error = ChatError::ToolsUnsupported { model: "m".into() };
    fail(&mut agent, &error);
    assert!(asked(&agent).format.is_some());
    assert_eq!(agent.usage().model_calls, 0);
}

#[test]
fn an_announced_call_is_asked_for() {
    let mut agent = with_tools(true, 5);
    hear(&mut agent, says("I'll use the sum tool."));
    assert!(last_said(&agent).starts_with("You said that you would call a tool"));
}

#[test]
fn a_cut_answer_is_asked_for_once_more_and_then_taken_as_it_is() {
    let cut = || Completion {
        done_reason: DoneReason::Length,
        ..says("A beginning")
    };
    let mut agent = plain(3);
    hear(&mut agent, cut());
    assert!(last_said(&agent).contains("cut off at 900 tokens"));
    hear(&mut agent, cut());
    let answer = "A beginning…\n\n(cut off at 900 tokens)".to_owned();
    assert_eq!(agent.step(), Step::Answer(answer.clone()));

    let mut agent = plain(1);
    hear(&mut agent, cut());
    assert_eq!(agent.step(), Step::Answer(answer), "there is no other turn");
}

#[test]
fn a_model_that_repeats_itself_gets_one_more_chance() {
    let looping = ChatError::Looping {
        excerpt: "x".into(),
    };
    let mut agent = plain(5);
    fail(&mut agent, &looping);
    assert!(last_said(&agent).starts_with("You repeated yourself"));
    fail(&mut agent, &looping);
    assert_eq!(failed(&agent).code, "SW-MODEL-LOOPING");
}

#[test]
fn a_model_that_always_calls_the_same_ends_within_its_turns_by_name() {
    for native in [true, false] {
        let mut agent = with_tools(native, 5);
        let (mut turns, mut run) = (0, 0);
        while let Step::Ask(request) = agent.step() {
            turns += 1;
            let completion = match (native, request.format.is_some()) {
                (_, true) => says(r#"{"action":"sum","arguments":{"a":1}}"#),
                (true, _) if !request.tools.is_empty() => call("sum", json!({"a": 1})),
                _ => says(r#"{"name":"sum","arguments":{"a":1}}"#),
            };
            hear(&mut agent, completion);
            if matches!(agent.step(), Step::Call(_)) {
                run += answer_calls(&mut agent, ToolStatus::Success, "2");
            }
        }
        let error = failed(&agent);
        assert_eq!(error.code, "SW-AGENT-ITERATIONS");
        assert!(
            error
                .message
                .contains("the same tool with the same arguments"),
            "{error}"
        );
        assert!(turns <= 6, "{turns} turns");
        assert_eq!(run, 1, "what is known is not run again");
    }
}

#[test]
fn the_turn_after_the_last_one_with_tools_has_to_answer() {
    let mut agent = with_tools(true, 2);
    for n in 0..2 {
        hear(&mut agent, call("sum", json!({"a": n})));
        answer_calls(&mut agent, ToolStatus::Success, "2");
    }
    let request = asked(&agent);
    assert!(request.tools.is_empty() && request.format.is_none());
    assert!(last_said(&agent).starts_with("You have used all your tool calls."));
    assert!(agent.streams_text());
    hear(&mut agent, says("Two."));
    assert_eq!(agent.step(), Step::Answer("Two.".into()));
    assert_eq!(agent.usage().model_calls, 3);
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

#[test]
fn budgets_end_the_loop_by_name_and_keep_what_there_is() {
    let of = |budget| {
        let mut agent = AgentLoop::new(settings(9), facts(true), offers(), &work(None, budget));
        hear(
            &mut agent,
            Completion {
                text: "First of all:".into(),
                ..call("sum", json!({"a": 1}))
            },
        );
        if matches!(agent.step(), Step::Call(_)) {
            answer_calls(&mut agent, ToolStatus::Success, "2");
            if agent.is_over() {
                return agent;
            }
            hear(&mut agent, call("sum", json!({"a": 2})));
        }
        agent
    };
    for (budget, what) in [
        (
            Budget {
                model_calls: Some(1),
                ..Budget::default()
            },
            "the budget of 1 model calls is used up",
        ),
        (
            Budget {
                tool_calls: Some(1),
                ..Budget::default()
            },
            "the budget of 1 tool calls is used up",
        ),
        (
            Budget {
                tokens: Some(7),
                ..Budget::default()
            },
            "the budget of 7 tokens is used up",
        ),
    ] {
        let agent = of(budget);
        let error = failed(&agent);
        assert_eq!(
            (error.code.as_str(), error.message.as_str()),
            ("SW-BUDGET", what)
        );
        assert_eq!(agent.partial(), Some("First of all:"));
        assert!(agent.is_over());
    }
    let roomy = Budget {
        model_calls: Some(2),
        tool_calls: Some(2),
        tokens: Some(100),
        ..Budget::default()
    };
    assert!(matches!(of(roomy).step(), Step::Call(_)));
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

#[test]
fn a_long_result_is_cut_to_the_window() {
    let facts = ModelFacts {
        window: 1024,
        ..facts(true)
    };
    let settings = Settings {
        num_predict: 256,
        ..settings(5)
    };
    let mut agent = AgentLoop::new(settings, facts, offers(), &work(None, Budget::default()));
    hear(&mut agent, call("sum", json!({"a": 1})));
    answer_calls(
        &mut agent,
        ToolStatus::Success,
        &"lorem ipsum ".repeat(2000),
    );
    let length = |agent: &AgentLoop| -> usize {
        let messages = asked(agent).messages;
        messages.iter().map(|message| message.content.len()).sum()
    };
    let before = length(&agent);
    assert!(before < 3 * 1024, "{before}");
    // A host that counts otherwise has the last word.
    let error = ChatError::ContextTooLong {
        prompt: None,
        window: None,
        message: "x".into(),
    };
    fail(&mut agent, &error);
    fail(&mut agent, &error);
    assert!(length(&agent) < before);
    fail(&mut agent, &error);
    assert_eq!(failed(&agent).code, "SW-MODEL-CONTEXT");
}

#[test]
fn a_task_that_does_not_fit_fails_by_name() {
    let facts = ModelFacts {
        window: 512,
        ..facts(true)
    };
    let work = Work {
        input: "word ".repeat(2000),
        ..work(None, Budget::default())
    };
    let agent = AgentLoop::new(settings(2), facts, Vec::new(), &work);
    assert_eq!(failed(&agent).code, "SW-MODEL-CONTEXT");
}

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
