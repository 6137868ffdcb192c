//! Turns that are no answer and call nothing.

use super::*;

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
