//! What a server makes of the text that a model writes: thinking, calls, and the rest.
//!
//! Measured with models that play scripts, on servers that render prompts themselves and on those whose runner does. What
//! a server does while the text still comes is not followed: it is read when it is whole.

use serde_json::{Map, Value};

use crate::models::Emission;
use crate::refusal::Refusal;

use super::Call;

/// What a server knows of a model and a request when it reads an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Hearing {
    /// Who reads the calls, and whether they are recognised.
    pub emission: Emission,
    /// What stands before a call; bare JSON is a call where there is none.
    pub tag: Option<String>,
    /// The names of the offered tools.
    pub tools: Vec<String>,
    /// Whether the thinking is taken out of the text.
    pub thinks: bool,
}

/// What was heard.
#[derive(Debug, Default, PartialEq)]
pub struct Heard {
    /// What stood in tags of thinking.
    pub thinking: String,
    /// The text.
    pub text: String,
    /// The calls: their names and arguments.
    pub calls: Vec<(String, Value)>,
    /// Text that is given out with the last document alone.
    pub closing: String,
    /// What the runner could not read.
    pub error: Option<Refusal>,
}

impl Hearing {
    /// Reads a whole answer.
    pub fn hear(&self, written: &str) -> Heard {
        let mut heard = Heard::default();
        let text = self.take_thinking(written, &mut heard);
        match self.emission {
            _ if self.tools.is_empty() => heard.text = text.to_owned(),
            Emission::Text => heard.text = text.to_owned(),
            Emission::Native => self.native(text, &mut heard),
            Emission::Rendered => self.rendered(text, &mut heard),
            Emission::Swallow => {
                self.rendered(text, &mut heard);
                heard.calls.clear();
            }
        }
        heard
    }

    /// Thinking that is not closed is all there is.
    fn take_thinking<'a>(&self, written: &'a str, heard: &mut Heard) -> &'a str {
        let inside = written.trim_start().strip_prefix("<think>");
        let Some(inside) = inside.filter(|_| self.thinks) else {
            return written;
        };
        let (thinking, text) = inside.split_once("</think>").unwrap_or((inside, ""));
        thinking.trim().clone_into(&mut heard.thinking);
        text.trim_start()
    }

    /// The server's own reader: after the tag, any object behind the name of a tool that was offered.
    fn rendered(&self, text: &str, heard: &mut Heard) {
        let bare = self.tag.is_none();
        let tag = self.tag.as_deref().unwrap_or("{");
        let Some(place) = text.find(tag) else {
            text.clone_into(&mut heard.text);
            return;
        };
        let (before, mut rest) = text.split_at(place);
        // Bare JSON is a call only where nothing stands before it.
        if bare && !before.trim().is_empty() {
            text.clone_into(&mut heard.text);
            return;
        }
        if !bare {
            before.clone_into(&mut heard.text);
        }
        while let Some((name, behind_name)) = self.first_tool(rest)
            && let Some((arguments, behind)) = arguments(rest, name)
        {
            heard.calls.push((name.to_owned(), arguments));
            rest = rest.get(behind.max(behind_name)..).unwrap_or_default();
        }
        // What is no call is lost behind a tag. Without one it is text: at once when its braces are closed, else when
        // it is clear that they never will be.
        if !bare || !heard.calls.is_empty() {
            return;
        }
        if objects(rest).next().is_some() {
            rest.clone_into(&mut heard.text);
        } else {
            rest.clone_into(&mut heard.closing);
        }
    }

    /// The offered tool whose name comes first, and the place behind it; the longer one of two in one place.
    fn first_tool(&self, text: &str) -> Option<(&str, usize)> {
        let found = self.tools.iter().filter_map(|name| {
            let place = text.find(name.as_str())?;
            Some((place, std::cmp::Reverse(name.len()), name.as_str()))
        });
        let (place, _, name) = found.min()?;
        Some((name, place + name.len()))
    }

    /// The runner's reader: its grammar lets only offered names follow the tag, and a call that is not whole is an error.
    fn native(&self, text: &str, heard: &mut Heard) {
        let tag = self.tag.as_deref().unwrap_or("<tool_call>");
        let mut pieces = text.split(tag);
        heard.text = pieces.next().unwrap_or_default().trim_end().to_owned();
        for piece in pieces {
            let call = objects(piece).next().and_then(|(object, _)| call(object));
            let known = |name: &String| self.tools.contains(name);
            match call {
                Some((name, arguments)) if known(&name) => heard.calls.push((name, arguments)),
                // Whatever else the model began, it becomes a call of an offered tool that does not end.
                _ => {
                    let name = self.first_tool(piece).map(|(name, _)| name);
                    let name = name.or(self.tools.first().map(String::as_str));
                    heard.error = Some(Call::unfinished(name.unwrap_or_default()));
                    return;
                }
            }
        }
    }
}

/// The arguments of a call of this tool in the first whole object of a text, and the place behind it.
fn arguments(text: &str, tool: &str) -> Option<(Value, usize)> {
    let (object, behind) = objects(text).next()?;
    let found = inner(&object, tool).map(Value::Object);
    Some((found.unwrap_or(Value::Object(object)), behind))
}

/// Arguments inside of an object: those of a call, those under the tool's name, or the same further inside.
fn inner(object: &Map<String, Value>, tool: &str) -> Option<Map<String, Value>> {
    if object.contains_key("name") {
        return ["arguments", "parameters"]
            .iter()
            .find_map(|field| as_object(object.get(*field)?));
    }
    if let Some(arguments) = object.get(tool).and_then(as_object) {
        return Some(arguments);
    }
    object.values().find_map(|value| match value {
        Value::Object(child) => inner(child, tool),
        Value::Array(items) => items.iter().find_map(|item| inner(item.as_object()?, tool)),
        _ => None,
    })
}

fn call(object: Map<String, Value>) -> Option<(String, Value)> {
    let name = object.get("name")?.as_str()?.to_owned();
    let arguments = object.get("arguments").or(object.get("parameters"))?;
    Some((name, Value::Object(as_object(arguments)?)))
}

/// An object, or one that is written into a string.
fn as_object(value: &Value) -> Option<Map<String, Value>> {
    match value {
        Value::Object(object) => Some(object.clone()),
        Value::String(text) => serde_json::from_str(text).ok(),
        _ => None,
    }
}

/// The JSON objects in a text, in order, each with the place behind it. What only looks like one is passed over.
fn objects(text: &str) -> impl Iterator<Item = (Map<String, Value>, usize)> {
    let mut from = 0;
    std::iter::from_fn(move || {
        loop {
            let start = from + text.get(from..)?.find('{')?;
            let read = serde_json::Deserializer::from_str(text.get(start..)?);
            let mut read = read.into_iter::<Map<String, Value>>();
            if let Some(Ok(object)) = read.next() {
                from = start + read.byte_offset();
                return Some((object, from));
            }
            from = start + 1;
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const CALL: &str = r#"{"name": "get_weather", "parameters": {"city": "Paris"}}"#;

    fn hearing(emission: Emission, tag: Option<&str>) -> Hearing {
        Hearing {
            emission,
            tag: tag.map(str::to_owned),
            tools: vec!["get".to_owned(), "get_weather".to_owned()],
            thinks: false,
        }
    }

    fn bare(written: &str) -> Heard {
        hearing(Emission::Rendered, None).hear(written)
    }

    fn tagged(written: &str) -> Heard {
        hearing(Emission::Rendered, Some("<tool_call>")).hear(written)
    }

    fn native(written: &str) -> Heard {
        hearing(Emission::Native, Some("<tool_call>")).hear(written)
    }

    fn called(arguments: &[Value]) -> Heard {
        let calls = arguments
            .iter()
            .map(|arguments| ("get_weather".to_owned(), arguments.clone()));
        Heard {
            calls: calls.collect(),
            ..Heard::default()
        }
    }

    fn said(text: &str) -> Heard {
        Heard {
            text: text.to_owned(),
            ..Heard::default()
        }
    }

    #[test]
    fn bare_calls_are_read_where_nothing_stands_before_them() {
        let paris = json!({"city": "Paris"});
        assert_eq!(bare(CALL), called(std::slice::from_ref(&paris)));
        let rome = CALL.replace("Paris", "Rome");
        let both = [paris.clone(), json!({"city": "Rome"})];
        assert_eq!(bare(&format!("\n{CALL}\n{rome}")), called(&both));
        let function = format!(r#"{{"type":"function","function":{CALL}}}"#);
        assert_eq!(bare(&function), called(std::slice::from_ref(&paris)));
        let string = r#"{"name": "get_weather", "arguments": "{\"city\": \"Paris\"}"}"#;
        assert_eq!(bare(string), called(&[paris]));
        for text in [
            format!("Let me see. {CALL}"),
            "[get_weather(city=\"Paris\")]".into(),
        ] {
            assert_eq!(bare(&text), said(&text));
        }
    }

    #[test]
    fn an_object_that_names_a_tool_is_taken_for_its_arguments() {
        let action = json!({"action": "get_weather", "arguments": {"city": "Paris"}});
        assert_eq!(bare(&action.to_string()), called(&[action]));
    }

    #[test]
    fn what_is_no_call_is_text_or_lost() {
        let unknown = CALL.replace("get_weather", "wether");
        assert_eq!(bare(&unknown), said(&unknown));
        let cut = &CALL[..CALL.len() - 5];
        let closing = Heard {
            closing: cut.to_owned(),
            ..Heard::default()
        };
        assert_eq!(bare(cut), closing);
        let call = |text: &str| format!("<tool_call>\n{text}\n</tool_call>");
        assert_eq!(tagged(&call(CALL)), called(&[json!({"city": "Paris"})]));
        assert_eq!(tagged(&call(&unknown)), Heard::default());
        assert_eq!(tagged(&format!("Hm. {}", call(cut))), said("Hm. "));
        assert_eq!(tagged(CALL), said(CALL));
    }

    #[test]
    fn the_runner_fails_where_it_cannot_read() {
        let call = |text: &str| format!("<tool_call>{text}</tool_call>");
        let paris = json!({"city": "Paris"});
        assert_eq!(
            native(&(call(CALL) + &call(CALL))),
            called(&[paris.clone(), paris])
        );
        assert_eq!(native(CALL), said(CALL));
        let failed = |text: &str, name| Heard {
            text: text.to_owned(),
            error: Some(Call::unfinished(name)),
            ..Heard::default()
        };
        let unknown = CALL.replace("get_weather", "wether");
        assert_eq!(native(&call(&unknown)), failed("", "get"));
        let cut = format!("Hm.\n<tool_call>{}", &CALL[..40]);
        assert_eq!(native(&cut), failed("Hm.", "get_weather"));
    }

    #[test]
    fn thinking_is_taken_out_where_it_is_wanted() {
        let written = "<think>Two and two.</think>The answer is 4.";
        assert_eq!(bare(written), said(written));
        let thinker = Hearing {
            thinks: true,
            ..hearing(Emission::Rendered, None)
        };
        let thought = |thinking: &str, text: &str| Heard {
            thinking: thinking.to_owned(),
            ..said(text)
        };
        assert_eq!(
            thinker.hear(written),
            thought("Two and two.", "The answer is 4.")
        );
        assert_eq!(
            thinker.hear("<think>Two and two is"),
            thought("Two and two is", "")
        );
        assert_eq!(thinker.hear("No tags."), said("No tags."));
    }

    #[test]
    fn emissions_that_lose_calls() {
        assert_eq!(hearing(Emission::Text, None).hear(CALL), said(CALL));
        assert_eq!(
            hearing(Emission::Swallow, None).hear(CALL),
            Heard::default()
        );
        let without = Hearing {
            tools: Vec::new(),
            ..hearing(Emission::Rendered, None)
        };
        assert_eq!(without.hear(CALL), said(CALL));
    }
}
