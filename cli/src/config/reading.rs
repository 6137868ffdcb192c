//! From a tree to what it says, with everything that is wrong in it.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::mistakes::{Mistake, Place, likely};
use super::shape::{Misfit, Shape, join};
use super::tree::{self, Content, Node};

/// What was found on the way through files and variables.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) mistakes: Vec<Mistake>,
    /// Where each key stands; a later source takes the place of an earlier one.
    pub(super) places: BTreeMap<String, Place>,
}

impl Findings {
    pub(super) fn wrong(&mut self, place: Place, key: &str, message: impl Into<String>) {
        self.mistakes.push(Mistake {
            place,
            key: (!key.is_empty()).then(|| key.to_owned()),
            message: message.into(),
        });
    }

    /// Notes where a key stands; the last one holds.
    pub(super) fn stands(&mut self, key: &str, place: Place) {
        self.places.insert(key.to_owned(), place);
    }

    /// Where a key stands, or what is around it.
    pub(super) fn place_of(&self, key: &str) -> Place {
        let mut key = key;
        loop {
            if let Some(place) = self.places.get(key) {
                return place.clone();
            }
            match key.rsplit_once(['.', '[']) {
                Some((around, _)) => key = around,
                None => return Place::File,
            }
        }
    }

    /// Whether something is wrong with this key itself.
    pub(super) fn is_wrong(&self, key: &str) -> bool {
        self.mistakes
            .iter()
            .any(|mistake| mistake.key.as_deref() == Some(key))
    }
}

/// One source: a file, or the value of a variable.
#[derive(Debug)]
pub(super) struct Reader<'r> {
    pub(super) text: &'r str,
    /// The variable, none for a file.
    pub(super) variable: Option<&'r str>,
    pub(super) findings: &'r mut Findings,
}

impl Reader<'_> {
    /// What the node says, without what does not fit; nothing when it says nothing or does not fit at all.
    pub(super) fn read(&mut self, shape: &Shape, key: &str, node: &Node) -> Option<Value> {
        match (shape, &node.value) {
            // A key with nothing behind it is a key that is not set.
            (_, Content::Scalar(Value::Null)) => None,
            (Shape::Anything, _) => Some(tree::plain(node)),
            (Shape::Section(keys), Content::Map(entries)) => {
                let known = |name: &str| {
                    keys.iter()
                        .find(|(key, _)| key == name)
                        .map(|(_, shape)| shape)
                };
                let unknown = |name: &str| unknown_key(name, key, keys);
                Some(self.entries(key, entries, |name| {
                    known(name).ok_or_else(|| unknown(name))
                }))
            }
            (Shape::Named { names, each }, Content::Map(entries)) => {
                let fits = |name: &str| names.check(name).map_err(|misfit| misfit.0);
                Some(self.entries(key, entries, |name| fits(name).map(|()| &**each)))
            }
            (Shape::List { item, at_least }, Content::List(items)) => {
                if (items.len() as u64) < *at_least {
                    self.misfit(key, &shape.misfit("an empty list"));
                }
                Some(self.items(key, items, item))
            }
            (_, Content::Scalar(value)) => match shape.fit(value, self.written(node)) {
                Ok(value) => Some(value),
                Err(misfit) => {
                    self.misfit(key, &misfit);
                    None
                }
            },
            (_, Content::List(_)) => {
                self.misfit(key, &shape.misfit("a list"));
                None
            }
            (_, Content::Map(_)) => {
                self.misfit(key, &shape.misfit("keys with values"));
                None
            }
        }
    }

    fn entries<'s>(
        &mut self,
        key: &str,
        entries: &[(serde_saphyr::Spanned<String>, Node)],
        shape_of: impl Fn(&str) -> Result<&'s Shape, String>,
    ) -> Value {
        let mut map = Map::new();
        let mut lines = BTreeMap::new();
        for (name, node) in entries {
            let line = name.referenced.line();
            let name = name.value.as_str();
            let key = if key.is_empty() {
                name.to_owned()
            } else {
                format!("{key}.{name}")
            };
            if let Some(first) = lines.insert(name, line) {
                let message = format!("is here a second time, the first is in line {first}");
                self.findings.wrong(self.place(line), &key, message);
            }
            match shape_of(name) {
                Ok(shape) => {
                    // The key's line is where its value is looked for, also when that begins further down.
                    self.findings.stands(&key, self.place(line));
                    if let Some(value) = self.read(shape, &key, node) {
                        map.insert(name.to_owned(), value);
                    }
                }
                Err(message) => self.findings.wrong(self.place(line), &key, message),
            }
        }
        Value::Object(map)
    }

    fn items(&mut self, key: &str, items: &[Node], shape: &Shape) -> Value {
        let mut list = Vec::new();
        for (n, node) in items.iter().enumerate() {
            let key = format!("{key}[{n}]");
            self.findings
                .stands(&key, self.place(node.referenced.line()));
            if matches!(node.value, Content::Scalar(Value::Null)) {
                self.misfit(&key, &shape.misfit(""));
            }
            list.extend(self.read(shape, &key, node));
        }
        Value::Array(list)
    }

    fn misfit(&mut self, key: &str, misfit: &Misfit) {
        let place = self.findings.place_of(key);
        // The item of a list is known by its line and by what is quoted from it.
        let key = key.split('[').next().unwrap_or_default();
        self.findings.wrong(place, key, misfit.0.clone());
    }

    fn written(&self, node: &Node) -> &str {
        tree::written(self.text, node).unwrap_or_default()
    }

    fn place(&self, line: u64) -> Place {
        match self.variable {
            Some(variable) => Place::Variable(variable.to_owned()),
            None => Place::Line(line),
        }
    }
}

fn unknown_key(name: &str, section: &str, keys: &[(String, Shape)]) -> String {
    let around = if section.is_empty() {
        "the configuration"
    } else {
        section
    };
    let words = keys.iter().map(|(key, _)| key.as_str());
    format!(
        "unknown key; accepted in {around} are {}{}",
        join(words.clone()),
        likely(name, words)
    )
}
