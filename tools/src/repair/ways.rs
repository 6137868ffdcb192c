//! The ways to mend what a validator found.

mod coerce;
mod names;
mod wrapping;

use jsonschema::ValidationError;
use jsonschema::error::ValidationErrorKind as Kind;
use serde_json::Value;

use super::Change;
use super::edit::{Edit, split};
use crate::spec::Spec;

/// Most alternatives of a schema that are looked into.
const MAX_ALTERNATIVES: usize = 8;

/// Ways to mend the first fault, the likeliest first. Each is edits that belong together: those that mend other places with the
/// same fault are among them.
pub fn ways(spec: &Spec, root: &Value, faults: &[ValidationError<'_>]) -> Vec<Vec<Edit>> {
    let Some(first) = faults.first() else {
        return Vec::new();
    };
    let mut all: Vec<Vec<Edit>> = wrapping::unwrap(spec, root)
        .into_iter()
        .map(|edit| vec![edit])
        .collect();
    for mut way in of_one(spec, root, first) {
        if let [Edit::Replace { what, .. }] = way.as_slice() {
            let same = what.clone();
            let others = faults
                .iter()
                .skip(1)
                .filter(|fault| fault.schema_path() == first.schema_path())
                .filter_map(|fault| alike(spec, root, fault, &same));
            way.extend(others);
        }
        all.push(way);
    }
    all
}

/// The edit that mends a fault by this change.
fn alike(spec: &Spec, root: &Value, fault: &ValidationError<'_>, change: &Change) -> Option<Edit> {
    of_one(spec, root, fault)
        .into_iter()
        .filter_map(|way| match <[Edit; 1]>::try_from(way) {
            Ok([edit]) => Some(edit),
            Err(_) => None,
        })
        .find(|edit| matches!(edit, Edit::Replace { what, .. } if what == change))
}

fn of_one(spec: &Spec, root: &Value, fault: &ValidationError<'_>) -> Vec<Vec<Edit>> {
    let at = fault.instance_path().as_str();
    let Some(value) = root.pointer(at) else {
        return Vec::new();
    };
    let schema = spec.input_schema();
    let single = |edits: Vec<Edit>| edits.into_iter().map(|edit| vec![edit]).collect();
    match fault.kind() {
        Kind::Required { property } => match (property.as_str(), around(schema, fault)) {
            (Some(property), Some(around)) => single(
                names::missing(at, value, property, around)
                    .into_iter()
                    .collect(),
            ),
            _ => Vec::new(),
        },
        Kind::AdditionalProperties { unexpected } => around(schema, fault)
            .map(|around| names::unexpected(at, value, unexpected, around))
            .unwrap_or_default(),
        Kind::Type { kind } => {
            let mut ways = drop_empty(at, value);
            ways.extend(coerce::to_type(at, value, kind));
            single(ways)
        }
        Kind::Enum { options } => {
            let mut ways = drop_empty(at, value);
            let options = options.as_array().map(Vec::as_slice).unwrap_or_default();
            ways.extend(coerce::to_option(at, value, options));
            single(ways)
        }
        Kind::Constant { expected_value } => {
            let mut ways = drop_empty(at, value);
            let only = std::slice::from_ref(expected_value.as_ref());
            ways.extend(coerce::to_option(at, value, only));
            single(ways)
        }
        Kind::AnyOf { context } | Kind::OneOfNotValid { context } => {
            let mut ways: Vec<Vec<Edit>> = single(drop_empty(at, value));
            for alternative in context.iter().take(MAX_ALTERNATIVES) {
                if let Some(fault) = alternative.first() {
                    ways.extend(of_one(spec, root, fault));
                }
            }
            ways
        }
        _ => single(drop_empty(at, value)),
    }
}

/// The schema that holds the keyword which a value does not satisfy.
fn around<'a>(schema: &'a Value, fault: &ValidationError<'_>) -> Option<&'a Value> {
    let (holder, _) = fault.schema_path().as_str().rsplit_once('/')?;
    schema.pointer(holder)
}

/// Drops a property whose value says that there is none. One that is required is then missing, so that this way leads nowhere.
fn drop_empty(at: &str, value: &Value) -> Vec<Edit> {
    let empty = match value {
        Value::Null => true,
        Value::String(text) => {
            let text = text.trim();
            text.is_empty() || text.eq_ignore_ascii_case("null") || text == "None"
        }
        _ => false,
    };
    match split(at) {
        Some((parent, key)) if empty => vec![Edit::Remove {
            parent,
            key,
            what: Change::DroppedEmpty,
        }],
        _ => Vec::new(),
    }
}
