//! Faults of what the model says.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{Dialect, Fault, Kind};
use crate::default::Tool;
use crate::models::Emission;
use crate::refusal::Refusal;
use crate::script::{Ending, REPEATS, Rules, Say, Script};

const HUGE: usize = 10 << 20;

/// Changes what is said. `tools` are those that were offered.
pub fn distort(says: &mut Vec<Say>, fault: &Fault, rules: &mut Rules, tools: &[Tool]) {
    match fault.kind {
        Kind::SwallowedCall => rules.hearing.emission = Emission::Swallow,
        Kind::Empty => says.clear(),
        Kind::SameCall => same_call(says, tools),
        Kind::RepeatLoop => *says = vec![Say::Text(repeated(rules))],
        Kind::HugeLine => says.insert(0, Say::Text("x".repeat(HUGE))),
        _ => {
            for say in says {
                distort_one(say, fault);
            }
        }
    }
}

/// Changes how it is sent and how it ends.
pub fn finish(script: &mut Script, fault: &Fault, rules: &Rules) {
    match fault.kind {
        Kind::ErrorMidstream => {
            script.shorten(fault.after.unwrap_or(1));
            script.ending = Ending::Error(Refusal::runner_died());
        }
        Kind::NoDone => script.ending = Ending::Missing,
        Kind::RepeatLoop if rules.hearing.emission != Emission::Native => {
            script.ending = Ending::Missing
        }
        Kind::RepeatLoop | Kind::CutJson => script.ending = Ending::Done("length"),
        Kind::Empty => script.spoken = 12,
        Kind::DuplicateIds => {
            let mut first = None;
            script.each_call(|call| call.id = first.get_or_insert_with(|| call.id.clone()).clone());
        }
        Kind::MissingIds => script.each_call(|call| call.id = None),
        _ => {}
    }
}

fn distort_one(say: &mut Say, fault: &Fault) {
    match say {
        Say::Call { name, arguments } => match fault.kind {
            Kind::UnknownTool => name.push_str("_v2"),
            Kind::TextCall => *say = Say::Text(written(fault.dialect, name, arguments)),
            Kind::ProseCall => *say = Say::Text(format!("I will now call the tool {name}.")),
            Kind::DuplicateIds => {}
            kind => distort_arguments(name, arguments, kind),
        },
        Say::Text(text) => match fault.kind {
            Kind::ThinkTags => text.insert_str(0, "<think>\nHm.\n</think>\n\n"),
            Kind::ThinkUnclosed => text.insert_str(0, "<think>\nHm. "),
            Kind::BadSchema => *text = json!({"unexpected": [text.len()]}).to_string(),
            Kind::CutJson => {
                let half = text.chars().count() / 2;
                *text = text.chars().take(half).collect();
            }
            _ => {}
        },
        Say::Thinking(_) | Say::Raw(_) | Say::Endless(_) => {}
    }
}

fn distort_arguments(name: &str, arguments: &mut Value, kind: Kind) {
    match kind {
        Kind::ArgsString => *arguments = Value::String(arguments.to_string()),
        Kind::ArgsMissing => *arguments = json!({}),
        Kind::ArgsExtra => {
            if let Some(fields) = arguments.as_object_mut() {
                fields.insert("confidence".to_owned(), json!(0.9));
            }
        }
        Kind::ArgsTypes => {
            for value in arguments
                .as_object_mut()
                .into_iter()
                .flat_map(|fields| fields.values_mut())
            {
                *value = match &*value {
                    Value::String(_) => json!(17),
                    Value::Object(_) | Value::Array(_) => json!(value.to_string()),
                    other => json!(other.to_string()),
                };
            }
        }
        Kind::ArgsNested => {
            *arguments = json!({"name": name, "arguments": arguments.to_string()});
        }
        _ => {}
    }
}

fn same_call(says: &mut Vec<Say>, tools: &[Tool]) {
    if let Some(tool) = tools.first() {
        *says = vec![Say::Call {
            name: tool.name.clone(),
            arguments: tool.arguments("the same again"),
        }];
    }
}

fn repeated(rules: &Rules) -> String {
    let count = match rules.hearing.emission {
        Emission::Native => rules.limit.min(1_000_000),
        Emission::Rendered | Emission::Text | Emission::Swallow => REPEATS,
    };
    vec!["and"; count].join(" ")
}

/// A call as a model of some dialect writes it.
fn written(dialect: Dialect, name: &str, arguments: &Value) -> String {
    let bare = json!({"name": name, "parameters": arguments}).to_string();
    match dialect {
        Dialect::Bare => bare,
        Dialect::Fenced => format!("```json\n{bare}\n```"),
        Dialect::Function => {
            json!({"type": "function", "function": {"name": name, "arguments": arguments}})
                .to_string()
        }
        Dialect::Tagged => {
            let call = json!({"name": name, "arguments": arguments});
            format!("<tool_call>\n{call}\n</tool_call>")
        }
        Dialect::Pythonic => {
            let mut text = format!("[{name}(");
            for (place, (key, value)) in arguments.as_object().into_iter().flatten().enumerate() {
                let comma = if place == 0 { "" } else { ", " };
                // A String takes whatever is written to it.
                write!(text, "{comma}{key}={value}").unwrap_or_default();
            }
            text + ")]"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(fault: &str, dialect: Dialect) -> Say {
        let mut say = Say::Call {
            name: "f".to_owned(),
            arguments: json!({"a": 1, "b": "x"}),
        };
        let fault = Fault {
            dialect,
            ..Fault::read(fault).unwrap()
        };
        distort_one(&mut say, &fault);
        say
    }

    #[test]
    fn calls_as_text_have_dialects() {
        let cases = [
            (
                Dialect::Bare,
                r#"{"name":"f","parameters":{"a":1,"b":"x"}}"#,
            ),
            (
                Dialect::Fenced,
                "```json\n{\"name\":\"f\",\"parameters\":{\"a\":1,\"b\":\"x\"}}\n```",
            ),
            (
                Dialect::Function,
                r#"{"type":"function","function":{"name":"f","arguments":{"a":1,"b":"x"}}}"#,
            ),
            (
                Dialect::Tagged,
                "<tool_call>\n{\"name\":\"f\",\"arguments\":{\"a\":1,\"b\":\"x\"}}\n</tool_call>",
            ),
            (Dialect::Pythonic, r#"[f(a=1, b="x")]"#),
        ];
        for (dialect, expected) in cases {
            assert_eq!(said("text_call", dialect), Say::Text(expected.to_owned()));
        }
    }

    #[test]
    fn arguments_go_wrong_in_five_ways() {
        let cases = [
            ("args_string", json!(r#"{"a":1,"b":"x"}"#)),
            (
                "args_nested",
                json!({"name": "f", "arguments": r#"{"a":1,"b":"x"}"#}),
            ),
            ("args_types", json!({"a": "1", "b": 17})),
            ("args_missing", json!({})),
            ("args_extra", json!({"a": 1, "b": "x", "confidence": 0.9})),
        ];
        for (fault, expected) in cases {
            let Say::Call { arguments, .. } = said(fault, Dialect::Bare) else {
                panic!("{fault}")
            };
            assert_eq!(arguments, expected);
        }
    }
}
