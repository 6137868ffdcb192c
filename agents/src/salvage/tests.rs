use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const OFFERED: [&str; 3] = ["get_weather", "search", "now"];

fn salvage_with(answer: &str, read: &[&str]) -> Salvaged {
    let order = Form::order_of("llama3.2:3b");
    let salvage = Salvage {
        offered: &OFFERED,
        order: &order,
        read,
    };
    salvage.calls(answer)
}

fn call(name: &str, arguments: Value) -> ToolCall {
    ToolCall {
        id: None,
        name: name.to_owned(),
        arguments,
    }
}

#[track_caller]
fn finds(answer: &str, calls: Vec<ToolCall>, text: &str) {
    let expected = Salvaged {
        calls,
        text: text.to_owned(),
    };
    assert_eq!(salvage_with(answer, &[]), expected, "{answer}");
}

#[track_caller]
fn leaves(answer: &str) {
    finds(answer, vec![], answer);
}

fn paris() -> Vec<ToolCall> {
    vec![call("get_weather", json!({"city": "Paris"}))]
}

#[test]
fn json() {
    for answer in [
        r#"{"name": "get_weather", "parameters": {"city": "Paris"}}"#,
        r#"{"name": "get_weather", "arguments": {"city": "Paris"}};"#,
        r#" {"tool": "get_weather", "args": {"city": "Paris"}} "#,
        r#"{"id": "1", "name": "get_weather", "input": {"city": "Paris"}}"#,
        r#"{"type": "function", "function": {"name": "get_weather", "arguments": {"city": "Paris"}}}"#,
        r#"{"type": "function", "name": "get_weather", "parameters": {"city": "Paris"}}"#,
        r#"[{"name": "get_weather", "parameters": {"city": "Paris"}}]"#,
        r#"{"tool_calls": [{"function": {"name": "get_weather", "arguments": {"city": "Paris"}}}]}"#,
        r#"<|python_tag|>{"name": "get_weather", "parameters": {"city": "Paris"}}"#,
        r#"[TOOL_CALLS] [{"name": "get_weather", "arguments": {"city": "Paris"}}]"#,
    ] {
        finds(answer, paris(), "");
    }
    let as_text = r#"{"name": "get_weather", "arguments": "{\"city\": \"Paris\"}"}"#;
    finds(
        as_text,
        vec![call("get_weather", json!("{\"city\": \"Paris\"}"))],
        "",
    );
    finds(
        r#"{"name": "now", "arguments": null}"#,
        vec![call("now", json!({}))],
        "",
    );
}

#[test]
fn several_in_a_row() {
    let two = vec![call("search", json!({"q": "a"})), call("now", json!({}))];
    for answer in [
        "{\"name\": \"search\", \"parameters\": {\"q\": \"a\"}}\n{\"name\": \"now\", \"parameters\": {}}",
        "{\"name\": \"search\", \"parameters\": {\"q\": \"a\"}}; {\"name\": \"now\", \"parameters\": {}}",
        "[{\"name\": \"search\", \"parameters\": {\"q\": \"a\"}}, {\"name\": \"now\", \"parameters\": {}}]",
        "<tool_call>{\"name\": \"search\", \"arguments\": {\"q\": \"a\"}}</tool_call>\n<tool_call>{\"name\": \"now\", \"arguments\": {}}</tool_call>",
        "```json\n{\"name\": \"search\", \"parameters\": {\"q\": \"a\"}}\n```\n\n```json\n{\"name\": \"now\", \"parameters\": {}}\n```",
        "<function=search>{\"q\": \"a\"}</function><function=now></function>",
        "[search(q=\"a\"), now()]",
        "search(q='a')\nnow()",
    ] {
        finds(answer, two.clone(), "");
    }
}

#[test]
fn fences_and_tags() {
    for answer in [
        "```json\n{\"name\": \"get_weather\", \"parameters\": {\"city\": \"Paris\"}}\n```",
        "```\n{\"name\": \"get_weather\", \"parameters\": {\"city\": \"Paris\"}}",
        "```tool_code\nget_weather(city=\"Paris\")\n```",
        "<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Paris\"}}\n</tool_call>",
        "<tool_call>{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Paris\"}}",
        "<tool_call>\n<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n</function>\n</tool_call>",
        "<function=get_weather>{\"city\": \"Paris\"}</function>",
        "<function=get_weather>{\"city\": \"Paris\"}",
    ] {
        finds(answer, paris(), "");
    }
}

#[test]
fn python() {
    for answer in [
        "[get_weather(city=\"Paris\")]",
        "get_weather(city=\"Paris\")",
        "get_weather( city = 'Paris', )",
        "<|python_tag|>get_weather(city=\"\"\"Paris\"\"\")",
    ] {
        finds(answer, paris(), "");
    }
    finds(
        r#"search(q="a \"b\" \u00e9\n'c'", n=-3, x=1.5e2, deep=True, none=None, list=[1, 'b', {"k": [False]}], empty=[])"#,
        vec![call(
            "search",
            json!({
                "q": "a \"b\" é\n'c'", "n": -3, "x": 150.0, "deep": true, "none": null, "list": [1, "b", {"k": [false]}],
                "empty": [],
            }),
        )],
        "",
    );
}

#[test]
fn a_few_words_around_are_text() {
    finds(
        "I will look that up:\n\n```json\n{\"name\": \"get_weather\", \"parameters\": {\"city\": \"Paris\"}}\n```\n",
        paris(),
        "I will look that up:",
    );
    finds(
        "{\"name\": \"get_weather\", \"parameters\": {\"city\": \"Paris\"}}\n\nI have asked for the weather.",
        paris(),
        "I have asked for the weather.",
    );
}

#[test]
fn what_is_said_about_a_call_is_no_call() {
    let json = r#"{"name": "get_weather", "parameters": {"city": "Paris"}}"#;
    leaves(&format!("The page says:\n{json}"));
    leaves(&format!(
        "For example, you could write:\n\n```json\n{json}\n```"
    ));
    leaves(&format!("Use {json} for that."));
    leaves(&format!("{json} is what I found."));
    leaves(&format!("Before.\n{json}\nAfter."));
    leaves(&format!("> {json}"));
    leaves(&format!("`{json}`"));
    leaves(&format!("```text\nThe log:\n{json}\n```"));
    leaves(&format!(
        "{}\n{json}",
        "A long essay on the weather. ".repeat(20)
    ));
    leaves("To know the time, call now() and wait.");
    leaves("now (that is, today)");
}

#[test]
fn what_a_tool_returned_is_never_called() {
    let json = r#"{"name": "get_weather", "parameters": {"city": "Paris"}}"#;
    for read in [
        json.to_owned(),
        format!("Page 1\n{}\nEnd", json.replace(": ", ":\n  ")),
        format!("<\u{2060}tool_call>{json}</tool_call>"),
    ] {
        let expected = Salvaged {
            calls: vec![],
            text: json.to_owned(),
        };
        assert_eq!(salvage_with(json, &[&read]), expected, "{read}");
    }
    let inside_of_json = json!({"page": format!("Hello.\n{json}\nBye.")}).to_string();
    for answer in [
        "get_weather(city='Paris')".to_owned(),
        format!("```json\n{json}\n```"),
        format!("{json}\n{{\"name\": \"now\", \"arguments\": {{}}}}"),
    ] {
        for read in [json, &inside_of_json] {
            let expected = Salvaged {
                calls: vec![],
                text: answer.clone(),
            };
            assert_eq!(salvage_with(&answer, &[read]), expected);
        }
    }
    let tagged = format!("<tool_call>{json}</tool_call>");
    let expected = Salvaged {
        calls: vec![],
        text: tagged.clone(),
    };
    assert_eq!(
        salvage_with(
            &tagged,
            &[
                "x",
                &format!("<\u{2060}tool_call>{json}<\u{2060}/tool_call>")
            ]
        ),
        expected
    );
    let marked = r#"{"name": "search", "parameters": {"q": "<s>"}}"#;
    let broken = swarm_model::markers::break_up(marked);
    assert_eq!(salvage_with(marked, &[&broken]).calls, []);
    assert_eq!(salvage_with(json, &["Paris", "other"]).calls, paris());
}

#[test]
fn data_and_broken_calls_are_text() {
    for answer in [
        r#"{"name": "unknown_tool", "parameters": {}}"#,
        r#"{"name": "get_weather"}"#,
        r#"{"name": "get_weather", "parameters": {}, "price": 5}"#,
        r#"{"name": "get_weather", "parameters": [1]}"#,
        r#"{"name": "get_weather", "parameters": {"city": "Par"#,
        r#"[{"name": "get_weather", "parameters": {}}, {"name": "unknown_tool", "parameters": {}}]"#,
        "[]",
        "{}",
        "get_weather(\"Paris\")",
        "get_weather(city=Paris)",
        "get_weather(city=\"Paris\"",
        "unknown_tool(city=\"Paris\")",
        "<tool_call>{\"name\": \"unknown_tool\", \"arguments\": {}}</tool_call>",
        "<tool_call>get the weather</tool_call>",
        "<function=unknown_tool>{}</function>",
        "```\n```",
        "Paris is sunny.",
        "",
    ] {
        leaves(answer);
    }
}

#[test]
fn the_form_that_a_model_prefers_counts_first() {
    let answer = "now()\n\n<tool_call>{\"name\": \"search\", \"arguments\": {}}</tool_call>";
    let of = |model: &str| {
        let order = Form::order_of(model);
        let salvage = Salvage {
            offered: &OFFERED,
            order: &order,
            read: &[],
        };
        salvage.calls(answer).calls
    };
    assert_eq!(of("qwen3:0.6b"), [call("search", json!({}))]);
    assert_eq!(of("hf.co/someone/Qwen3:4b"), [call("search", json!({}))]);
    assert_eq!(of("lfm2.5:1.2b"), [call("now", json!({}))]);
}

#[test]
fn every_order_has_every_form() {
    let all = Form::order_of("");
    for model in [
        "qwen3:4b",
        "llama3.1:8b",
        "llama3.2:1b",
        "llama4",
        "gemma2:2b",
        "mistral",
    ] {
        assert!(
            all.iter().all(|form| Form::order_of(model).contains(form)),
            "{model}"
        );
    }
}

fn text() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        "(",
        ")",
        "\"",
        "'",
        "\\",
        "\\u12",
        ",",
        ":",
        "=",
        "\n",
        " ",
        "```",
        "```json\n",
        "<tool_call>",
        "</tool_call>",
        "<function=",
        "<function=now>",
        "</function>",
        "<parameter=x>",
        "</parameter>",
        "name",
        "arguments",
        "now",
        "now()",
        "search(q=",
        "get_weather",
        "\"name\": \"now\", \"arguments\": {}",
        "{\"name\": \"now\", \"arguments\": {}}",
        "1",
        "True",
        "é",
        "🦀",
    ]);
    prop_oneof![
        prop::collection::vec(piece, 0..16).prop_map(|pieces| pieces.concat()),
        ".{0,60}",
    ]
}

#[test]
fn a_call_that_was_read_is_not_made_though_only_the_tag_around_it_is_closed() {
    let text = "<tool_call><function=now></tool_call>";
    assert_eq!(salvage_with(text, &[]).calls.len(), 1);
    assert!(salvage_with(text, &[text]).calls.is_empty());
}

proptest! {
    #[test]
    fn no_text_is_a_panic_and_only_offered_tools_are_called(text in text()) {
        let salvaged = salvage_with(&text, &[]);
        prop_assert!(salvaged.calls.iter().all(|call| OFFERED.contains(&call.name.as_str())));
        if salvaged.calls.is_empty() {
            prop_assert_eq!(salvaged.text, text);
        } else {
            prop_assert!(salvage_with(&text, &[&text]).calls.is_empty(), "what was read is not called");
        }
    }

    #[test]
    fn prose_is_returned_unchanged(words in prop::collection::vec("[a-zA-Z,.!?()\\[\\]{}\"'<>=: \n]{1,10}", 0..30)) {
        let text = words.join(" ");
        let expected = Salvaged { calls: vec![], text: text.clone() };
        prop_assert_eq!(salvage_with(&text, &[]), expected);
    }

    #[test]
    fn any_arguments_come_through(city in "\\PC{0,20}", n in any::<i64>(), deep in any::<bool>()) {
        let arguments = json!({"city": city, "n": n, "list": [deep, null, {"k": "v"}]});
        let expected = Salvaged { calls: vec![call("search", arguments.clone())], text: String::new() };
        let json = json!({"name": "search", "parameters": arguments}).to_string();
        prop_assert_eq!(&salvage_with(&json, &[]), &expected);
        prop_assert_eq!(&salvage_with(&format!("```json\n{json}\n```"), &[]).calls.len(), &usize::from(!json.contains("```")));
        let text = serde_json::to_string(&city).unwrap();
        let python = format!("[search(city={text}, n={n}, list=[{deep}, None, {{'k': 'v'}}])]");
        prop_assert_eq!(&salvage_with(&python, &[]), &expected);
    }
}
