//! The words for what a validator found.

use jsonschema::ValidationError;
use jsonschema::error::{TypeKind, ValidationErrorKind as Kind};
use serde_json::Value;

/// Most characters that are shown of a value.
const SHOWN: usize = 60;

/// What is wrong, and what is accepted.
pub fn of(error: &ValidationError<'_>) -> String {
    match accepted(error.kind()) {
        Some(accepted) => format!("{accepted}, but is {}", short(error.instance())),
        None => other(error),
    }
}

/// What is accepted, where one can say that without the value.
fn accepted(kind: &Kind) -> Option<String> {
    Some(match kind {
        Kind::Type { kind } => format!("must be {}", types(kind)),
        Kind::Enum { options } => format!("must be one of {}", list(options)),
        Kind::Constant { expected_value } => format!("must be {}", short(expected_value)),
        Kind::Minimum { limit } => format!("must be at least {limit}"),
        Kind::Maximum { limit } => format!("must be at most {limit}"),
        Kind::ExclusiveMinimum { limit } => format!("must be more than {limit}"),
        Kind::ExclusiveMaximum { limit } => format!("must be less than {limit}"),
        Kind::MinLength { limit } => format!("must have at least {limit} characters"),
        Kind::MaxLength { limit } => format!("must have at most {limit} characters"),
        Kind::MinItems { limit } => format!("must have at least {limit} items"),
        Kind::MaxItems { limit } => format!("must have at most {limit} items"),
        Kind::MultipleOf { multiple_of } => format!("must be a multiple of {multiple_of}"),
        Kind::Pattern { pattern } => format!("must match the pattern {pattern}"),
        Kind::Format { format } => format!("must be of the format {format}"),
        Kind::AnyOf { context } | Kind::OneOfNotValid { context } => any(context)?,
        _ => return None,
    })
}

fn other(error: &ValidationError<'_>) -> String {
    match error.kind() {
        Kind::Required { property } => format!("{property} is missing"),
        Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
            let names: Vec<String> = unexpected.iter().map(|name| format!("{name:?}")).collect();
            let verb = if names.len() == 1 { "is" } else { "are" };
            cut(
                &format!("{} {verb} not accepted here", names.join(", ")),
                4 * SHOWN,
            )
        }
        _ => cut(&error.to_string(), 4 * SHOWN),
    }
}

/// The first thing that each alternative accepts.
fn any(context: &[Vec<ValidationError<'static>>]) -> Option<String> {
    let forms: Option<Vec<String>> = context
        .iter()
        .map(|errors| errors.first().and_then(|error| accepted(error.kind())))
        .collect();
    forms
        .filter(|forms| !forms.is_empty())
        .map(|forms| forms.join(", or "))
}

fn types(kind: &TypeKind) -> String {
    match kind {
        TypeKind::Single(one) => one.to_string(),
        TypeKind::Multiple(set) => {
            let names: Vec<String> = set.iter().map(|one| one.to_string()).collect();
            names.join(" or ")
        }
    }
}

fn list(options: &Value) -> String {
    match options {
        Value::Array(options) => {
            let shown: Vec<String> = options.iter().map(short).collect();
            cut(&shown.join(", "), 8 * SHOWN)
        }
        other => short(other),
    }
}

fn short(value: &Value) -> String {
    cut(&value.to_string(), SHOWN)
}

fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
