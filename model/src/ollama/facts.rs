//! What a model can do, out of `/api/show`.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::probe::is_remote;
use crate::chat::ModelFacts;
use crate::markers::{self, Markers};

/// What a copy of a model can do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Abilities {
    /// Whether it takes tools.
    pub tools: bool,
    /// Whether it can think before it answers.
    pub thinking: bool,
    /// The context window that it was trained for, in tokens.
    pub context_length: Option<u32>,
}

/// The answer of `/api/show`, as far as it is read.
#[derive(Debug, Deserialize)]
pub struct Show {
    capabilities: Option<Vec<String>>,
    model_info: Option<Map<String, Value>>,
    remote_host: Option<String>,
    remote_model: Option<String>,
    template: Option<String>,
}

impl Show {
    /// The control tokens of its template, besides the common ones.
    #[must_use]
    pub fn markers(&self) -> Markers {
        Markers::with(markers::extract(
            self.template.as_deref().unwrap_or_default(),
        ))
    }

    /// Whether the model runs in a cloud.
    #[must_use]
    pub fn is_remote(&self) -> bool {
        is_remote(&self.remote_host, &self.remote_model)
    }
}

impl From<Show> for Abilities {
    fn from(show: Show) -> Self {
        let capabilities = show.capabilities.unwrap_or_default();
        let can = |what: &str| capabilities.iter().any(|capability| capability == what);
        Self {
            tools: can("tools"),
            thinking: can("thinking"),
            context_length: show.model_info.as_ref().and_then(context_length),
        }
    }
}

/// `llama.context_length`: the key begins with the architecture. Models with an eye or an ear have further ones.
fn context_length(info: &Map<String, Value>) -> Option<u32> {
    let architecture = info.get("general.architecture").and_then(Value::as_str);
    let own = architecture.and_then(|name| info.get(&format!("{name}.context_length")));
    let any = || {
        let mut all = info.iter();
        let found = all.find(|(key, _)| key.ends_with(".context_length"));
        found.map(|(_, value)| value)
    };
    let length = own.or_else(any)?.as_u64()?;
    (length > 0).then(|| u32::try_from(length).unwrap_or(u32::MAX))
}

impl Abilities {
    /// What a request can count on when it may go to either copy.
    #[must_use]
    pub fn both(self, other: Self) -> Self {
        let lengths = [self.context_length, other.context_length];
        Self {
            tools: self.tools && other.tools,
            thinking: self.thinking && other.thinking,
            context_length: lengths.into_iter().flatten().min(),
        }
    }

    /// As facts, when requests ask for this window.
    #[must_use]
    pub fn facts(self, digest: String, num_ctx: u32) -> ModelFacts {
        ModelFacts {
            digest,
            tools: self.tools,
            thinking: self.thinking,
            context_length: self.context_length,
            window: self.context_length.unwrap_or(num_ctx).min(num_ctx),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn abilities(show: Value) -> Abilities {
        serde_json::from_value::<Show>(show).unwrap().into()
    }

    #[test]
    fn what_a_host_says() {
        let show = json!({
            "capabilities": ["completion", "tools", "thinking"],
            "model_info": {
                "general.architecture": "qwen3",
                "clip.vision.context_length": 77,
                "qwen3.context_length": 40960,
            },
            "details": {"families": null},
        });
        let expected = Abilities {
            tools: true,
            thinking: true,
            context_length: Some(40960),
        };
        assert_eq!(abilities(show), expected);
        let odd = json!({"model_info": {"x.context_length": 2048}, "capabilities": null});
        let expected = Abilities {
            context_length: Some(2048),
            ..Abilities::default()
        };
        assert_eq!(abilities(odd), expected);
        for nothing in [
            json!({}),
            json!({"model_info": null}),
            json!({"model_info": {"x.context_length": 0}}),
            json!({"model_info": {"x.context_length": "8192"}}),
        ] {
            assert_eq!(abilities(nothing), Abilities::default());
        }
        let huge = json!({"model_info": {"x.context_length": 1_u64 << 40}});
        assert_eq!(abilities(huge).context_length, Some(u32::MAX));
    }

    #[test]
    fn remote_models() {
        let is_remote = |show: Value| serde_json::from_value::<Show>(show).unwrap().is_remote();
        assert!(is_remote(json!({"remote_host": "https://ollama.com:443"})));
        assert!(is_remote(json!({"remote_model": "gpt-oss:120b"})));
        assert!(!is_remote(json!({"remote_model": "", "remote_host": null})));
        assert!(!is_remote(json!({})));
    }

    #[test]
    fn the_window_is_the_smaller_one() {
        let window = |context_length, num_ctx| {
            let abilities = Abilities {
                context_length,
                ..Abilities::default()
            };
            abilities.facts(String::new(), num_ctx).window
        };
        assert_eq!(window(Some(2048), 8192), 2048);
        assert_eq!(window(Some(131_072), 8192), 8192);
        assert_eq!(window(None, 8192), 8192);
    }

    #[test]
    fn of_two_copies_the_lesser_counts() {
        let first = Abilities {
            tools: true,
            thinking: true,
            context_length: None,
        };
        let second = Abilities {
            tools: true,
            thinking: false,
            context_length: Some(4096),
        };
        assert_eq!(first.both(second), second);
        assert_eq!(second.both(first), second);
    }
}
