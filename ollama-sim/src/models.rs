//! The models that can be served: facts about each, no state.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::tokens::Tokenizer;

mod name;

pub use name::{Reference, Source, canonical, is_valid};

/// The table that is built in.
const TABLE: &str = include_str!("../models.yaml");

/// One model as `/api/tags` and `/api/show` describe it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Name with tag, without the default registry: `llama3.2:3b`.
    pub name: String,
    /// 64 hex digits; made from the name when not said.
    #[serde(default)]
    pub digest: Option<String>,
    /// Bytes on disk.
    #[serde(default = "default_size")]
    pub size: u64,
    /// The architecture, which also prefixes the keys of `model_info`.
    #[serde(default = "default_family")]
    pub family: String,
    /// As Ollama shows it: `3.2B`.
    #[serde(default = "default_parameter_size")]
    pub parameter_size: String,
    /// The same as a number.
    #[serde(default = "default_size")]
    pub parameter_count: u64,
    /// Such as `Q4_K_M`.
    #[serde(default = "default_quantization")]
    pub quantization: String,
    /// The longest context it was trained for, in tokens.
    #[serde(default = "default_context_length")]
    pub context_length: u64,
    /// Width of the model.
    #[serde(default = "default_embedding_length")]
    pub embedding_length: u64,
    /// What `/api/show` lists: `completion`, `tools`, `thinking`, `embedding`, ...
    #[serde(default = "default_capabilities")]
    pub capabilities: Vec<String>,
    /// How its tool calls come; the server's way when not said.
    #[serde(default)]
    pub emission: Option<Emission>,
    /// What stands before a call in its text, such as `<tool_call>`; bare JSON is a call when not said.
    #[serde(default)]
    pub call_tag: Option<String>,
    /// How its tokens are counted.
    #[serde(default)]
    pub tokens: Tokenizer,
    /// Milliseconds that loading takes; those of `--load` when not said.
    #[serde(default)]
    pub load_ms: Option<u64>,
    /// Tokens per second; those of `--tokens-per-second` when not said.
    #[serde(default)]
    pub tokens_per_second: Option<f64>,
    /// Tokens of a prompt that are read per second; all at once when not said.
    #[serde(default)]
    pub prompt_tokens_per_second: Option<f64>,
    /// The version of the server that it needs, as `/api/show` tells.
    #[serde(default)]
    pub requires: Option<String>,
    /// The system message of requests that have none.
    #[serde(default)]
    pub system: Option<String>,
    /// Options of requests that do not set them.
    #[serde(default)]
    pub parameters: Map<String, Value>,
    /// The model that it was made from.
    #[serde(default)]
    pub parent: Option<String>,
    /// Set for a stub of a model that runs elsewhere.
    #[serde(default)]
    pub remote: Option<Remote>,
}

/// Where the model of a stub really runs.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Remote {
    /// `remote_host` of answers and listings.
    pub host: String,
    /// `remote_model` of them.
    pub model: String,
}

/// How tool calls come out of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Emission {
    /// Ollama renders the prompt and reads the calls: one chunk a call, then an empty last chunk.
    Rendered,
    /// The runner does both: all calls in the last chunk. Servers from 0.30 on.
    Native,
    /// The calls are not recognised and come as JSON text.
    Text,
    /// The calls are lost: empty content and no call.
    Swallow,
}

/// Reads a table of models.
///
/// # Errors
/// No list of models, or an unknown field.
pub fn table(yaml: &str) -> Result<Vec<Model>, String> {
    let mut models: Vec<Model> = crate::document::read(yaml)?;
    for model in &mut models {
        model.name = canonical(&model.name);
    }
    Ok(models)
}

/// The models to serve: of `names` if there are any, else the extra ones and then those of the built-in table. A
/// model that is in a table keeps its facts, one that is in none is a plain chat model.
///
/// # Errors
/// None is known: the built-in table is sound.
pub fn chosen(names: &[String], extra: Vec<Model>) -> Result<Vec<Model>, String> {
    let mut known = extra;
    for seed in table(TABLE)? {
        if !known.iter().any(|model| model.name == seed.name) {
            known.push(seed);
        }
    }
    if names.is_empty() {
        return Ok(known);
    }
    let named = names.iter().map(|name| canonical(name));
    Ok(named
        .map(|name| {
            known
                .iter()
                .find(|model| model.name == name)
                .cloned()
                .unwrap_or_else(|| generic(name))
        })
        .collect())
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

    /// 64 hex digits.
    pub fn digest(&self) -> String {
        self.digest.clone().unwrap_or_else(|| hex(&self.name))
    }

    /// Whether `/api/show` lists the capability.
    pub fn can(&self, capability: &str) -> bool {
        self.capabilities.iter().any(|known| known == capability)
    }

    /// The `details` object of tags, show and ps.
    pub fn details(&self) -> Value {
        json!({
            "parent_model": self.parent.as_deref().unwrap_or_default(),
            "format": if self.remote.is_some() { "" } else { "gguf" },
            "family": self.family,
            "families": [self.family],
            "parameter_size": self.parameter_size,
            "quantization_level": self.quantization,
        })
    }

    /// A template in which a reader sees what the capabilities say.
    pub fn template(&self) -> String {
        let mut template = String::from("{{- range .Messages }}<|{{ .Role }}|>");
        if self.can("thinking") {
            template.push_str("{{ if .Thinking }}<think>{{ .Thinking }}</think>{{ end }}");
        }
        template.push_str("{{ .Content }}");
        if self.can("tools") {
            template.push_str(
                "{{ range .ToolCalls }}{\"name\": \"{{ .Function.Name }}\", \"parameters\": {{ .Function.Arguments }}}{{ end }}",
            );
            template.insert_str(0, "{{- if .Tools }}<|tools|>{{ .Tools }}{{ end }}");
        }
        template.push_str("{{ end }}");
        template
    }
}

/// The SHA-256 of a text, in hex digits.
pub fn hex(text: &str) -> String {
    format!("{:x}", Bytes::copy_from_slice(&Sha256::digest(text)))
}

/// A plain chat model of this name.
pub fn generic(name: String) -> Model {
    Model {
        name,
        digest: None,
        size: default_size(),
        family: default_family(),
        parameter_size: default_parameter_size(),
        parameter_count: default_size(),
        quantization: default_quantization(),
        context_length: default_context_length(),
        embedding_length: default_embedding_length(),
        capabilities: default_capabilities(),
        emission: None,
        call_tag: None,
        tokens: Tokenizer::default(),
        load_ms: None,
        tokens_per_second: None,
        prompt_tokens_per_second: None,
        requires: None,
        system: None,
        parameters: Map::new(),
        parent: None,
        remote: None,
    }
}

fn default_size() -> u64 {
    1_000_000_000
}

fn default_family() -> String {
    "llama".to_owned()
}

fn default_parameter_size() -> String {
    "1.0B".to_owned()
}

fn default_quantization() -> String {
    "Q4_K_M".to_owned()
}

fn default_context_length() -> u64 {
    32_768
}

fn default_embedding_length() -> u64 {
    2048
}

fn default_capabilities() -> Vec<String> {
    vec!["completion".to_owned()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chosen_models_keep_the_facts_of_the_tables() {
        let names = ["gemma2:2b".to_owned(), "me/other".to_owned()];
        let models = chosen(&names, Vec::new()).unwrap();
        let full: Vec<_> = models.iter().map(Model::full_name).collect();
        assert_eq!(
            full,
            [
                "registry.ollama.ai/library/gemma2:2b",
                "registry.ollama.ai/me/other:latest"
            ]
        );
        assert_eq!(models[0].context_length, 8192);
        assert_eq!(models[1], generic("me/other:latest".to_owned()));
    }

    #[test]
    fn a_table_of_ones_own_comes_first_and_wins() {
        let extra = table(
            "[{name: mine, capabilities: [completion, tools], emission: native}, {name: 'gemma2:2b'}]",
        );
        let models = chosen(&[], extra.unwrap()).unwrap();
        let names: Vec<_> = models.iter().map(|model| model.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "mine:latest",
                "gemma2:2b",
                "llama3.2:3b",
                "llama3.2:1b",
                "qwen3:4b",
                "nomic-embed-text:latest",
                "fake-cloud:latest"
            ]
        );
        assert_eq!(models[0].emission, Some(Emission::Native));
        assert_eq!(models[1], generic("gemma2:2b".to_owned()));
        assert!(table("[{name: x, colour: red}]").is_err());
    }
}
