//! Calls as Python writes them: `get_weather(city="Paris", days=3)`, alone or in a list. Arguments have names, and are literals.

use serde_json::{Map, Number, Value};
use swarm_model::ToolCall;

/// How deep lists and dictionaries may stand in each other.
const MAX_DEPTH: usize = 32;

/// The calls that a text begins with, and how many bytes they take.
pub fn calls(text: &str, offered: &[&str]) -> Option<(Vec<ToolCall>, usize)> {
    let mut reader = Reader { rest: text };
    let calls = if reader.take('[') {
        reader.list(']', |reader| reader.call(offered))?
    } else {
        vec![reader.call(offered)?]
    };
    Some((calls, text.len() - reader.rest.len()))
}

struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn call(&mut self, offered: &[&str]) -> Option<ToolCall> {
        let name = self.name()?;
        // Blanks between name and bracket are prose: `search (see below)`.
        if !offered.contains(&name) || !self.rest.starts_with('(') {
            return None;
        }
        self.take('(');
        let arguments = self.list(')', |reader| {
            let key = reader.name()?.to_owned();
            if !reader.take('=') {
                return None;
            }
            Some((key, reader.value(0)?))
        })?;
        Some(ToolCall {
            id: None,
            name: name.to_owned(),
            arguments: Value::Object(arguments.into_iter().collect()),
        })
    }

    /// Items with commas between them, up to the closing bracket; the opening one is read.
    fn list<T>(
        &mut self,
        close: char,
        mut item: impl FnMut(&mut Self) -> Option<T>,
    ) -> Option<Vec<T>> {
        let mut items = Vec::new();
        loop {
            if self.take(close) {
                return Some(items);
            }
            items.push(item(self)?);
            if !self.take(',') && !self.rest.trim_start().starts_with(close) {
                return None;
            }
        }
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        if depth > MAX_DEPTH {
            return None;
        }
        self.rest = self.rest.trim_start();
        match self.rest.chars().next()? {
            '"' | '\'' => self.text().map(Value::String),
            '[' => {
                self.take('[');
                self.list(']', |reader| reader.value(depth + 1))
                    .map(Value::Array)
            }
            '{' => {
                self.take('{');
                let entries = self.list('}', |reader| {
                    reader.rest = reader.rest.trim_start();
                    let key = reader.text()?;
                    if !reader.take(':') {
                        return None;
                    }
                    Some((key, reader.value(depth + 1)?))
                })?;
                Some(Value::Object(entries.into_iter().collect::<Map<_, _>>()))
            }
            _ => self.word(),
        }
    }

    /// A number or one of the words for true, false and nothing.
    fn word(&mut self) -> Option<Value> {
        let word =
            self.until(|c| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '+' | '-' | '_')));
        match word {
            "True" | "true" => Some(Value::Bool(true)),
            "False" | "false" => Some(Value::Bool(false)),
            "None" | "null" => Some(Value::Null),
            number => number.parse::<Number>().ok().map(Value::Number),
        }
    }

    /// A text in one, or three, of either quotes.
    fn text(&mut self) -> Option<String> {
        let quote = ["\"\"\"", "'''", "\"", "'"]
            .into_iter()
            .find(|quote| self.rest.starts_with(quote))?;
        let inner = self.rest.strip_prefix(quote)?;
        let mut text = String::new();
        let mut chars = inner.char_indices();
        while let Some((at, c)) = chars.next() {
            let here = inner.get(at..)?;
            if let Some(rest) = here.strip_prefix(quote) {
                self.rest = rest;
                return Some(text);
            }
            match c {
                '\\' => match chars.next()?.1 {
                    'n' => text.push('\n'),
                    't' => text.push('\t'),
                    'r' => text.push('\r'),
                    c @ ('\\' | '"' | '\'') => text.push(c),
                    'u' => {
                        let digits = here.get(2..6)?;
                        text.push(char::from_u32(u32::from_str_radix(digits, 16).ok()?)?);
                        chars.nth(3);
                    }
                    c => text.extend(['\\', c]),
                },
                c => text.push(c),
            }
        }
        None
    }

    fn name(&mut self) -> Option<&'a str> {
        self.rest = self.rest.trim_start();
        let name = self.until(|c| !(c.is_ascii_alphanumeric() || c == '_' || c == '-'));
        (!name.is_empty()).then_some(name)
    }

    fn until(&mut self, ends: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(ends).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at_checked(end).unwrap_or((self.rest, ""));
        self.rest = rest;
        word
    }

    /// Passes over a character behind blanks, when it is this one.
    fn take(&mut self, c: char) -> bool {
        match self.rest.trim_start().strip_prefix(c) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }
}
