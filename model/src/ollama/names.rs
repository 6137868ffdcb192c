//! How models are called.

/// The one spelling of a model's name: without the default registry and namespace, with a tag, in lower case.
///
/// Servers take `gemma2`, `library/gemma2:latest` and `Gemma2` for the same model, and list it as `gemma2:latest`.
pub fn canonical(name: &str) -> String {
    let name = name.trim().to_ascii_lowercase();
    let name = name.strip_prefix("registry.ollama.ai/").unwrap_or(&name);
    let name = name.strip_prefix("library/").unwrap_or(name);
    let last = name.rsplit('/').next().unwrap_or(name);
    if last.contains(':') {
        name.to_owned()
    } else {
        format!("{name}:latest")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_one_spelling() {
        let table = [
            (" a ", "a:latest"),
            ("A:1B", "a:1b"),
            ("library/a", "a:latest"),
            ("registry.ollama.ai/library/a:1", "a:1"),
            ("me/a", "me/a:latest"),
            ("localhost:5000/me/a", "localhost:5000/me/a:latest"),
        ];
        for (name, spelled) in table {
            assert_eq!(canonical(name), spelled);
        }
    }
}
