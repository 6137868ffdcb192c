//! Strings for a schema that allows many.

use serde_json::{Map, Value};

/// A string of the right format and length: made of the text, or of what a property of this name usually holds.
pub fn fit(fields: &Map<String, Value>, key: Option<&str>, text: &str) -> String {
    let format = fields.get("format").and_then(Value::as_str);
    let made = match (format, key) {
        (Some("date"), _) => "2026-01-01".to_owned(),
        (Some("date-time"), _) => "2026-01-01T00:00:00Z".to_owned(),
        (Some("time"), _) => "00:00:00Z".to_owned(),
        (Some("email"), _) => "simulated@example.com".to_owned(),
        (Some("uuid"), _) => "00000000-0000-4000-8000-000000000000".to_owned(),
        (Some("uri" | "url"), _) | (_, Some("url")) => url(text),
        (_, Some("expression")) => expression(text),
        _ => text.to_owned(),
    };
    sized(made, fields)
}

fn url(text: &str) -> String {
    text.split_whitespace()
        .find(|word| word.starts_with("http://") || word.starts_with("https://"))
        .unwrap_or("https://example.com/")
        .to_owned()
}

/// The longest piece of the text that reads like arithmetic.
fn expression(text: &str) -> String {
    let part_of_one = |c: char| c.is_ascii_digit() || " +-*/().^%".contains(c);
    text.split(|c| !part_of_one(c))
        .map(|piece| piece.trim_matches([' ', '.']))
        .filter(|piece| piece.contains(|c: char| c.is_ascii_digit()))
        .max_by_key(|piece| piece.len())
        .unwrap_or("1 + 1")
        .to_owned()
}

fn sized(mut text: String, fields: &Map<String, Value>) -> String {
    let bound = |name: &str| {
        let bound = fields.get(name).and_then(Value::as_u64);
        bound.and_then(|bound| usize::try_from(bound).ok())
    };
    let count = text.chars().count();
    if let Some(least) = bound("minLength").filter(|least| *least > count) {
        text.extend(std::iter::repeat_n('.', (least - count).min(1_000_000)));
    }
    match bound("maxLength") {
        Some(most) => text.chars().take(most).collect(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn strings_fit_format_name_and_length() {
        let cases = [
            (json!({"format": "date"}), None, "x", "2026-01-01"),
            (
                json!({}),
                Some("url"),
                "see https://a.b/c now",
                "https://a.b/c",
            ),
            (json!({}), Some("url"), "x", "https://example.com/"),
            (
                json!({}),
                Some("expression"),
                "What is (2 + 3) * 4?",
                "(2 + 3) * 4",
            ),
            (json!({}), Some("expression"), "x", "1 + 1"),
            (json!({"minLength": 3}), None, "ä", "ä.."),
            (json!({"maxLength": 1}), None, "äö", "ä"),
        ];
        for (schema, key, text, expected) in cases {
            assert_eq!(fit(schema.as_object().unwrap(), key, text), expected);
        }
    }
}
