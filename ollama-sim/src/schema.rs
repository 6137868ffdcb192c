//! Instances of JSON schemas: what a model might answer under a grammar, or fill into a tool call.

use serde_json::{Map, Value, json};

mod check;
mod text;

pub use check::check;

/// Deeper than this a schema is taken for one that contains itself.
const DEEPEST: usize = 16;

/// Makes one instance; the same schema and text give the same one.
#[derive(Debug, Clone, Copy)]
pub struct Filler<'a> {
    /// Stands wherever the schema allows any string.
    pub text: &'a str,
    /// Whether properties that may be left out are filled too.
    pub optional: bool,
}

impl Filler<'_> {
    /// An instance of the schema. It satisfies what the schema says of types, `const`, `enum`, `required`, `anyOf`,
    /// `oneOf`, `allOf`, `$ref`, bounds and lengths; `pattern` and `not` are not followed.
    pub fn instance(self, schema: &Value) -> Value {
        self.fill(schema, schema, None, 0)
    }

    fn fill(self, schema: &Value, root: &Value, key: Option<&str>, depth: usize) -> Value {
        if depth > DEEPEST {
            return Value::Null;
        }
        let Some(fields) = schema.as_object() else {
            return json!({});
        };
        if let Some(target) = fields.get("$ref").and_then(|name| resolve(name, root)) {
            return self.fill(target, root, key, depth + 1);
        }
        if let Some(only) = fields.get("const") {
            return only.clone();
        }
        for list in ["enum", "examples"] {
            if let Some(first) = fields.get(list).and_then(|values| values.get(0)) {
                return first.clone();
            }
        }
        if let Some(value) = fields.get("default").filter(|value| !value.is_null()) {
            return value.clone();
        }
        for choice in ["anyOf", "oneOf"] {
            if let Some(first) = fields
                .get(choice)
                .and_then(Value::as_array)
                .and_then(|branches| real(branches))
            {
                return self.merged(first, fields, choice, root, key, depth);
            }
        }
        if let Some(all) = fields.get("allOf").and_then(Value::as_array) {
            let mut joined = Value::Object(without(fields, "allOf"));
            for part in all {
                let part = part
                    .get("$ref")
                    .and_then(|name| resolve(name, root))
                    .unwrap_or(part);
                merge(&mut joined, part);
            }
            return self.fill(&joined, root, key, depth + 1);
        }
        self.typed(fields, root, key, depth)
    }

    /// A branch of a choice together with what stands beside the choice.
    fn merged(
        self,
        branch: &Value,
        fields: &Map<String, Value>,
        choice: &str,
        root: &Value,
        key: Option<&str>,
        depth: usize,
    ) -> Value {
        let branch = branch
            .get("$ref")
            .and_then(|name| resolve(name, root))
            .unwrap_or(branch);
        let mut joined = Value::Object(without(fields, choice));
        merge(&mut joined, branch);
        self.fill(&joined, root, key, depth + 1)
    }

    fn typed(
        self,
        fields: &Map<String, Value>,
        root: &Value,
        key: Option<&str>,
        depth: usize,
    ) -> Value {
        match kind(fields) {
            "object" => self.object(fields, root, depth),
            "array" => self.array(fields, root, key, depth),
            "integer" => json!(integer(fields)),
            "number" => number(fields),
            "boolean" => json!(true),
            "null" => Value::Null,
            _ => Value::String(text::fit(fields, key, self.text)),
        }
    }

    fn object(self, fields: &Map<String, Value>, root: &Value, depth: usize) -> Value {
        let required: Vec<&str> = fields
            .get("required")
            .and_then(Value::as_array)
            .map(|names| names.iter().filter_map(Value::as_str).collect())
            .unwrap_or_default();
        let empty = Map::new();
        let properties = fields
            .get("properties")
            .and_then(Value::as_object)
            .unwrap_or(&empty);
        let mut object: Map<String, Value> = properties
            .iter()
            .filter(|(name, _)| self.optional || required.contains(&name.as_str()))
            .map(|(name, schema)| (name.clone(), self.fill(schema, root, Some(name), depth + 1)))
            .collect();
        for name in required {
            if !object.contains_key(name) {
                object.insert(name.to_owned(), json!(self.text));
            }
        }
        Value::Object(object)
    }

    fn array(
        self,
        fields: &Map<String, Value>,
        root: &Value,
        key: Option<&str>,
        depth: usize,
    ) -> Value {
        let least = bound(fields, "minItems").unwrap_or(1);
        let most = bound(fields, "maxItems").unwrap_or(u64::MAX);
        let count = least.max(1).min(most).min(1000);
        let Some(items) = fields.get("items") else {
            return json!([]);
        };
        let choices = items.get("enum").and_then(Value::as_array);
        let item = |place: u64| {
            let choice = choices.and_then(|all| all.get(usize::try_from(place).ok()?));
            choice
                .cloned()
                .unwrap_or_else(|| self.fill(items, root, key, depth + 1))
        };
        Value::Array((0..count).map(item).collect())
    }
}

/// The first type that is not `null`, or the one that the keywords suggest.
fn kind(fields: &Map<String, Value>) -> &str {
    match fields.get("type") {
        Some(Value::String(name)) => name,
        Some(Value::Array(names)) => {
            let mut names = names.iter().filter_map(Value::as_str);
            names.find(|name| *name != "null").unwrap_or("null")
        }
        _ if fields.contains_key("properties")
            || fields.contains_key("required")
            || fields.is_empty() =>
        {
            "object"
        }
        _ if fields.contains_key("items") => "array",
        _ => "string",
    }
}

fn integer(fields: &Map<String, Value>) -> i64 {
    let read = |name: &str| fields.get(name).and_then(Value::as_f64);
    let least = read("minimum")
        .map(f64::ceil)
        .or_else(|| read("exclusiveMinimum").map(|bound| bound.floor() + 1.0));
    let most = read("maximum")
        .map(f64::floor)
        .or_else(|| read("exclusiveMaximum").map(|bound| bound.ceil() - 1.0));
    let step = read("multipleOf")
        .filter(|step| *step >= 1.0)
        .unwrap_or(1.0);
    let value = least.unwrap_or(1.0).min(most.unwrap_or(f64::MAX));
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a cast that saturates does for bounds beyond all integers"
    )]
    let value = ((value / step).ceil() * step) as i64;
    value
}

fn number(fields: &Map<String, Value>) -> Value {
    let read = |name: &str| fields.get(name).and_then(Value::as_f64);
    let least = read("minimum").or_else(|| read("exclusiveMinimum").map(|bound| bound + 0.5));
    let most = read("maximum").or_else(|| read("exclusiveMaximum").map(|bound| bound - 0.5));
    json!(least.unwrap_or(1.0).min(most.unwrap_or(f64::MAX)))
}

fn bound(fields: &Map<String, Value>, name: &str) -> Option<u64> {
    fields.get(name).and_then(Value::as_u64)
}

/// The first branch that is not `null`.
fn real(branches: &[Value]) -> Option<&Value> {
    let is_null = |branch: &&Value| branch.get("type").is_some_and(|kind| kind == "null");
    branches
        .iter()
        .find(|branch| !is_null(branch))
        .or_else(|| branches.first())
}

/// What a `$ref` inside the document points to.
pub fn resolve<'a>(name: &Value, root: &'a Value) -> Option<&'a Value> {
    root.pointer(name.as_str()?.strip_prefix('#')?)
}

fn without(fields: &Map<String, Value>, name: &str) -> Map<String, Value> {
    let mut rest = fields.clone();
    rest.remove(name);
    rest
}

/// Joins two schemas: properties and required names of both.
fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (name, value) in from {
                match into.get_mut(name) {
                    Some(known) => merge(known, value),
                    None => {
                        into.insert(name.clone(), value.clone());
                    }
                }
            }
        }
        (Value::Array(into), Value::Array(from)) => into.extend(from.iter().cloned()),
        (into, from) => *into = from.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(schema: Value) -> Value {
        Filler {
            text: "text",
            optional: true,
        }
        .instance(&schema)
    }

    #[test]
    fn every_type_has_an_instance() {
        let cases = [
            (json!({"type": "string"}), json!("text")),
            (json!({"type": ["null", "integer"], "minimum": 5}), json!(5)),
            (json!({"type": "integer", "exclusiveMaximum": 1}), json!(0)),
            (
                json!({"type": "integer", "minimum": 7, "multipleOf": 5}),
                json!(10),
            ),
            (json!({"type": "number", "maximum": 0.5}), json!(0.5)),
            (json!({"type": "boolean"}), json!(true)),
            (json!({"type": "null"}), json!(null)),
            (
                json!({"type": "array", "items": {"enum": ["a", "b"]}, "minItems": 2}),
                json!(["a", "b"]),
            ),
            (
                json!({"type": "array", "items": {"type": "null"}, "maxItems": 0}),
                json!([]),
            ),
            (json!({}), json!({})),
        ];
        for (schema, expected) in cases {
            assert_eq!(filled(schema.clone()), expected, "{schema}");
        }
    }

    #[test]
    fn choices_take_their_first_branch() {
        let cases = [
            (json!({"anyOf": [{"type": "null"}, {"const": 3}]}), json!(3)),
            (
                json!({"oneOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"enum": ["x", "y"]}}}),
                json!("x"),
            ),
            (
                json!({"properties": {"a": {"const": 1}}, "anyOf": [{"properties": {"b": {"const": 2}}}]}),
                json!({"a": 1, "b": 2}),
            ),
            (
                json!({"allOf": [{"properties": {"a": {"const": 1}}}, {"properties": {"b": {"const": 2}}, "required": ["b"]}]}),
                json!({"a": 1, "b": 2}),
            ),
        ];
        for (schema, expected) in cases {
            assert_eq!(filled(schema.clone()), expected, "{schema}");
        }
    }

    #[test]
    fn optional_properties_can_be_left_out() {
        let schema = json!({"type": "object", "required": ["a", "c"], "properties": {
            "a": {"type": "integer"}, "b": {"type": "boolean"},
        }});
        let least = Filler {
            text: "text",
            optional: false,
        }
        .instance(&schema);
        assert_eq!(least, json!({"a": 1, "c": "text"}));
        assert_eq!(filled(schema), json!({"a": 1, "b": true, "c": "text"}));
    }

    #[test]
    fn a_schema_that_contains_itself_ends() {
        let schema =
            json!({"type": "object", "properties": {"next": {"$ref": "#"}}, "required": ["next"]});
        assert!(filled(schema)["next"]["next"].is_object());
    }
}
