//! Names of models, and what their suffix says of where they run.

use crate::refusal::Refusal;
use crate::release::Release;

/// A name as a request has it, taken apart as the server does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// The name without the suffix, trimmed.
    pub base: String,
    /// What the suffix asks for.
    pub source: Source,
}

/// Where a name says that its model runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// It does not say.
    Any,
    /// `name:local`: on this machine.
    Local,
    /// `name:cloud` and `name:tag-cloud`: elsewhere.
    Cloud,
}

impl Reference {
    /// Takes a name apart. Before 0.17.6 there are no suffixes: such a name is one like any other.
    ///
    /// # Errors
    /// 400 for two suffixes, and for two tags.
    pub fn parse(name: &str, release: Release) -> Result<Self, Refusal> {
        let name = name.trim();
        let whole = Self {
            base: name.to_owned(),
            source: Source::Any,
        };
        let suffix_of = |name| release.has_name_suffixes().then(|| suffix(name)).flatten();
        let Some((base, source)) = suffix_of(name) else {
            return whole.checked();
        };
        // `name:tag-cloud` is the one suffix after which another may stand.
        if base.len() < name.len() && suffix(&base).is_some() {
            return Err(Refusal::bad_request(format!(
                "use either :local or :cloud, not both: {name:?}"
            )));
        }
        Self { base, source }.checked()
    }

    fn checked(self) -> Result<Self, Refusal> {
        if has_two_tags(&self.base) {
            return Err(Refusal::bad_request("model is required"));
        }
        Ok(self)
    }
}

fn suffix(name: &str) -> Option<(String, Source)> {
    let (before, last) = name.rsplit_once(':')?;
    let lower = last.trim().to_lowercase();
    match lower.as_str() {
        "cloud" => Some((before.to_owned(), Source::Cloud)),
        "local" => Some((before.to_owned(), Source::Local)),
        _ => {
            let tag = lower.strip_suffix("-cloud")?;
            let plain = !tag.contains('/');
            plain.then(|| (format!("{before}:{tag}"), Source::Cloud))
        }
    }
}

/// Whether a name has two tags, which makes it none.
fn has_two_tags(name: &str) -> bool {
    let last = name.rsplit('/').next().unwrap_or(name);
    last.matches(':').count() > 1
}

/// Whether a model can have this name: `[HOST/][NAMESPACE/]MODEL[:TAG]`.
pub fn is_valid(name: &str) -> bool {
    let part = |part: &str, more: &str| {
        let mut letters = part.chars();
        let first = letters
            .next()
            .is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
        first
            && part.len() <= 80
            && letters.all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c) || more.contains(c))
    };
    let mut parts = name.rsplit('/');
    let last = parts.next().unwrap_or_default();
    let named = match last.split_once(':') {
        Some((model, tag)) => part(model, "") && part(tag, ""),
        None => part(last, ""),
    };
    let before: Vec<&str> = parts.collect();
    named && before.len() <= 2 && before.iter().all(|before| part(before, ":"))
}

/// The one spelling of a model's name: trimmed, without the default registry and namespace, with a tag.
pub fn canonical(name: &str) -> String {
    let name = name.trim();
    let name = name.strip_prefix("registry.ollama.ai/").unwrap_or(name);
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
        let spelled = [
            " a ",
            "a:1",
            "library/a",
            "registry.ollama.ai/library/a:1",
            "me/a",
            "localhost:5000/me/a",
        ];
        assert_eq!(
            spelled.map(canonical),
            [
                "a:latest",
                "a:1",
                "a:latest",
                "a:1",
                "me/a:latest",
                "localhost:5000/me/a:latest"
            ]
        );
    }

    #[test]
    fn names_that_a_model_can_have() {
        let good = [
            "a",
            "a:1",
            "me/a.b:x_y-z",
            "localhost:5000/me/a",
            "x:cloud",
            "_a",
        ];
        for name in good {
            assert!(is_valid(name), "{name}");
        }
        let long = "a".repeat(81);
        let bad = [
            "", "a b", "a:", ":a", "-a", "a:b:c", "w/x/y/z", "/a", "ä", &long,
        ];
        for name in bad {
            assert!(!is_valid(name), "{name}");
        }
    }

    #[test]
    fn suffixes_say_where() {
        let cases = [
            ("a:1", "a:1", Source::Any),
            ("a:CLOUD", "a", Source::Cloud),
            ("a:120b-cloud", "a:120b", Source::Cloud),
            ("a:1:local", "a:1", Source::Local),
            ("my-cloud", "my-cloud", Source::Any),
        ];
        for (name, base, source) in cases {
            let expected = Reference {
                base: base.to_owned(),
                source,
            };
            assert_eq!(Reference::parse(name, Release::V0_33), Ok(expected));
        }
        assert_eq!(
            Reference::parse("a:cloud", Release::V0_17).map(|name| name.source),
            Ok(Source::Any)
        );
        for release in [Release::V0_17, Release::V0_33] {
            let error = Err(Refusal::bad_request("model is required"));
            assert_eq!(Reference::parse("h:1/a:b:c", release), error);
        }
        assert_eq!(
            Reference::parse("a:local:cloud", Release::V0_33),
            Err(Refusal::bad_request(
                "use either :local or :cloud, not both: \"a:local:cloud\""
            ))
        );
    }
}
