//! The models that can be served: facts about each, no state.

use bytes::Bytes;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// One model as `/api/tags` and `/api/show` describe it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// Name with tag, without the default registry: `llama3.2:3b`.
    pub name: String,
    /// Bytes on disk.
    pub size: u64,
    /// The architecture, which also prefixes the keys of `model_info`.
    pub family: &'static str,
    /// As Ollama shows it: `3.2B`.
    pub parameter_size: &'static str,
    /// The same as a number.
    pub parameter_count: u64,
    /// Such as `Q4_K_M`.
    pub quantization: &'static str,
    /// The longest context it was trained for, in tokens.
    pub context_length: u64,
    /// Width of the model.
    pub embedding_length: u64,
    /// What `/api/show` lists: `completion`, `tools`, ...
    pub capabilities: &'static [&'static str],
}

/// The three models that Swarm's default agents use, with the facts of their published files.
pub fn seeds() -> Vec<Model> {
    vec![
        Model {
            name: "llama3.2:3b".to_owned(),
            size: 2_019_393_189,
            family: "llama",
            parameter_size: "3.2B",
            parameter_count: 3_212_749_888,
            quantization: "Q4_K_M",
            context_length: 131_072,
            embedding_length: 3072,
            capabilities: &["completion", "tools"],
        },
        Model {
            name: "llama3.2:1b".to_owned(),
            size: 1_321_098_329,
            family: "llama",
            parameter_size: "1.2B",
            parameter_count: 1_235_814_432,
            quantization: "Q8_0",
            context_length: 131_072,
            embedding_length: 2048,
            capabilities: &["completion", "tools"],
        },
        Model {
            name: "gemma2:2b".to_owned(),
            size: 1_629_518_495,
            family: "gemma2",
            parameter_size: "2.6B",
            parameter_count: 2_614_341_888,
            quantization: "Q4_0",
            context_length: 8192,
            embedding_length: 2304,
            capabilities: &["completion"],
        },
    ]
}

/// The models of these names: seeds keep their facts, others are plain chat models. No names: all seeds.
pub fn chosen(names: &[String]) -> Vec<Model> {
    let seeds = seeds();
    if names.is_empty() {
        return seeds;
    }
    let named = names.iter().map(|name| canonical(name));
    named
        .map(|name| match seeds.iter().find(|seed| seed.name == name) {
            Some(seed) => seed.clone(),
            None => generic(name),
        })
        .collect()
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

impl Model {
    /// The name with registry and namespace, which some error texts use.
    pub fn full_name(&self) -> String {
        let namespace = if self.name.contains('/') {
            ""
        } else {
            "library/"
        };
        format!("registry.ollama.ai/{namespace}{}", self.name)
    }

    /// 64 hex digits that depend on the name only.
    pub fn digest(&self) -> String {
        format!("{:x}", Bytes::copy_from_slice(&Sha256::digest(&self.name)))
    }

    /// Whether `/api/show` lists the capability.
    pub fn can(&self, capability: &str) -> bool {
        self.capabilities.contains(&capability)
    }

    /// The `details` object of tags, show and ps.
    pub fn details(&self) -> Value {
        json!({
            "parent_model": "",
            "format": "gguf",
            "family": self.family,
            "families": [self.family],
            "parameter_size": self.parameter_size,
            "quantization_level": self.quantization,
        })
    }
}

fn generic(name: String) -> Model {
    Model {
        name,
        size: 1_000_000_000,
        family: "llama",
        parameter_size: "1.0B",
        parameter_count: 1_000_000_000,
        quantization: "Q4_K_M",
        context_length: 32_768,
        embedding_length: 2048,
        capabilities: &["completion"],
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
    fn chosen_models_keep_the_facts_of_seeds() {
        let names = ["gemma2:2b".to_owned(), "me/other".to_owned()];
        let mut seeds = seeds();
        let models = chosen(&names);
        assert_eq!(
            models,
            [seeds.remove(2), generic("me/other:latest".to_owned())]
        );
        let full: Vec<_> = models.iter().map(Model::full_name).collect();
        assert_eq!(
            full,
            [
                "registry.ollama.ai/library/gemma2:2b",
                "registry.ollama.ai/me/other:latest"
            ]
        );
    }
}
