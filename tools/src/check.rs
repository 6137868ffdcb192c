//! Checks arguments against a tool's schema and says what is wrong in words that a small model understands.

mod words;

use std::fmt;
use std::sync::Arc;

use jsonschema::Validator;
use serde_json::Value;

use crate::measures::Measure;

/// Most problems that are told at once: a small model mends a few at a time.
pub const MAX_PROBLEMS: usize = 5;

/// A compiled JSON Schema (of the draft that its `$schema` names, else 2020-12). It refers to nothing outside of itself: nothing
/// is fetched. Cheap to clone.
#[derive(Clone)]
pub struct Checker(Arc<Compiled>);

struct Compiled {
    schema: Value,
    validator: Validator,
}

/// Something that is wrong with arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// JSON pointer of the place; empty for the arguments as a whole.
    pub at: String,
    /// What is wrong there, and what is accepted.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at.strip_prefix('/') {
            Some(place) => write!(f, "{place}: {}", self.what),
            None => write!(f, "arguments: {}", self.what),
        }
    }
}

impl Checker {
    /// Compiles a schema; the error says where it is wrong.
    pub(crate) fn new(schema: Value) -> Result<Self, String> {
        let validator = jsonschema::validator_for(&schema).map_err(|error| {
            let at = error.instance_path().as_str();
            if at.is_empty() {
                error.to_string()
            } else {
                format!("{at}: {error}")
            }
        })?;
        Ok(Self(Arc::new(Compiled { schema, validator })))
    }

    /// The schema.
    #[must_use]
    pub fn schema(&self) -> &Value {
        &self.0.schema
    }

    /// The compiled form.
    pub(crate) fn validator(&self) -> &Validator {
        &self.0.validator
    }

    /// Whether `value` satisfies the schema.
    ///
    /// # Errors
    ///
    /// What is wrong with it: at least one problem and at most [`MAX_PROBLEMS`].
    pub fn check(&self, value: &Value) -> Result<(), Vec<Problem>> {
        let problems: Vec<Problem> = self
            .0
            .validator
            .iter_errors(value)
            .take(MAX_PROBLEMS)
            .map(|error| Problem {
                at: error.instance_path().as_str().to_owned(),
                what: words::of(&error),
            })
            .collect();
        if problems.is_empty() || !Measure::CheckedArguments.is_on() {
            Ok(())
        } else {
            Err(problems)
        }
    }
}

impl fmt::Debug for Checker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Checker").field(&self.0.schema).finish()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn say(schema: Value, value: &Value) -> Vec<String> {
        let checker = Checker::new(schema).unwrap();
        let problems = checker.check(value).unwrap_err();
        problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn problems_say_where_what_and_what_is_accepted() {
        let schema = json!({
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "days": {"type": "integer", "minimum": 1},
                "unit": {"enum": ["celsius", "fahrenheit"]},
            },
            "required": ["city", "days"],
            "additionalProperties": false,
        });
        let mut said = say(
            schema.clone(),
            &json!({"city": 42, "days": 0, "unit": "K", "zip": 1}),
        );
        said.sort();
        assert_eq!(
            said,
            [
                r#"arguments: "zip" is not accepted here"#,
                "city: must be string, but is 42",
                "days: must be at least 1, but is 0",
                r#"unit: must be one of "celsius", "fahrenheit", but is "K""#,
            ]
        );
        assert_eq!(
            say(schema.clone(), &json!({"days": 1})),
            [r#"arguments: "city" is missing"#]
        );
        assert_eq!(
            say(schema, &json!("Paris")),
            [r#"arguments: must be object, but is "Paris""#]
        );
    }

    #[test]
    fn alternatives_are_told_together() {
        let schema =
            json!({"properties": {"n": {"anyOf": [{"type": "integer"}, {"enum": ["all"]}]}}});
        assert_eq!(
            say(schema, &json!({"n": 1.5})),
            [r#"n: must be integer, or must be one of "all", but is 1.5"#]
        );
    }

    #[test]
    fn only_a_few_problems_are_told_and_values_are_short() {
        let schema = json!({"additionalProperties": {"type": "integer"}});
        let many: Value = (0..20)
            .map(|n| (n.to_string(), json!("é".repeat(500))))
            .collect();
        let said = say(schema, &many);
        assert_eq!(said.len(), MAX_PROBLEMS);
        assert!(said.iter().all(|line| line.len() < 160), "{said:?}");
    }
}
