//! Fills a schema of arguments as Strands does (`strands/tools/registry.py`): type, properties, required, and per property a
//! type and a description.

use serde_json::{Map, Value, json};

/// Keywords beside which a filled-in `type` would change what a property accepts.
const TYPED_OTHERWISE: [&str; 7] = ["$ref", "anyOf", "oneOf", "allOf", "not", "enum", "const"];

/// The schema, without its wrapping and filled; or what was found in the place of an object.
pub fn schema(given: &Value) -> Result<Value, String> {
    let inner = match given {
        Value::Object(wrapped) => match wrapped.get("json") {
            Some(json @ Value::Object(_)) if wrapped.len() == 1 => json,
            _ => given,
        },
        _ => given,
    };
    let Value::Object(bare) = inner else {
        return Err(inner.to_string());
    };
    match bare.get("type") {
        None => {}
        Some(Value::String(name)) if name == "object" => {}
        Some(other) => return Err(format!("{other} as its type")),
    }
    let mut filled = bare.clone();
    fill(&mut filled);
    Ok(Value::Object(filled))
}

fn fill(schema: &mut Map<String, Value>) {
    schema.entry("type").or_insert_with(|| json!("object"));
    schema.entry("required").or_insert_with(|| json!([]));
    let properties = schema.entry("properties").or_insert_with(|| json!({}));
    if let Value::Object(properties) = properties {
        for (name, property) in properties {
            fill_property(name, property);
        }
    }
}

fn fill_property(name: &str, property: &mut Value) {
    let Value::Object(schema) = property else {
        return;
    };
    if TYPED_OTHERWISE
        .iter()
        .any(|word| schema.contains_key(*word))
    {
        return;
    }
    let kind = schema.entry("type").or_insert_with(|| json!("string"));
    if kind == "object" && schema.contains_key("properties") {
        fill(schema);
    }
    schema
        .entry("description")
        .or_insert_with(|| json!(format!("Property {name}")));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_objects_are_filled_and_other_forms_are_left() {
        let given = json!({"properties": {
            "place": {"type": "object", "properties": {"city": {}}},
            "unit": {"enum": ["c", "f"]},
            "any": true,
        }});
        let filled = json!({"type": "object", "required": [], "properties": {
            "place": {
                "type": "object",
                "properties": {"city": {"type": "string", "description": "Property city"}},
                "required": [],
                "description": "Property place",
            },
            "unit": {"enum": ["c", "f"]},
            "any": true,
        }});
        assert_eq!(schema(&given), Ok(filled.clone()));
        assert_eq!(schema(&filled), Ok(filled), "once more changes nothing");
    }

    #[test]
    fn a_property_named_json_is_no_wrapping() {
        let given = json!({"type": "object", "properties": {"json": {"type": "string", "description": "d"}}, "required": []});
        assert_eq!(schema(&given), Ok(given));
    }
}
