//! What a configuration may hold, taken from the JSON Schema of its types.

use schemars::generate::SchemaSettings;
use serde_json::Value;
use swarm_protocol::{AgentName, Span};
use url::Url;

use super::Config;
use super::mistakes::{likely, shown_url};
use crate::output;

/// Characters that are quoted of what does not fit.
const QUOTED_WIDTH: usize = 60;

/// What may stand at a place.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Shape {
    /// These keys and no others.
    Section(Vec<(String, Shape)>),
    /// A name for each of them.
    Named {
        names: Format,
        each: Box<Shape>,
    },
    List {
        item: Box<Shape>,
        at_least: u64,
    },
    Number {
        min: u64,
        max: u64,
    },
    Flag,
    Word(Vec<String>),
    Text(Format),
    /// Whatever YAML can say.
    Anything,
}

/// What a text must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Any,
    Time,
    AgentName,
    /// Servers of NATS, separated by commas.
    NatsUrls,
    /// A host of Ollama.
    OllamaUrl,
}

/// What is wrong with a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Misfit(pub(super) String);

impl Shape {
    /// The shape of the whole configuration.
    pub(super) fn of_config() -> Self {
        let settings = SchemaSettings::draft2020_12().with(|settings| {
            settings.inline_subschemas = true;
        });
        Self::of(
            settings
                .into_generator()
                .into_root_schema_for::<Config>()
                .as_value(),
        )
    }

    fn of(schema: &Value) -> Self {
        if let Some(properties) = schema["properties"].as_object() {
            let keys = properties.iter();
            return Self::Section(
                keys.map(|(key, schema)| (key.clone(), Self::of(schema)))
                    .collect(),
            );
        }
        if let Some(agent) = schema["patternProperties"]
            .as_object()
            .and_then(|of| of.values().next())
        {
            return Self::Named {
                names: Format::AgentName,
                each: Box::new(Self::of(agent)),
            };
        }
        // An optional word is written as any of itself and null.
        let some = schema["anyOf"].as_array().and_then(|any| any.first());
        if let Some(some) = some {
            return Self::of(some);
        }
        let name = |value: &Value| value.as_str().map(str::to_owned);
        if let Some(words) = schema["enum"].as_array() {
            return Self::Word(words.iter().filter_map(name).collect());
        }
        if let Some(words) = schema["oneOf"].as_array() {
            return Self::Word(
                words
                    .iter()
                    .filter_map(|word| name(&word["const"]))
                    .collect(),
            );
        }
        let kind = schema["type"]
            .as_str()
            .or_else(|| schema["type"].get(0)?.as_str());
        match kind {
            Some("object") => Self::Named {
                names: Format::Any,
                each: Box::new(Self::Anything),
            },
            Some("array") => Self::List {
                item: Box::new(Self::of(&schema["items"])),
                at_least: schema["minItems"].as_u64().unwrap_or(0),
            },
            Some("integer") => Self::Number {
                min: schema["minimum"].as_u64().unwrap_or(0),
                max: schema["maximum"]
                    .as_u64()
                    .unwrap_or(match schema["format"].as_str() {
                        Some("uint32") => u32::MAX.into(),
                        _ => u64::MAX,
                    }),
            },
            Some("boolean") => Self::Flag,
            Some("string") => Self::Text(match schema["format"].as_str() {
                Some("time") => Format::Time,
                Some("nats-urls") => Format::NatsUrls,
                Some("ollama-url") => Format::OllamaUrl,
                // Names of agents are the only texts with a pattern.
                _ if schema["pattern"].is_string() => Format::AgentName,
                _ => Format::Any,
            }),
            _ => Self::Anything,
        }
    }

    /// What is accepted, in words.
    pub(super) fn accepted(&self) -> String {
        match self {
            Self::Section(keys) => format!(
                "keys with values: {}",
                join(keys.iter().map(|(key, _)| key))
            ),
            Self::Named {
                names: Format::AgentName,
                ..
            } => "agents by their names".to_owned(),
            Self::Named { .. } => "keys with values".to_owned(),
            Self::List { item, at_least } => {
                let example = match **item {
                    Self::Text(Format::OllamaUrl) => r#"["http://127.0.0.1:11434"]"#,
                    _ => "[a, b]",
                };
                match at_least {
                    0 => format!("a list, such as {example}"),
                    _ => format!("a list of at least {at_least}, such as {example}"),
                }
            }
            Self::Number { min, max: u64::MAX } => format!("a whole number from {min}"),
            Self::Number { min, max } => format!("a whole number from {min} to {max}"),
            Self::Flag => "true or false".to_owned(),
            Self::Word(words) => format!("one of {}", join(words)),
            Self::Text(format) => format.accepted().to_owned(),
            Self::Anything => "anything".to_owned(),
        }
    }

    /// Whether a scalar fits: the value that holds, or what is wrong.
    ///
    /// `value` is what YAML makes of it, `written` how it is written.
    pub(super) fn fit(&self, value: &Value, written: &str) -> Result<Value, Misfit> {
        match (self, value) {
            (Self::Number { min, max }, Value::Number(number)) => {
                let number = number
                    .as_u64()
                    .filter(|number| (min..=max).contains(&number));
                number.map(Value::from).ok_or_else(|| self.misfit(written))
            }
            (Self::Flag, Value::Bool(_)) | (Self::Anything, _) => Ok(value.clone()),
            (Self::Word(words), Value::String(text)) if words.contains(text) => Ok(value.clone()),
            (Self::Word(words), _) => {
                let hint = likely(written, words.iter().map(String::as_str));
                Err(Misfit(self.misfit(written).0 + &hint))
            }
            (Self::Text(format), Value::String(text)) => {
                format.check(text)?;
                Ok(value.clone())
            }
            // `model: 1.10` and `prompt: no` are meant as they are written.
            (Self::Text(format), Value::Number(_) | Value::Bool(_)) => {
                format.check(written)?;
                Ok(written.into())
            }
            _ => Err(self.misfit(written)),
        }
    }

    /// What is said of something that does not fit.
    pub(super) fn misfit(&self, written: &str) -> Misfit {
        misfit(written, &self.accepted())
    }
}

impl Format {
    fn accepted(self) -> &'static str {
        match self {
            Self::Any => "a text",
            Self::Time => "a time above 0, such as `30s`, `10m` or `1h 30m`",
            Self::AgentName => "an agent's name: 1 to 64 of a-z, 0-9, _ and -",
            Self::NatsUrls => "nats://HOST:PORT, also tls, ws or wss, several separated by commas",
            Self::OllamaUrl => "http://HOST:PORT",
        }
    }

    /// What is wrong with a text, if anything is.
    pub(super) fn check(self, text: &str) -> Result<(), Misfit> {
        let fits = match self {
            Self::Any => true,
            Self::Time => text.parse::<Span>().is_ok(),
            Self::AgentName => text.parse::<AgentName>().is_ok(),
            Self::NatsUrls => text.split(',').all(is_nats_url),
            Self::OllamaUrl => return check_ollama_url(text),
        };
        if fits {
            return Ok(());
        }
        let shown = match self {
            Self::NatsUrls => shown_url(text),
            _ => text.to_owned(),
        };
        Err(misfit(&shown, self.accepted()))
    }
}

fn misfit(written: &str, accepted: &str) -> Misfit {
    // A URL may have come to where none belongs.
    let short = match written.contains("://") {
        true => output::line(&shown_url(written), QUOTED_WIDTH),
        false => output::line(written, QUOTED_WIDTH),
    };
    let shown = match short.as_str() {
        "" => "nothing".to_owned(),
        "a list" | "an empty list" | "keys with values" => short,
        _ => format!("`{short}`"),
    };
    Misfit(format!("{shown} does not fit; accepted is {accepted}"))
}

/// Whether the NATS client takes it: without a scheme it means `nats://`.
fn is_nats_url(text: &str) -> bool {
    let text = text.trim();
    let url = if text.contains("://") {
        Url::parse(text)
    } else {
        Url::parse(&format!("nats://{text}"))
    };
    url.is_ok_and(|url| {
        matches!(url.scheme(), "nats" | "tls" | "ws" | "wss")
            && url.host_str().is_some_and(|host| !host.is_empty())
    })
}

/// Whether an agent would ask this host; the reasons are those of the model crate.
fn check_ollama_url(text: &str) -> Result<(), Misfit> {
    let no_url = |_error| misfit(&shown_url(text), Format::OllamaUrl.accepted());
    let url = Url::parse(text).map_err(no_url)?;
    match swarm_model::Ollama::new(swarm_model::Options::new(vec![url])) {
        Ok(_) => Ok(()),
        Err(error) => Err(Misfit(error.to_string())),
    }
}

/// Words with commas between them.
pub(super) fn join<W: AsRef<str>>(words: impl IntoIterator<Item = W>) -> String {
    let words: Vec<W> = words.into_iter().collect();
    words
        .iter()
        .map(AsRef::as_ref)
        .collect::<Vec<&str>>()
        .join(", ")
}
