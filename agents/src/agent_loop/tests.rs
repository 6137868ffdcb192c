use proptest::prelude::*;
use serde_json::{Value, json};
use swarm_model::{DoneReason, Role};
use swarm_protocol::journal::{ToolContent, ToolResult};
use swarm_protocol::{RunId, Timestamp, Version};

use super::*;

mod calls;
mod failures;
mod problems;
mod properties;
mod replay;

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
fn thinking_is_no_part_of_the_answer() {
    let mut agent = plain(1);
    hear(&mut agent, says("<think>\nHm.\n</think>\n\nSo."));
    assert_eq!(agent.step(), Step::Answer("So.".into()));
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
