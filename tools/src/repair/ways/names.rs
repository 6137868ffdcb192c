//! Names of properties that a model has nearly got right.

use serde_json::{Map, Value};

use crate::repair::Change;
use crate::repair::edit::Edit;

/// Renames the one property that can be meant by a missing one.
pub fn missing(at: &str, value: &Value, property: &str, schema: &Value) -> Option<Edit> {
    let object = value.as_object()?;
    let known = properties(schema);
    let near = plain(property);
    let mut candidates = object
        .keys()
        .filter(|key| !known.is_some_and(|known| known.contains_key(*key)) && plain(key) == near);
    let from = candidates.next()?;
    let alone = candidates.next().is_none() && only_target(object, known, property);
    alone.then(|| Edit::Rename {
        parent: at.to_owned(),
        from: from.clone(),
        to: property.to_owned(),
    })
}

/// Renames what can only be meant for another name, and drops the rest; or drops all.
pub fn unexpected(at: &str, value: &Value, names: &[String], schema: &Value) -> Vec<Vec<Edit>> {
    let Some(object) = value.as_object() else {
        return Vec::new();
    };
    let known = properties(schema);
    let target = |name: &String| {
        let near = plain(name);
        if names.iter().filter(|other| plain(other) == near).count() > 1 {
            return None;
        }
        let to = known?
            .keys()
            .find(|key| !object.contains_key(*key) && plain(key) == near)?;
        only_target(object, known, to).then(|| to.clone())
    };
    let remove = |name: &String| Edit::Remove {
        parent: at.to_owned(),
        key: name.clone(),
        what: Change::DroppedUnknown,
    };
    let renamed = |name: &String| {
        Some(Edit::Rename {
            parent: at.to_owned(),
            from: name.clone(),
            to: target(name)?,
        })
    };
    let mut ways = Vec::new();
    if names.iter().any(|name| target(name).is_some()) {
        ways.push(
            names
                .iter()
                .map(|name| renamed(name).unwrap_or_else(|| remove(name)))
                .collect(),
        );
    }
    ways.push(names.iter().map(remove).collect());
    ways
}

/// Whether no other property that is absent could be meant as well.
fn only_target(
    object: &Map<String, Value>,
    known: Option<&Map<String, Value>>,
    target: &str,
) -> bool {
    let near = plain(target);
    !known.is_some_and(|known| {
        known
            .keys()
            .any(|key| key != target && !object.contains_key(key) && plain(key) == near)
    })
}

fn properties(schema: &Value) -> Option<&Map<String, Value>> {
    schema.get("properties")?.as_object()
}

/// A name without what models get wrong in it: case, `_`, `-` and blanks.
fn plain(name: &str) -> String {
    name.chars()
        .filter(|c| !matches!(c, '_' | '-' | ' '))
        .flat_map(char::to_lowercase)
        .collect()
}
