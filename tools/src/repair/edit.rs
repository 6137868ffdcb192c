//! One edit of a JSON value, at a JSON pointer.

use serde_json::Value;

use super::{Change, Repair};

/// One edit.
#[derive(Debug, Clone, PartialEq)]
pub enum Edit {
    /// The value at `at` becomes `value`.
    Replace {
        at: String,
        value: Value,
        what: Change,
    },
    /// The property `key` of the object at `parent` goes.
    Remove {
        parent: String,
        key: String,
        what: Change,
    },
    /// The property `from` of the object at `parent` is called `to`.
    Rename {
        parent: String,
        from: String,
        to: String,
    },
}

impl Edit {
    /// Makes the edit; nothing when its place is not there (any more).
    pub fn apply(self, root: &mut Value) -> Option<Repair> {
        match self {
            Self::Replace { at, value, what } => {
                *root.pointer_mut(&at)? = value;
                Some(Repair { at, what })
            }
            Self::Remove { parent, key, what } => {
                root.pointer_mut(&parent)?.as_object_mut()?.remove(&key)?;
                let at = child(&parent, &key);
                Some(Repair { at, what })
            }
            Self::Rename { parent, from, to } => {
                let object = root.pointer_mut(&parent)?.as_object_mut()?;
                if object.contains_key(&to) {
                    return None;
                }
                let value = object.remove(&from)?;
                object.insert(to.clone(), value);
                let at = child(&parent, &to);
                Some(Repair {
                    at,
                    what: Change::Renamed { from },
                })
            }
        }
    }
}

/// The pointer of a property.
fn child(parent: &str, key: &str) -> String {
    format!("{parent}/{}", key.replace('~', "~0").replace('/', "~1"))
}

/// The pointer of the surrounding value, and the key in there.
pub fn split(at: &str) -> Option<(String, String)> {
    let (parent, key) = at.rsplit_once('/')?;
    Some((parent.to_owned(), key.replace("~1", "/").replace("~0", "~")))
}
