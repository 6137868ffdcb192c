//! Tool use by `format`: a schema whose `action` says which tool, or that the answer is final.

use serde_json::{Map, Value, json};

use crate::conversation::Message;
use crate::schema::{self, Filler};

const FINAL: [&str; 5] = ["final", "final_answer", "answer", "finish", "respond"];
/// Properties that hold the answer, or nothing while a tool is asked for.
const ANSWERS: [&str; 5] = ["answer", "final_answer", "text", "content", "message"];

/// An action, and the schema of an answer that takes it.
#[derive(Debug, Clone, PartialEq)]
pub struct Chosen {
    name: String,
    schema: Value,
    /// Whether one schema holds for all actions.
    flat: bool,
    /// Whether it is the answer.
    pub is_final: bool,
}

/// The action to take now, if the format is a choice of actions.
pub fn choose(format: &Value, messages: &[Message]) -> Option<Chosen> {
    let mut actions = actions(format);
    if let (1.., false) = (actions.len(), actions.iter().any(|action| action.is_final)) {
        actions.last_mut()?.is_final = true;
    }
    let wants_final = result(messages).is_some() || acted(messages);
    let wanted = actions.iter().find(|action| action.is_final == wants_final);
    wanted.or_else(|| actions.first()).cloned()
}

/// The result of an action in the last message: "Tool NAME returned: ...", with any verb.
pub fn result(messages: &[Message]) -> Option<(String, &str)> {
    let last = messages.last().filter(|message| message.role == "user")?;
    let after = last.content.trim_start().strip_prefix("Tool ")?;
    let (said, result) = after.split_once(':')?;
    let (name, verb) = said.split_once(' ')?;
    let plain = !verb.contains('\n') && verb.len() < 40;
    plain.then(|| (name.trim_matches(['`', '"', '\'']).to_owned(), result))
}

/// Whether the message before the last one takes an action that is not the answer.
fn acted(messages: &[Message]) -> bool {
    let before = messages.iter().rev().nth(1);
    let Some(before) = before.filter(|message| message.role == "assistant") else {
        return false;
    };
    let answer: Option<Value> = serde_json::from_str(&before.content).ok();
    let action = answer
        .as_ref()
        .and_then(|answer| answer.get("action")?.as_str());
    action.is_some_and(|action| !FINAL.contains(&action))
}

fn actions(format: &Value) -> Vec<Chosen> {
    let format = format
        .get("$ref")
        .and_then(|name| schema::resolve(name, format))
        .unwrap_or(format);
    if let Some(names) = format
        .pointer("/properties/action/enum")
        .and_then(Value::as_array)
    {
        let names = names.iter().filter_map(Value::as_str);
        return names
            .map(|name| chosen(name, format, format, true))
            .collect();
    }
    let branches = ["anyOf", "oneOf"]
        .into_iter()
        .find_map(|choice| format.get(choice)?.as_array());
    let branches = branches.into_iter().flatten().map(|branch| {
        branch
            .get("$ref")
            .and_then(|name| schema::resolve(name, format))
            .unwrap_or(branch)
    });
    let named = branches.filter_map(|branch| {
        let action = branch.pointer("/properties/action")?;
        let name = action
            .get("const")
            .or_else(|| action.get("enum")?.get(0))?
            .as_str()?;
        Some(chosen(name, branch, format, false))
    });
    named.collect()
}

fn chosen(name: &str, schema: &Value, root: &Value, flat: bool) -> Chosen {
    let mut schema = schema.clone();
    for definitions in ["$defs", "definitions"] {
        if let (Some(shared), Some(fields)) = (root.get(definitions), schema.as_object_mut()) {
            fields.insert(definitions.to_owned(), shared.clone());
        }
    }
    Chosen {
        name: name.to_owned(),
        schema,
        flat,
        is_final: FINAL.contains(&name),
    }
}

impl Chosen {
    /// The answer that takes this action. In a schema that holds for all actions, what belongs to the other kind of
    /// action is empty.
    pub fn fill(&self, text: &str) -> Value {
        let mut schema = self.schema.clone();
        if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
            properties.insert("action".to_owned(), json!({"const": self.name}));
            if self.flat {
                self.empty(properties);
            }
        }
        let filler = Filler {
            text,
            optional: self.flat || self.is_final,
        };
        filler.instance(&schema)
    }

    fn empty(&self, properties: &mut Map<String, Value>) {
        for (name, property) in properties {
            let kind = property.get("type").and_then(Value::as_str);
            match kind {
                Some("object") if self.is_final => *property = json!({"const": {}}),
                Some("string") if !self.is_final && ANSWERS.contains(&name.as_str()) => {
                    *property = json!({"const": ""});
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(rest: &[(&str, &str)]) -> Vec<Message> {
        let first = [("user", "Oslo?")];
        let all = first.iter().chain(rest);
        all.map(|(role, content)| Message::new(role, content))
            .collect()
    }

    fn taken(format: &Value, rest: &[(&str, &str)]) -> Value {
        choose(format, &asked(rest)).unwrap().fill("text")
    }

    #[test]
    fn one_schema_for_all_actions() {
        let format = json!({"type": "object", "required": ["action"], "properties": {
            "action": {"enum": ["weather", "final"]}, "arguments": {"type": "object"}, "answer": {"type": "string"},
        }});
        let first = json!({"action": "weather", "arguments": {}, "answer": ""});
        assert_eq!(taken(&format, &[]), first);
        let last = json!({"action": "final", "arguments": {}, "answer": "text"});
        let acted = [
            ("assistant", r#"{"action":"weather"}"#),
            ("user", "Here: rain"),
        ];
        assert_eq!(taken(&format, &acted), last);
        assert_eq!(
            taken(&format, &[("user", "Tool weather returned: rain")]),
            last
        );
    }

    #[test]
    fn a_schema_for_each_action() {
        let format = json!({
            "anyOf": [
                {"properties": {"action": {"const": "final"}, "answer": {"type": "string"}}, "required": ["action", "answer"]},
                {"$ref": "#/$defs/weather"},
            ],
            "$defs": {"weather": {"required": ["action", "arguments"], "properties": {
                "action": {"enum": ["weather"]},
                "arguments": {"properties": {"city": {"type": "string"}, "days": {"type": "integer"}}, "required": ["city"]},
            }}},
        });
        assert_eq!(
            taken(&format, &[]),
            json!({"action": "weather", "arguments": {"city": "text"}})
        );
        let result = [("user", "Tool `weather` failed: no\nmore")];
        assert_eq!(
            taken(&format, &result),
            json!({"action": "final", "answer": "text"})
        );
        assert_eq!(
            super::result(&asked(&result)),
            Some(("weather".to_owned(), " no\nmore"))
        );
    }

    #[test]
    fn other_formats_are_no_choice() {
        let format = json!({"properties": {"action": {"type": "string"}}});
        assert_eq!(choose(&format, &asked(&[])), None);
        assert_eq!(super::result(&asked(&[("user", "Tool time")])), None);
    }
}
