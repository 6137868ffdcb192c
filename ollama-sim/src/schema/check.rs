//! Which schemas a server cannot make a grammar of. Measured; of `pattern` only the form is looked at.

use serde_json::{Map, Value};

use crate::refusal::Refusal;
use crate::release::Release;

const TYPES: [&str; 7] = [
    "string", "number", "integer", "boolean", "null", "object", "array",
];
/// Bounds that count something.
const COUNTS: [&str; 4] = ["minLength", "maxLength", "minItems", "maxItems"];
/// Deeper than this a schema contains itself, which a grammar can.
const DEEPEST: usize = 64;

/// Looks at all of a schema that its grammar is made of.
///
/// # Errors
/// 400 with the runner's document from 0.30 on, where the place and the reason are told; before, 500 without.
pub fn check(schema: &Value, release: Release) -> Result<(), Refusal> {
    match release {
        Release::V0_33 => new(schema, schema, "#", 0).map_err(|reason| {
            let message = format!(
                "Field 'json_schema': \"json_schema\": JSON schema conversion failed:\nJSON schema error at {reason}"
            );
            Refusal::runner(&message)
        }),
        Release::V0_17 if old(schema, schema, 0) => Ok(()),
        Release::V0_17 => Err(Refusal::internal("invalid JSON schema in format")),
    }
}

/// As 0.33 does: what is wrong, behind the place where it is.
fn new(schema: &Value, root: &Value, place: &str, depth: usize) -> Result<(), String> {
    let wrong = |reason: &str| Err(format!("{place}: {reason}"));
    if depth > DEEPEST {
        return Ok(());
    }
    let Some(fields) = schema.as_object() else {
        return wrong("schema must be an object");
    };
    if let Some(name) = fields.get("$ref").and_then(Value::as_str) {
        let Some(path) = name.strip_prefix("#/") else {
            return wrong(&format!(
                "unsupported $ref {name}, only references into the same document are supported"
            ));
        };
        return match follow(path, root) {
            Ok(target) => new(target, root, name, depth + 1),
            Err(missing) => wrong(&format!("cannot resolve $ref {name}, {missing} not found")),
        };
    }
    for choice in ["oneOf", "anyOf", "allOf", "prefixItems"] {
        if let Some(branches) = fields.get(choice) {
            let place = format!("{place}/{choice}");
            let Some(branches) = branches.as_array() else {
                return Err(format!("{place}: must be an array of schemas"));
            };
            if branches.is_empty() {
                return Err(format!("{place}: must not be empty"));
            }
            for (number, branch) in branches.iter().enumerate() {
                new(branch, root, &format!("{place}/{number}"), depth + 1)?;
            }
        }
    }
    if let Some(values) = fields.get("enum")
        && values.as_array().is_none_or(Vec::is_empty)
    {
        return wrong("enum must be a non-empty array");
    }
    types(fields, place)?;
    for name in COUNTS {
        if fields.get(name).is_some_and(|count| !count.is_u64()) {
            return wrong(&format!("{name} must be a non-negative integer"));
        }
    }
    for name in ["minimum", "maximum"] {
        if fields.get(name).is_some_and(|bound| !bound.is_number()) {
            return wrong(&format!("{name} must be a number"));
        }
    }
    if let Some(properties) = fields.get("properties") {
        let Some(properties) = properties.as_object() else {
            return wrong("properties must be an object");
        };
        for (name, property) in properties {
            new(
                property,
                root,
                &format!("{place}/properties/{name}"),
                depth + 1,
            )?;
        }
    }
    for name in ["items", "additionalProperties"] {
        if let Some(inner) = fields.get(name).filter(|inner| inner.is_object()) {
            new(inner, root, &format!("{place}/{name}"), depth + 1)?;
        }
    }
    Ok(())
}

fn types(fields: &Map<String, Value>, place: &str) -> Result<(), String> {
    let known = |name: &str, place: &str| match TYPES.contains(&name) {
        true => Ok(()),
        false => Err(format!("{place}: unrecognized type {name}")),
    };
    let mixed = || format!("{place}: type must be a string or an array of strings");
    match fields.get("type") {
        None | Some(Value::Null) => Ok(()),
        Some(Value::String(name)) => known(name, place),
        Some(Value::Array(names)) => {
            for (number, name) in names.iter().enumerate() {
                let name = name.as_str().ok_or_else(mixed)?;
                known(name, &format!("{place}/type/{number}"))?;
            }
            Ok(())
        }
        Some(_) => Err(mixed()),
    }
}

/// The schema at this path, or the step of it that is not there.
fn follow<'a>(path: &'a str, root: &'a Value) -> Result<&'a Value, &'a str> {
    let mut target = root;
    for step in path.split('/') {
        target = target.get(step).ok_or(step)?;
    }
    Ok(target)
}

/// As 0.17 does: it needs something in each schema that it knows, and does not look into `allOf` and far references.
fn old(schema: &Value, root: &Value, depth: usize) -> bool {
    let Some(fields) = schema.as_object() else {
        return false;
    };
    if fields.is_empty() || depth > DEEPEST {
        return true;
    }
    let all = |value: &Value| {
        let branches = value.as_array();
        branches.is_some_and(|all| all.iter().all(|branch| old(branch, root, depth + 1)))
    };
    if let Some(name) = fields.get("$ref").and_then(Value::as_str) {
        return match name.strip_prefix("#/") {
            Some(path) => follow(path, root).is_ok_and(|target| old(target, root, depth + 1)),
            None => name.starts_with("https://"),
        };
    }
    if let Some(branches) = fields.get("oneOf").or(fields.get("anyOf")) {
        return all(branches);
    }
    if fields.contains_key("const") || fields.contains_key("enum") {
        return true;
    }
    let counts = COUNTS.iter().chain(&["minimum", "maximum"]);
    let counted = counts
        .filter_map(|name| fields.get(*name))
        .all(Value::is_number);
    let anchored = fields
        .get("pattern")
        .and_then(Value::as_str)
        .is_none_or(|pattern| pattern.starts_with('^') && pattern.ends_with('$'));
    let properties = fields.get("properties").is_none_or(|properties| {
        let properties = properties.as_object();
        properties.is_some_and(|all| all.values().all(|value| old(value, root, depth + 1)))
    });
    let inner = ["items", "additionalProperties"].iter().all(|name| {
        let inner = fields.get(*name).filter(|inner| !inner.is_boolean());
        inner.is_none_or(|inner| old(inner, root, depth + 1))
    });
    let listed = fields.get("prefixItems").is_none_or(all);
    let typed = match fields.get("type") {
        Some(Value::String(name)) => TYPES.contains(&name.as_str()),
        Some(Value::Array(names)) => names
            .iter()
            .all(|name| name.as_str().is_some_and(|name| TYPES.contains(&name))),
        Some(_) => false,
        None => [
            "properties",
            "items",
            "prefixItems",
            "additionalProperties",
            "allOf",
        ]
        .iter()
        .any(|name| fields.contains_key(*name)),
    };
    typed && counted && anchored && properties && inner && listed
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What 0.33 says, and whether 0.17 takes it; as asked of both.
    fn measured() -> Vec<(Value, &'static str, bool)> {
        let unknown = |place: &str| match place {
            "" => "#: unrecognized type textish",
            "a" => "#/properties/a: unrecognized type textish",
            "anyOf" => "#/anyOf/0: unrecognized type textish",
            "oneOf" => "#/oneOf/1: unrecognized type textish",
            "allOf" => "#/allOf/0: unrecognized type textish",
            "type" => "#/type/1: unrecognized type textish",
            "items" => "#/items: unrecognized type textish",
            "ref" => "#/$defs/a: unrecognized type textish",
            other => panic!("{other}"),
        };
        let textish = json!({"type": "textish"});
        vec![
            (json!({}), "", true),
            (json!({"type": "object"}), "", true),
            (json!({"type": "array"}), "", true),
            (json!({"const": 3}), "", true),
            (json!({"type": "string", "format": "textish"}), "", true),
            (json!({"$defs": {"a": textish}, "type": "string"}), "", true),
            (json!({"type": "string", "pattern": "^abc$"}), "", true),
            (json!({"type": "string", "pattern": "abc"}), "", false),
            (json!({"title": "x"}), "", false),
            (json!({"type": null}), "", false),
            (json!({"not": {"type": "string"}}), "", false),
            (
                json!({"properties": {"a": {"description": "y"}}}),
                "",
                false,
            ),
            (textish.clone(), unknown(""), false),
            (json!({"properties": {"a": textish}}), unknown("a"), false),
            (json!({"anyOf": [textish]}), unknown("anyOf"), false),
            (
                json!({"oneOf": [{"type": "string"}, textish]}),
                unknown("oneOf"),
                false,
            ),
            (json!({"allOf": [textish]}), unknown("allOf"), true),
            (
                json!({"type": ["string", "textish"]}),
                unknown("type"),
                false,
            ),
            (
                json!({"type": "array", "items": textish}),
                unknown("items"),
                false,
            ),
            (
                json!({"$defs": {"a": textish}, "$ref": "#/$defs/a"}),
                unknown("ref"),
                false,
            ),
            (
                json!({"type": 7}),
                "#: type must be a string or an array of strings",
                false,
            ),
            (
                json!({"properties": {"a": {"enum": []}}}),
                "#/properties/a: enum must be a non-empty array",
                true,
            ),
            (
                json!({"$ref": "#/$defs/no"}),
                "#: cannot resolve $ref #/$defs/no, $defs not found",
                false,
            ),
            (
                json!({"$ref": "#/$defs/a/b", "$defs": {"a": {}}}),
                "#: cannot resolve $ref #/$defs/a/b, b not found",
                false,
            ),
            (
                json!({"$ref": "https://x/y"}),
                "#: unsupported $ref https://x/y, only references into the same document are supported",
                true,
            ),
            (
                json!({"type": "string", "minLength": "x"}),
                "#: minLength must be a non-negative integer",
                false,
            ),
            (
                json!({"type": "integer", "minimum": "x"}),
                "#: minimum must be a number",
                false,
            ),
            (
                json!({"type": "object", "properties": 7}),
                "#: properties must be an object",
                false,
            ),
            (
                json!({"properties": {"a": true}}),
                "#/properties/a: schema must be an object",
                false,
            ),
            (
                json!({"anyOf": {}}),
                "#/anyOf: must be an array of schemas",
                false,
            ),
        ]
    }

    #[test]
    fn schemas_are_refused_as_servers_refuse_them() {
        for (schema, reason, old) in measured() {
            let found = new(&schema, &schema, "#", 0).err().unwrap_or_default();
            assert_eq!(found, reason, "{schema}");
            let taken = check(&schema, Release::V0_17);
            assert_eq!(taken.is_ok(), old, "{schema}");
        }
        let refusal = check(&json!({"type": "textish"}), Release::V0_33).unwrap_err();
        assert_eq!(
            refusal.message,
            r##"{"error":{"code":400,"message":"Field 'json_schema': \"json_schema\": JSON schema conversion failed:\nJSON schema error at #: unrecognized type textish","type":"invalid_request_error"}}"##
        );
    }

    #[test]
    fn a_schema_may_contain_itself() {
        let schema = json!({"type": "object", "properties": {"a": {"$ref": "#"}, "b": {"$ref": "#/$defs/b"}},
            "$defs": {"b": {"items": {"$ref": "#/$defs/b"}}}});
        assert!(
            check(
                &json!({"$ref": "#/$defs/b", "$defs": schema["$defs"]}),
                Release::V0_33
            )
            .is_ok()
        );
        assert!(
            check(
                &json!({"$ref": "#/$defs/b", "$defs": schema["$defs"]}),
                Release::V0_17
            )
            .is_ok()
        );
    }
}
