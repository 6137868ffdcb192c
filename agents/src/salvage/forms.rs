//! The forms of a call at the beginning of a text.

use serde_json::{Map, Value};
use swarm_model::ToolCall;

use super::{Form, json, pythonic};

/// The tags around calls.
const TAGS: [&str; 4] = ["tool_call", "tool_calls", "function_call", "tools"];

/// What models of some families put before their calls.
const PREFIXES: [&str; 4] = [
    "<|python_tag|>",
    "[TOOL_CALLS]",
    "<|tool_call|>",
    "<|tool_calls|>",
];

/// The calls that a text begins with in this form, at least one and all of offered tools, and how many bytes they take.
pub fn parse(form: Form, text: &str, offered: &[&str]) -> Option<(Vec<ToolCall>, usize)> {
    let found = match form {
        Form::Json => prefixed(text, offered, json::calls),
        Form::Pythonic => prefixed(text, offered, pythonic::calls),
        Form::Fenced => fenced(text, offered),
        Form::Tagged => TAGS.iter().find_map(|tag| tagged(tag, text, offered)),
        Form::FunctionTag => function_tag(text, offered),
    };
    found.filter(|(calls, _)| !calls.is_empty())
}

type Parse = fn(&str, &[&str]) -> Option<(Vec<ToolCall>, usize)>;

fn prefixed(text: &str, offered: &[&str], parse: Parse) -> Option<(Vec<ToolCall>, usize)> {
    let rest = PREFIXES
        .iter()
        .find_map(|prefix| text.strip_prefix(prefix))
        .map_or(text, str::trim_start);
    let (calls, length) = parse(rest, offered)?;
    Some((calls, text.len() - rest.len() + length))
}

/// The calls that are all of a text, in one form.
fn whole(text: &str, offered: &[&str], forms: &[Form]) -> Option<Vec<ToolCall>> {
    forms.iter().find_map(|form| {
        let (mut calls, mut rest) = (Vec::new(), text.trim());
        while !rest.is_empty() {
            let (more, length) = parse(*form, rest, offered)?;
            calls.extend(more);
            rest = rest
                .get(length..)?
                .trim_start_matches([' ', '\t', '\r', '\n', ',', ';']);
        }
        Some(calls)
    })
}

fn fenced(text: &str, offered: &[&str]) -> Option<(Vec<ToolCall>, usize)> {
    let (head, inner) = text.strip_prefix("```")?.split_once('\n')?;
    if !head
        .trim()
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || c == '_')
    {
        return None;
    }
    let (body, behind) = inner.split_once("```").unwrap_or((inner, ""));
    let forms = [Form::Json, Form::Tagged, Form::FunctionTag, Form::Pythonic];
    Some((whole(body, offered, &forms)?, text.len() - behind.len()))
}

fn tagged(tag: &str, text: &str, offered: &[&str]) -> Option<(Vec<ToolCall>, usize)> {
    let inner = text
        .strip_prefix('<')?
        .strip_prefix(tag)?
        .strip_prefix('>')?;
    let (body, behind) = inner
        .split_once(&format!("</{tag}>"))
        .unwrap_or((inner, ""));
    let forms = [Form::Json, Form::Fenced, Form::FunctionTag, Form::Pythonic];
    Some((whole(body, offered, &forms)?, text.len() - behind.len()))
}

fn function_tag(text: &str, offered: &[&str]) -> Option<(Vec<ToolCall>, usize)> {
    let (name, inner) = text.strip_prefix("<function=")?.split_once('>')?;
    let name = name.trim().trim_matches('"');
    if !offered.contains(&name) {
        return None;
    }
    let (body, behind) = inner.split_once("</function>").unwrap_or((inner, ""));
    let arguments = match body.trim() {
        "" => Value::Object(Map::new()),
        body => serde_json::from_str(body)
            .ok()
            .filter(Value::is_object)
            .or_else(|| parameters(body))?,
    };
    let call = ToolCall {
        id: None,
        name: name.to_owned(),
        arguments,
    };
    Some((vec![call], text.len() - behind.len()))
}

/// `<parameter=key>value</parameter>` in a row. Values are texts; the schema says what they stand for.
fn parameters(text: &str) -> Option<Value> {
    let mut arguments = Map::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (key, inner) = rest.strip_prefix("<parameter=")?.split_once('>')?;
        let (value, behind) = inner.split_once("</parameter>")?;
        arguments.insert(
            key.trim().to_owned(),
            Value::String(value.trim_matches('\n').to_owned()),
        );
        rest = behind.trim_start();
    }
    Some(Value::Object(arguments))
}
