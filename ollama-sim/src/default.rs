//! What a model says when no rule and no directive says otherwise.
//!
//! Offered tools and a user message last: the first tool is called, with arguments made from its schema. A `format`:
//! an instance of the schema; where the schema is a choice by `action`, first an action and, after its result, the
//! final one. Else prose, with the results of tools in it.

use serde_json::{Value, json};

use crate::answer;
use crate::conversation::{self, Message};
use crate::schema::Filler;
use crate::script::Say;

mod action;

/// Strings in arguments are not longer than this.
const QUERY_LENGTH: usize = 200;
const QUOTE_LENGTH: usize = 300;

/// What the default behaviour depends on.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The model's name.
    pub model: &'a str,
    /// The chat so far.
    pub messages: &'a [Message],
    /// The offered tools.
    pub tools: &'a [Tool],
    /// `json` or a schema; null when the answer is free.
    pub format: &'a Value,
    /// Whether calls come out as calls even if there is a `format`: the server reads them out of the answer.
    pub reads_calls: bool,
}

/// An offered tool.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// The schema of its arguments, null if there is none.
    pub parameters: Value,
}

impl Tool {
    /// Reads an element of `tools`.
    pub fn read(wire: &Value) -> Self {
        let name = wire.pointer("/function/name").and_then(Value::as_str);
        let parameters = wire.pointer("/function/parameters");
        Self {
            name: name.unwrap_or_default().to_owned(),
            parameters: parameters.cloned().unwrap_or_default(),
        }
    }

    /// Arguments that its schema allows, with this text where any text will do.
    pub fn arguments(&self, text: &str) -> Value {
        match &self.parameters {
            Value::Object(_) => {
                let filler = Filler {
                    text,
                    optional: false,
                };
                match filler.instance(&self.parameters) {
                    Value::Object(arguments) => Value::Object(arguments),
                    _ => json!({}),
                }
            }
            _ => json!({}),
        }
    }
}

/// The answer to a question, without thinking.
pub fn answer(question: Question<'_>) -> Vec<Say> {
    let Question {
        messages, tools, ..
    } = question;
    if !question.format.is_null() {
        return formatted(question);
    }
    match tools.first() {
        Some(tool) if conversation::last_role(messages) == "user" => vec![Say::Call {
            name: tool.name.clone(),
            arguments: tool.arguments(&query(messages)),
        }],
        _ => vec![Say::Text(prose(question))],
    }
}

/// What a thinking model thinks.
pub fn thinking(messages: &[Message]) -> String {
    let task = answer::task(conversation::last(messages, "user"));
    format!("(simulated thinking) The task is: {task} A short answer will do.")
}

/// The instance of the `format`, as a document.
pub fn instance(question: Question<'_>) -> Value {
    if !question.format.is_object() {
        return json!({"answer": prose(question)});
    }
    if let Some(chosen) = action::choose(question.format, question.messages) {
        let text = if chosen.is_final {
            prose(question)
        } else {
            query(question.messages)
        };
        return chosen.fill(&text);
    }
    let text = format!(
        "{}{}",
        answer::mark(question.model),
        query(question.messages)
    );
    let filler = Filler {
        text: &text,
        optional: true,
    };
    filler.instance(question.format)
}

/// With tools beside the format, a server that reads calls out of the answer finds one in any object that names a
/// tool, and takes the whole object for the arguments. `format: "json"` gives a call outright.
fn formatted(question: Question<'_>) -> Vec<Say> {
    let instance = instance(question);
    if question.reads_calls && conversation::last_role(question.messages) == "user" {
        let text = instance.to_string();
        let mut tools = question.tools.iter();
        let named = tools.find(|tool| text.contains(&format!("{:?}", tool.name)));
        if let Some(tool) = named {
            return vec![Say::Call {
                name: tool.name.clone(),
                arguments: instance,
            }];
        }
        if let (Some(tool), false) = (question.tools.first(), question.format.is_object()) {
            return vec![Say::Call {
                name: tool.name.clone(),
                arguments: tool.arguments(&query(question.messages)),
            }];
        }
    }
    vec![Say::Text(instance.to_string())]
}

fn prose(question: Question<'_>) -> String {
    let text = answer::compose(question.model, question.messages);
    let mut results = conversation::results(question.messages);
    if let Some(result) = action::result(question.messages) {
        results.push(result);
    }
    let quotes = results.into_iter().map(|(tool, result)| {
        let quote = answer::shortened(result.trim(), QUOTE_LENGTH);
        format!("\nThe tool {tool} returned: \u{201c}{quote}\u{201d}")
    });
    quotes.fold(text, |text, quote| text + &quote)
}

/// The task, where an argument wants any text.
fn query(messages: &[Message]) -> String {
    let task = answer::task(conversation::last(messages, "user"));
    answer::shortened(&task, QUERY_LENGTH)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question<'a>(messages: &'a [Message], tools: &'a [Tool], format: &'a Value) -> Question<'a> {
        Question {
            model: "m:1",
            messages,
            tools,
            format,
            reads_calls: true,
        }
    }

    fn weather() -> Vec<Tool> {
        let parameters = json!({"type": "object", "required": ["city"], "properties": {"city": {"type": "string"}}});
        let wire = json!({"type": "function", "function": {"name": "get_weather", "parameters": parameters}});
        vec![Tool::read(&wire), Tool::default()]
    }

    #[test]
    fn a_tool_is_called_once_and_its_result_quoted() {
        let mut messages = vec![Message::new("user", "Oslo?")];
        let tools = weather();
        let call = Say::Call {
            name: "get_weather".to_owned(),
            arguments: json!({"city": "Oslo?"}),
        };
        assert_eq!(answer(question(&messages, &tools, &Value::Null)), [call]);
        messages.push(Message {
            tool_name: "get_weather".to_owned(),
            ..Message::new("tool", "rain")
        });
        let said = answer(question(&messages, &tools, &Value::Null));
        let [Say::Text(text)] = said.as_slice() else {
            panic!("{said:?}")
        };
        assert!(text.starts_with("[SIMULATED m:1] "), "{text}");
        assert!(
            text.ends_with("\nThe tool get_weather returned: \u{201c}rain\u{201d}"),
            "{text}"
        );
    }

    #[test]
    fn a_format_gets_an_instance() {
        let messages = [Message::new("user", "Oslo?")];
        let format = json!({"type": "object", "properties": {"n": {"type": "integer"}, "s": {"type": "string"}}});
        assert_eq!(
            answer(question(&messages, &[], &format)),
            [Say::Text(
                json!({"n": 1, "s": "[SIMULATED m:1] Oslo?"}).to_string()
            )]
        );
        let any = instance(question(&messages, &[], &json!("json")));
        assert!(
            any["answer"]
                .as_str()
                .unwrap()
                .starts_with("[SIMULATED m:1] ")
        );
    }

    #[test]
    fn a_format_beside_tools_gives_false_calls() {
        let messages = [Message::new("user", "Oslo?")];
        let tools = weather();
        let called = |format: &Value| answer(question(&messages, &tools, format));
        let call = |arguments| {
            vec![Say::Call {
                name: "get_weather".to_owned(),
                arguments,
            }]
        };
        assert_eq!(called(&json!("json")), call(json!({"city": "Oslo?"})));
        let format = json!({"properties": {"action": {"enum": ["get_weather"]}}});
        assert_eq!(called(&format), call(json!({"action": "get_weather"})));
        let format = json!({"properties": {"n": {"type": "integer"}}});
        assert_eq!(called(&format), [Say::Text("{\"n\":1}".to_owned())]);
    }
}
