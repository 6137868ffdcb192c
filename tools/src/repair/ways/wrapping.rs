//! Arguments inside a whole call: `{"name", "arguments"}`, `{"type": "function", "function": {…}}`.

use serde_json::{Map, Value};

use crate::repair::Change;
use crate::repair::edit::Edit;
use crate::spec::Spec;

/// Where arguments stand in a call.
const INNER: [&str; 5] = ["arguments", "parameters", "input", "args", "function"];

/// What else stands in a call.
const BESIDE: [&str; 5] = ["name", "type", "id", "tool", "tool_name"];

/// Takes the arguments out of a call of this tool.
pub fn unwrap(spec: &Spec, root: &Value) -> Option<Edit> {
    let object = root.as_object()?;
    let own = spec.input_schema().get("properties")?.as_object()?;
    let mut inner = INNER
        .iter()
        .filter(|key| !own.contains_key(**key))
        .filter_map(|key| object.get(*key));
    let value = inner.next()?;
    if inner.next().is_some() || !value.is_object() && !value.is_string() {
        return None;
    }
    let only_a_call = object
        .keys()
        .all(|key| INNER.contains(&key.as_str()) || BESIDE.contains(&key.as_str()));
    (only_a_call && names_it(spec, object)).then(|| Edit::Replace {
        at: String::new(),
        value: value.clone(),
        what: Change::Unwrapped,
    })
}

/// Whether the call, where it names a tool, names this one.
fn names_it(spec: &Spec, call: &Map<String, Value>) -> bool {
    ["name", "tool", "tool_name"]
        .iter()
        .filter_map(|key| call.get(*key))
        .all(|name| name == spec.name())
}
