//! Documents that people write: YAML, or JSON, which is YAML too.

use serde::de::DeserializeOwned;

/// Reads one. Only `true` and `false` are booleans: a rule may answer `no`.
///
/// # Errors
/// What is wrong with it.
pub fn read<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    let options = serde_saphyr::options! { strict_booleans: true };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn only_booleans_are_booleans() {
        let expected = json!([true, "no", "on", 1, null]);
        assert_eq!(read::<Value>("[true, no, on, 1, null]"), Ok(expected));
        assert!(read::<Value>("[").is_err());
    }
}
