//! The rules in force, and how often each was followed.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use serde::Serialize;
use serde_json::Value;

use super::{Outcome, Rule, Subject};
use crate::conversation::{self, Message};

/// More conversations than these are not remembered: counting begins again.
const CONVERSATIONS: usize = 100_000;

/// All rules.
#[derive(Debug, Default)]
pub struct Book {
    rules: Vec<Counted>,
    calls: HashMap<u64, u64>,
}

#[derive(Debug)]
struct Counted {
    rule: Rule,
    told: Value,
    followed: u64,
}

/// How a rule stands.
#[derive(Debug, Serialize)]
pub struct Standing<'a> {
    /// The rule as it came.
    rule: &'a Value,
    /// How often it was followed.
    followed: u64,
}

impl Book {
    /// Adds rules after those that are there.
    ///
    /// # Errors
    /// What is wrong with one of them; then none is added.
    pub fn add(&mut self, text: &str) -> Result<(), String> {
        let rules = Rule::read(text)?;
        self.rules
            .extend(rules.into_iter().map(|(rule, told)| Counted {
                rule,
                told,
                followed: 0,
            }));
        Ok(())
    }

    /// Puts these rules in place of those that are there.
    ///
    /// # Errors
    /// What is wrong with one of them; then all stays.
    pub fn replace(&mut self, text: &str) -> Result<(), String> {
        let mut book = Self::default();
        book.add(text)?;
        self.rules = book.rules;
        Ok(())
    }

    /// Forgets all rules.
    pub fn clear(&mut self) {
        self.rules.clear();
    }

    /// How all rules stand.
    pub fn standings(&self) -> Vec<Standing<'_>> {
        let rules = self.rules.iter();
        rules
            .map(|counted| Standing {
                rule: &counted.told,
                followed: counted.followed,
            })
            .collect()
    }

    /// What the first rule says that is for this request.
    pub fn consult(&mut self, subject: Subject<'_>) -> Option<Outcome> {
        let subject = Subject {
            call: self.count(subject.model, subject.messages),
            ..subject
        };
        self.rules.iter_mut().find_map(|counted| {
            if counted
                .rule
                .times
                .is_some_and(|times| counted.followed >= times)
            {
                return None;
            }
            let outcome = counted.rule.apply(subject)?;
            counted.followed += 1;
            Some(outcome)
        })
    }

    fn count(&mut self, model: &str, messages: &[Message]) -> u64 {
        let mut hasher = DefaultHasher::new();
        let system = conversation::first(messages, "system");
        (model, system, conversation::first(messages, "user")).hash(&mut hasher);
        if self.calls.len() >= CONVERSATIONS {
            self.calls.clear();
        }
        let calls = self.calls.entry(hasher.finish()).or_default();
        *calls += 1;
        *calls
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderMap;
    use serde_json::json;

    use super::*;
    use crate::default::Tool;
    use crate::script::{Ending, Say};

    struct Asked {
        messages: Vec<Message>,
        tools: Vec<Tool>,
        format: Value,
        headers: HeaderMap,
    }

    fn asked(messages: &[(&str, &str)]) -> Asked {
        Asked {
            messages: messages
                .iter()
                .map(|(role, text)| Message::new(role, text))
                .collect(),
            tools: Vec::new(),
            format: Value::Null,
            headers: HeaderMap::new(),
        }
    }

    impl Asked {
        fn answer(&self, book: &mut Book) -> Option<Outcome> {
            book.consult(Subject {
                model: "m:1",
                messages: &self.messages,
                tools: &self.tools,
                format: &self.format,
                think: true,
                headers: &self.headers,
                call: 0,
            })
        }

        fn text(&self, book: &mut Book) -> String {
            match self.answer(book).map(|outcome| outcome.says) {
                Some(says) => format!("{says:?}"),
                None => String::new(),
            }
        }
    }

    fn book(rules: &str) -> Book {
        let mut book = Book::default();
        book.add(rules).unwrap();
        book
    }

    #[test]
    fn the_first_rule_that_matches_is_followed() {
        let mut book = book(
            "rules:\n- {when: {user: 'weather in (?<city>\\w+)'}, then: [template: 'Rain in {city}, {model}; {x}']}\n\
             - {when: {model: 'x:*'}, then: [text: other model]}\n\
             - {when: {last: tool, tool: '(.*)'}, then: [template: 'It said {1} and {tool}']}\n\
             - {times: 1, then: [echo]}\n",
        );
        let texts = [
            asked(&[("user", "The weather in Oslo?")]).text(&mut book),
            asked(&[("user", "x"), ("tool", "yes")]).text(&mut book),
            asked(&[("user", "x"), ("user", "y")]).text(&mut book),
            asked(&[("user", "x"), ("user", "y")]).text(&mut book),
        ];
        let text = |text: &str| format!("{:?}", [Say::Text(text.to_owned())]);
        let expected = [
            text("Rain in Oslo, m:1; {x}"),
            text("It said yes and yes"),
            text("y"),
            String::new(),
        ];
        assert_eq!(texts, expected);
        let followed: Vec<_> = book.standings().iter().map(|rule| rule.followed).collect();
        assert_eq!(followed, [1, 0, 1, 1]);
    }

    #[test]
    fn calls_and_turns_are_counted() {
        let mut book = book(
            "- {when: {call: 2, turn: 1}, then: [{text: again}]}\n- {when: {turn: 2}, then: [{text: second turn}]}",
        );
        let first = asked(&[("system", "s"), ("user", "x")]);
        assert_eq!(first.text(&mut book), "");
        assert!(first.text(&mut book).contains("again"));
        assert_eq!(asked(&[("system", "t"), ("user", "x")]).text(&mut book), "");
        let later = asked(&[
            ("system", "s"),
            ("user", "x"),
            ("assistant", "a"),
            ("user", "y"),
        ]);
        assert!(later.text(&mut book).contains("second turn"));
    }

    #[test]
    fn tools_formats_and_headers_are_conditions() {
        let mut book = book(
            "- {when: {tools: 'get_*', format: false}, then: [{tool_calls: [{name: get_x}, {name: b, arguments: {c: '{user}'}}]}]}\n\
             - {when: {tools: false, format: true}, then: [json: null]}\n\
             - {when: {header: {x-case: '^(a)$'}}, then: [{thinking: '{1}'}, {error: {status: 503, text: no}}]}\n",
        );
        let mut asked = asked(&[("user", "x")]);
        asked.tools = vec![Tool {
            name: "get_x".to_owned(),
            parameters: json!({"required": ["q"]}),
        }];
        let call = |name: &str, arguments| Say::Call {
            name: name.to_owned(),
            arguments,
        };
        let calls = vec![
            call("get_x", json!({"q": "x"})),
            call("b", json!({"c": "x"})),
        ];
        assert_eq!(asked.answer(&mut book).unwrap().says, calls);
        asked.tools.clear();
        asked.format = json!({"const": 5});
        assert_eq!(
            asked.answer(&mut book).unwrap().says,
            [Say::Text("5".to_owned())]
        );
        asked.format = Value::Null;
        assert_eq!(asked.text(&mut book), "");
        asked.headers.insert("x-case", "a".parse().unwrap());
        let outcome = asked.answer(&mut book).unwrap();
        assert_eq!(outcome.says, [Say::Thinking("a".to_owned())]);
        assert!(matches!(outcome.ending, Some(Ending::Error(_))));
    }

    #[test]
    fn bad_rules_are_refused_and_change_nothing() {
        let mut book = book("- {then: [echo]}");
        for bad in [
            "- {then: [ecco]}",
            "- {when: {usr: x}, then: []}",
            "- {then: [{latency: soon}]}",
            "{}",
            "- {when: {user: '('}, then: []}",
        ] {
            assert!(book.replace(bad).is_err(), "{bad}");
        }
        assert_eq!(book.standings().len(), 1);
    }
}
