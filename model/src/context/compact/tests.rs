use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::chat::ToolCall;

fn call(names: &[&str]) -> Message {
    let call = |(n, name): (usize, &&str)| ToolCall {
        id: Some(format!("call_{n}")),
        name: (*name).to_owned(),
        arguments: json!({"n": n}),
    };
    Message::assistant("").calling(names.iter().enumerate().map(call).collect())
}

fn result(name: &str, bytes: usize) -> Message {
    Message::tool(name, "call_0", "0123456789".repeat(bytes / 10))
}

fn tokens(messages: &[Message]) -> u64 {
    Calibration::default().estimate(Size::of(messages, &[]))
}

fn compacted(messages: &[Message], budget: u64) -> Compacted {
    compact(messages.to_vec(), budget, &Calibration::default()).unwrap()
}

/// System, task, two calls and an answer.
fn chat(first_result: usize, last_result: usize) -> Vec<Message> {
    vec![
        Message::system("You search."),
        Message::user("Find it."),
        call(&["search"]),
        result("search", first_result),
        Message::assistant("Not there. ".repeat(40)),
        call(&["fetch"]),
        result("fetch", last_result),
    ]
}

#[test]
fn what_fits_stays() {
    let chat = chat(1000, 1000);
    let budget = tokens(&chat);
    let expected = Compacted {
        messages: chat.clone(),
        notes: vec![],
    };
    assert_eq!(compacted(&chat, budget), expected);
    assert_ne!(compacted(&chat, budget - 1), expected);
}

#[test]
fn the_output_of_an_older_call_is_cut_first() {
    let whole = chat(20_000, 20_000);
    let mut expected = whole.clone();
    let text = &whole[3].content;
    expected[3].content = format!(
        "{}\n[17000 bytes were left out here]\n{}",
        &text[..2000],
        &text[19_000..]
    );
    let notes = vec![Note::Cut {
        at: 3,
        bytes: 17_000,
    }];
    let expected = Compacted {
        messages: expected,
        notes,
    };
    assert_eq!(compacted(&whole, 7000), expected);
}

#[test]
fn the_longest_output_is_cut_first_and_of_equal_ones_the_oldest() {
    let mut whole = chat(5000, 100);
    for bytes in [8000, 8000] {
        whole.splice(2..2, [call(&["read"]), result("read", bytes)]);
    }
    let cut = |budget| {
        let notes = compacted(&whole, budget).notes.into_iter();
        notes
            .map(|note| match note {
                Note::Cut { at, .. } => at,
                Note::LeftOut { messages } => panic!("{messages} left out"),
            })
            .collect::<Vec<_>>()
    };
    let all = tokens(&whole);
    assert_eq!(cut(all - 1), [3]);
    assert_eq!(cut(all - 2000), [3, 5]);
    assert_eq!(cut(all - 3000), [3, 5, 7]);
}

#[test]
fn then_the_oldest_turns_go() {
    let whole = chat(20_000, 2000);
    let summary = "[2 earlier messages were left out here to save room. Tools that were called in them: search 1x.]";
    let messages = [&whole[..2], &[Message::user(summary)], &whole[4..]].concat();
    let budget = tokens(&messages);
    let notes = vec![Note::LeftOut { messages: 2 }];
    assert_eq!(compacted(&whole, budget), Compacted { messages, notes });
}

#[test]
fn the_last_output_is_cut_when_nothing_else_helps() {
    let whole = chat(200, 60_000);
    let done = compacted(&whole, 2000);
    let mut expected = whole.clone();
    let text = &whole[6].content;
    expected[6].content = format!(
        "{}\n[57000 bytes were left out here]\n{}",
        &text[..2000],
        &text[59_000..]
    );
    let notes = vec![Note::Cut {
        at: 6,
        bytes: 57_000,
    }];
    assert_eq!(
        done,
        Compacted {
            messages: expected,
            notes
        }
    );
}

#[test]
fn what_has_to_stay_may_be_too_long() {
    let whole = vec![
        Message::system("s".repeat(3500)),
        Message::user("Find it."),
        Message::assistant("x"),
    ];
    let error = compact(whole, 500, &Calibration::default()).unwrap_err();
    assert_eq!(
        error,
        TooLong {
            needed: 1003 + 24,
            budget: 500
        }
    );
}

#[test]
fn the_middle_of_a_text_goes_between_characters() {
    let text = "é".repeat(200);
    let (short, bytes) = shortened(&text, 101, 51).unwrap();
    assert_eq!(bytes, 400 - 100 - 50);
    assert_eq!(
        short,
        format!(
            "{}\n[250 bytes were left out here]\n{}",
            "é".repeat(50),
            "é".repeat(25)
        )
    );
    assert_eq!(shortened(&text, 200, 100), None);
}

/// A well-formed chat.
fn any_chat() -> impl Strategy<Value = Vec<Message>> {
    let text = |most: usize| (0..most).prop_map(|bytes| "wörd ".repeat(bytes / 6));
    let calls = (1..4usize, prop::collection::vec(text(20_000), 3)).prop_map(|(count, texts)| {
        let names = ["a_tool", "b_tool", "c_tool"];
        let mut turn = vec![call(&names[..count])];
        let results = names.iter().zip(texts).take(count).enumerate();
        turn.extend(
            results.map(|(n, (name, text))| Message::tool(*name, format!("call_{n}"), text)),
        );
        turn
    });
    let turn = prop_oneof![
        calls,
        text(3000).prop_map(|text| vec![Message::assistant(text)]),
        text(3000).prop_map(|text| vec![Message::user(text)]),
    ];
    (text(2000), text(4000), prop::collection::vec(turn, 0..12)).prop_map(
        |(system, task, turns)| {
            let head = vec![Message::system(system), Message::user(task)];
            head.into_iter()
                .chain(turns.into_iter().flatten())
                .collect()
        },
    )
}

/// The calls of a chat, each with the tools that answer it.
fn pairs(messages: &[Message]) -> Vec<(Message, Vec<String>)> {
    let mut pairs: Vec<(Message, Vec<String>)> = Vec::new();
    for message in messages {
        if message.role == Role::Tool {
            let (_, results) = pairs.last_mut().expect("a result has its call");
            results.push(message.tool_name.clone().unwrap());
        } else {
            pairs.push((message.clone(), Vec::new()));
        }
    }
    pairs.retain(|(message, results)| !message.tool_calls.is_empty() || !results.is_empty());
    pairs
}

proptest! {
    #[test]
    fn a_chat_fits_or_it_is_said_that_it_cannot(whole in any_chat(), budget in 0..12_000u64) {
        match compact(whole.clone(), budget, &Calibration::default()) {
            Err(error) => {
                prop_assert!(error.needed > budget);
                prop_assert!(tokens(&whole) > budget);
            }
            Ok(Compacted { messages, notes }) => {
                prop_assert!(tokens(&messages) <= budget);
                prop_assert_eq!(notes.is_empty(), messages == whole);
                let again = Compacted { messages: messages.clone(), notes: vec![] };
                prop_assert_eq!(compacted(&messages, budget), again);
            }
        }
    }

    #[test]
    fn pairs_and_what_has_to_stay_stay(whole in any_chat(), budget in 0..12_000u64) {
        let Ok(Compacted { messages, notes }) = compact(whole.clone(), budget, &Calibration::default()) else {
            return Ok(());
        };
        prop_assert_eq!(&messages[..2], &whole[..2]);
        let (before, after) = (pairs(&whole), pairs(&messages));
        prop_assert_eq!(after.last(), before.last());
        prop_assert!(after.iter().all(|pair| before.contains(pair)), "{:?}", after);
        if whole.last().is_some_and(|last| last.role != Role::Tool) {
            prop_assert_eq!(messages.last(), whole.last());
        }
        let cut = notes.iter().filter(|note| matches!(note, Note::Cut { .. })).count();
        let left_out = notes.iter().map(|note| match note {
            Note::LeftOut { messages } => *messages,
            Note::Cut { .. } => 0,
        }).sum::<usize>();
        let same = messages.iter().filter(|message| whole.contains(message)).count();
        prop_assert_eq!(same + cut + usize::from(left_out > 0), messages.len());
        prop_assert_eq!(messages.len(), whole.len() - left_out + usize::from(left_out > 0));
    }
}
