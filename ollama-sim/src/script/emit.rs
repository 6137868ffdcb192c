//! From what a model says to what its server sends.

use crate::models::Emission;
use crate::refusal::Refusal;
use crate::tokens::Tokens;

use super::{Call, Ending, Function, Ids, Part, Say, Script};

/// What the server makes of sayings.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    /// How calls come.
    pub emission: Emission,
    /// The most tokens that may be spoken.
    pub limit: Option<usize>,
    /// The exact length that the text is brought to, in tokens.
    pub length: Option<usize>,
    /// Where the ids of calls come from.
    pub ids: Ids,
}

pub(super) fn emit(says: Vec<Say>, rules: &Rules) -> Script {
    let mut writer = Writer {
        rules,
        called: 0,
        left: rules.limit.unwrap_or(usize::MAX),
        script: Script {
            parts: Vec::new(),
            closing: String::new(),
            calls: Vec::new(),
            ending: Ending::Done("stop"),
            spoken: 0,
        },
    };
    for say in says {
        if !writer.say(say) {
            break;
        }
    }
    writer.script
}

struct Writer<'a> {
    rules: &'a Rules,
    called: usize,
    left: usize,
    script: Script,
}

impl Writer<'_> {
    /// Whether there is room for more.
    fn say(&mut self, say: Say) -> bool {
        match say {
            Say::Text(text) => {
                let mut tokens = Tokens::of(text);
                if let Some(length) = self.rules.length {
                    tokens = tokens.resized(length);
                }
                self.tell(tokens, Part::Text)
            }
            Say::Thinking(text) => self.tell(Tokens::of(text), Part::Thinking),
            Say::Call { name, arguments } => {
                let tokens = Tokens::pieces(Call::text(&name, &arguments));
                match self.rules.emission {
                    Emission::Text => self.tell(tokens, Part::Text),
                    Emission::Swallow => self.spend(tokens.count()).is_none(),
                    Emission::Rendered | Emission::Native => self.call(name, arguments, tokens),
                }
            }
        }
    }

    fn tell(&mut self, tokens: Tokens, part: fn(Tokens) -> Part) -> bool {
        let cut = self.spend(tokens.count());
        let told = match cut {
            Some(room) => tokens.resized(room),
            None => tokens,
        };
        if told.count() > 0 {
            self.script.parts.push(part(told));
        }
        cut.is_none()
    }

    fn call(&mut self, name: String, arguments: serde_json::Value, text: Tokens) -> bool {
        let native = self.rules.emission == Emission::Native;
        if let Some(room) = self.spend(text.count()) {
            if native {
                self.script.ending = Ending::Error(Refusal::internal(format!(
                    "llama-server returned invalid tool call arguments for {name:?}: unexpected end of JSON input"
                )));
            } else {
                self.script.closing = text.resized(room).joined();
            }
            return false;
        }
        let call = Call {
            id: Some(self.rules.ids.get(self.called, self.rules.emission)),
            function: Function {
                index: self.called,
                name,
                arguments,
            },
        };
        self.called += 1;
        if native {
            self.script.calls.push(call);
        } else {
            self.script.parts.push(Part::Calls(vec![call]));
        }
        true
    }

    /// Counts tokens. When there are more than are left, the answer ends by its length, and this is how many go.
    fn spend(&mut self, count: usize) -> Option<usize> {
        let room = self.left;
        if count <= room {
            self.left -= count;
            self.script.spoken += count;
            return None;
        }
        self.left = 0;
        self.script.spoken += room;
        self.script.ending = Ending::Done("length");
        Some(room)
    }
}
