//! From what a model says to what its server sends.

use crate::models::Emission;
use crate::tokens::{Tokenizer, Tokens};

use super::{Call, Ending, Function, Hearing, Ids, Part, Say, Script};

/// After so many equal tokens the server gives up, without a word, unless its runner reads the answer.
pub const REPEATS: usize = 31;

/// What the server makes of sayings.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    /// How it reads what the model writes, and how calls come.
    pub hearing: Hearing,
    /// The most tokens that may be spoken.
    pub limit: usize,
    /// The exact length that the text is brought to, in tokens.
    pub length: Option<usize>,
    /// Where the ids of calls come from.
    pub ids: Ids,
    /// What the tokens of the model are.
    pub tokenizer: Tokenizer,
}

pub(super) fn emit(says: Vec<Say>, rules: &Rules) -> Script {
    let mut writer = Writer {
        rules,
        called: 0,
        left: rules.limit,
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
                let mut tokens = self.rules.tokenizer.tokens(text);
                if let Some(length) = self.rules.length {
                    tokens = tokens.resized(length);
                }
                self.tell(tokens, Part::Text)
            }
            Say::Thinking(text) => self.tell(self.rules.tokenizer.tokens(text), Part::Thinking),
            Say::Raw(text) => self.raw(self.rules.tokenizer.tokens(text)),
            Say::Endless(text) => {
                // One more than there is room for, so that it is cut.
                let count = self.left.saturating_add(1);
                self.raw(self.rules.tokenizer.tokens(text).endless(count))
            }
            Say::Call { name, arguments } => {
                let tokens = Tokens::pieces(Call::text(&name, &arguments));
                match self.rules.hearing.emission {
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
        if let Some(room) = self.spend(text.count()) {
            if self.rules.hearing.emission == Emission::Native {
                self.script.ending = Ending::Error(Call::unfinished(&name));
            } else if self.rules.hearing.tag.is_none() {
                self.script.closing = text.resized(room).joined();
            }
            return false;
        }
        self.push_call(name, arguments);
        true
    }

    /// What the model writes, as the server hears it.
    fn raw(&mut self, tokens: Tokens) -> bool {
        let mut tokens = tokens;
        let repeats = match self.rules.hearing.emission {
            Emission::Native => None,
            _ => repeats(&tokens, self.left),
        };
        if let Some(count) = repeats {
            tokens = tokens.resized(count);
        }
        let cut = self.spend(tokens.count());
        if let Some(room) = cut {
            tokens = tokens.resized(room);
        }
        let heard = self.rules.hearing.hear(&tokens.joined());
        let told = [
            (heard.thinking, Part::Thinking as fn(Tokens) -> Part),
            (heard.text, Part::Text),
        ];
        for (text, part) in told {
            let tokens = self.rules.tokenizer.tokens(text);
            if tokens.count() > 0 {
                self.script.parts.push(part(tokens));
            }
        }
        for (name, arguments) in heard.calls {
            self.push_call(name, arguments);
        }
        self.script.closing.push_str(&heard.closing);
        if let Some(refusal) = heard.error {
            self.script.ending = Ending::Error(refusal);
            return false;
        }
        if repeats.is_some() {
            self.script.ending = Ending::Missing;
            return false;
        }
        cut.is_none()
    }

    fn push_call(&mut self, name: String, arguments: serde_json::Value) {
        let emission = self.rules.hearing.emission;
        let call = Call {
            id: Some(self.rules.ids.get(self.called, emission)),
            function: Function {
                index: self.called,
                name,
                arguments,
            },
        };
        self.called += 1;
        if emission == Emission::Native {
            self.script.calls.push(call);
        } else {
            self.script.parts.push(Part::Calls(vec![call]));
        }
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

/// After how many tokens a server gives up because the last ones are equal, if there is room for so many.
fn repeats(tokens: &Tokens, room: usize) -> Option<usize> {
    let mut last = None;
    let mut equal = 0;
    for place in 0..tokens.count().min(room) {
        let token = tokens.get(place)?;
        let token = token.trim().to_owned();
        equal = if last.as_ref() == Some(&token) {
            equal + 1
        } else {
            1
        };
        if equal == REPEATS {
            return Some(place + 1);
        }
        last = Some(token);
    }
    None
}
