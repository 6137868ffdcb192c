//! What a tool says of itself, in the Strands form: `{"name", "description", "inputSchema": {"json": {…}}, "effects"}`.

mod fill;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::check::Checker;

/// Most characters of a tool's name.
pub const MAX_NAME: usize = 64;

/// What a tool says of itself. Whoever has one knows that its name is right and its schema compiles.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "Wire", into = "Wire")]
pub struct Spec {
    name: String,
    description: String,
    effects: Effects,
    checker: Checker,
}

/// What a call changes outside of its result, and so whether it may be repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effects {
    /// Nothing.
    None,
    /// Something, and the same when it is repeated.
    Idempotent,
    /// Something each time: never repeated without asking. Also when a spec says nothing.
    #[default]
    Once,
}

impl Effects {
    /// Whether a call that may have run may run again.
    #[must_use]
    pub fn may_repeat(self) -> bool {
        self != Self::Once
    }
}

/// Why a spec is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// The name is not one that models and hosts take.
    #[error("tool name {0:?} is not 1 to {MAX_NAME} of the characters A-Z a-z 0-9 _ -")]
    Name(String),
    /// There is no description, which is all a model chooses by.
    #[error("tool {0}: the description is empty")]
    Description(String),
    /// The schema is not one of an object.
    #[error("tool {name}: the input schema is not one of an object: {found}")]
    NotAnObject {
        /// The tool.
        name: String,
        /// What was found where `{"type": "object"}` belongs.
        found: String,
    },
    /// The schema is no JSON Schema, or refers to something outside of itself.
    #[error("tool {name}: the input schema does not compile: {why}")]
    Schema {
        /// The tool.
        name: String,
        /// What is wrong, and where.
        why: String,
    },
}

impl Spec {
    /// A spec.
    ///
    /// `input_schema` is a JSON Schema, bare or as `{"json": schema}`; a type, properties and descriptions that it lacks are
    /// filled in, as Strands does.
    ///
    /// # Errors
    ///
    /// When the name, the description or the schema is not right.
    pub fn new(
        name: impl Into<String>,
        description: impl Into<String>,
        input_schema: &Value,
        effects: Effects,
    ) -> Result<Self, SpecError> {
        let (name, description) = (name.into(), description.into());
        if !is_name(&name) {
            return Err(SpecError::Name(name));
        }
        if description.trim().is_empty() {
            return Err(SpecError::Description(name));
        }
        let schema = fill::schema(input_schema).map_err(|found| SpecError::NotAnObject {
            name: name.clone(),
            found,
        })?;
        let checker = Checker::new(schema).map_err(|why| SpecError::Schema {
            name: name.clone(),
            why,
        })?;
        Ok(Self {
            name,
            description,
            effects,
            checker,
        })
    }

    /// The name that a model calls it by.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it does, for the model.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.description
    }

    /// JSON Schema of its arguments: always an object with `type`, `properties` and `required`.
    #[must_use]
    pub fn input_schema(&self) -> &Value {
        self.checker.schema()
    }

    /// What a call changes.
    #[must_use]
    pub fn effects(&self) -> Effects {
        self.effects
    }

    /// The schema, compiled.
    #[must_use]
    pub fn checker(&self) -> &Checker {
        &self.checker
    }
}

impl PartialEq for Spec {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
            && self.description == other.description
            && self.effects == other.effects
            && self.input_schema() == other.input_schema()
    }
}

/// Whether a tool may have this name.
#[must_use]
pub fn is_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    name: String,
    description: String,
    input_schema: Value,
    #[serde(default)]
    effects: Effects,
}

impl TryFrom<Wire> for Spec {
    type Error = SpecError;

    fn try_from(wire: Wire) -> Result<Self, SpecError> {
        Self::new(
            wire.name,
            wire.description,
            &wire.input_schema,
            wire.effects,
        )
    }
}

impl From<Spec> for Wire {
    fn from(spec: Spec) -> Self {
        let input_schema = json!({"json": spec.input_schema()});
        Self {
            name: spec.name,
            description: spec.description,
            input_schema,
            effects: spec.effects,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(name: &str, schema: &Value) -> Result<Spec, SpecError> {
        Spec::new(name, "Does it.", schema, Effects::None)
    }

    #[test]
    fn a_strands_spec_is_read_and_written() {
        let wire = json!({
            "name": "letter_counter",
            "description": "Counts letters.",
            "inputSchema": {"json": {
                "type": "object",
                "properties": {"word": {"type": "string", "description": "A word"}},
                "required": ["word"],
            }},
            "effects": "none",
        });
        let spec: Spec = serde_json::from_value(wire.clone()).unwrap();
        assert_eq!(serde_json::to_value(&spec).unwrap(), wire);
    }

    #[test]
    fn a_bare_schema_is_filled() {
        let bare = new("t", &json!({"properties": {"n": {}}})).unwrap();
        let filled = json!({
            "type": "object",
            "properties": {"n": {"type": "string", "description": "Property n"}},
            "required": [],
        });
        assert_eq!(bare.input_schema(), &filled);
        assert_eq!(new("t", &json!({"json": filled})).unwrap(), bare);
    }

    #[test]
    fn without_effects_a_call_is_never_repeated() {
        let wire = json!({"name": "t", "description": "d", "inputSchema": {"json": {}}});
        let spec: Spec = serde_json::from_value(wire).unwrap();
        assert_eq!(spec.effects(), Effects::Once);
        assert!(!spec.effects().may_repeat());
    }

    #[test]
    fn names() {
        let longest = "n".repeat(64);
        for name in ["a", "get-weather_2", &longest] {
            assert_eq!(new(name, &json!({})).unwrap().name(), name);
        }
        let too_long = "n".repeat(65);
        for name in ["", "get weather", "wetter.de", "größe", &too_long] {
            assert_eq!(
                new(name, &json!({})),
                Err(SpecError::Name(name.to_owned())),
                "{name}"
            );
        }
    }

    #[test]
    fn what_is_refused_is_named() {
        let say = |result: Result<Spec, SpecError>| result.unwrap_err().to_string();
        assert_eq!(
            say(Spec::new("t", " ", &json!({}), Effects::None)),
            "tool t: the description is empty"
        );
        assert_eq!(
            say(new("t", &json!({"type": "array"}))),
            "tool t: the input schema is not one of an object: \"array\" as its type"
        );
        assert_eq!(
            say(new("t", &json!("string"))),
            "tool t: the input schema is not one of an object: \"string\""
        );
        let broken = json!({"properties": {"n": {"type": "strnig"}}});
        let why = say(new("t", &broken));
        assert!(
            why.starts_with("tool t: the input schema does not compile: ")
                && why.contains("/properties/n/type"),
            "{why}"
        );
        let outside = json!({"properties": {"n": {"$ref": "https://example.com/s.json"}}});
        let why = say(new("t", &outside));
        assert!(why.contains("https://example.com/s.json"), "{why}");
    }
}
