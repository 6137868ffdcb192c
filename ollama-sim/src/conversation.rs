//! The messages of a request, and what can be asked of them.

use serde_json::Value;

use crate::tokens::Tokenizer;

/// One message of a chat.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    /// In lower case: `system`, `user`, `assistant` or `tool`; others are let through.
    pub role: String,
    /// The text.
    pub content: String,
    /// The thinking that came with it.
    pub thinking: String,
    /// The calls that came with it, as the client sent them.
    pub calls: Vec<Value>,
    /// Whose result it is.
    pub tool_name: String,
    /// Whose result it is, by the id of the call.
    pub tool_call_id: String,
    /// How many images it has.
    pub images: usize,
}

impl Message {
    /// A message that is only text.
    #[cfg(test)]
    pub fn new(role: &str, content: &str) -> Self {
        Self {
            role: role.to_owned(),
            content: content.to_owned(),
            ..Self::default()
        }
    }

    /// How much of a prompt it is, in bytes.
    pub fn weight(&self, tokenizer: &Tokenizer) -> usize {
        let calls: usize = self.calls.iter().map(|call| call.to_string().len()).sum();
        tokenizer.weight(&self.content) + tokenizer.weight(&self.thinking) + calls
    }
}

/// The content of the first message of this role, or nothing.
pub fn first<'a>(messages: &'a [Message], role: &str) -> &'a str {
    messages
        .iter()
        .find(|message| message.role == role)
        .map_or("", |message| &message.content)
}

/// The content of the last message of this role, or nothing.
pub fn last<'a>(messages: &'a [Message], role: &str) -> &'a str {
    messages
        .iter()
        .rfind(|message| message.role == role)
        .map_or("", |message| &message.content)
}

/// The role of the last message.
pub fn last_role(messages: &[Message]) -> &str {
    messages.last().map_or("", |message| &message.role)
}

/// The tool messages at the end: whose results they are, and the results.
pub fn results(messages: &[Message]) -> Vec<(String, &str)> {
    let tail = messages
        .iter()
        .rev()
        .take_while(|message| message.role == "tool");
    let mut results: Vec<_> = tail
        .map(|message| (tool_of(message, messages), message.content.as_str()))
        .collect();
    results.reverse();
    results
}

/// The name that a tool message has, or that of the call with its id, or of the last call.
fn tool_of(message: &Message, messages: &[Message]) -> String {
    if !message.tool_name.is_empty() {
        return message.tool_name.clone();
    }
    let mut calls = messages
        .iter()
        .rev()
        .flat_map(|message| message.calls.iter().rev());
    let called = match message.tool_call_id.as_str() {
        "" => calls.next(),
        id => calls.find(|call| call.get("id").is_some_and(|known| known == id)),
    };
    called
        .and_then(|call| call.pointer("/function/name")?.as_str())
        .unwrap_or("tool")
        .to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn results_know_their_tool() {
        let call = |id: &str, name: &str| json!({"id": id, "function": {"name": name}});
        let mut messages = vec![
            Message {
                calls: vec![call("1", "a"), call("2", "b")],
                ..Message::new("assistant", "")
            },
            Message {
                tool_call_id: "1".to_owned(),
                ..Message::new("tool", "one")
            },
            Message {
                tool_name: "c".to_owned(),
                ..Message::new("tool", "two")
            },
            Message::new("tool", "three"),
        ];
        let result = |name: &str, text| (name.to_owned(), text);
        assert_eq!(
            results(&messages),
            [result("a", "one"), result("c", "two"), result("b", "three")]
        );
        messages.push(Message::new("user", "x"));
        assert_eq!(results(&messages), []);
    }
}
