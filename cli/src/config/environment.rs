//! The environment over the file: `SWARM_<SECTION>_<KEY>`, `__` for a deeper key.
//!
//! `SWARM_OLLAMA_NUM_CTX=4096`, `SWARM_AGENTS_RESEARCH_AGENT__MODEL=llama3.2:1b`, `SWARM_RUNS_RETRY__MAX=1`.

use serde_json::{Map, Value};

use super::mistakes::{Place, likely};
use super::reading::{Findings, Reader};
use super::shape::{Shape, join};
use super::tree;

/// The variables of this process. One that is no text cannot be meant for the configuration.
pub(super) fn variables() -> Vec<(String, String)> {
    let texts = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    texts.collect()
}

/// Sets what the variables say in `values`, and notes what is wrong with them.
///
/// Only variables that begin with a section count; others with `SWARM_` mean something else.
pub(super) fn apply(
    values: &mut Value,
    mut variables: Vec<(String, String)>,
    shape: &Shape,
    findings: &mut Findings,
) {
    // A section comes before its keys, which then hold.
    variables.sort();
    for (name, text) in &variables {
        let Some(path) = path(name, shape) else {
            continue;
        };
        let place = Place::Variable(name.clone());
        let key = path.join(".");
        match find(shape, &path, name) {
            // As in a shell, an empty variable is one that is not set.
            Ok(_) if text.is_empty() => {}
            Ok(shape) => {
                stand(&path, &place, findings);
                if let Some(value) = value(text, name, &key, shape, findings) {
                    merge(values, nested(&path, value));
                }
            }
            Err(message) => findings.wrong(place, &key, message),
        }
    }
}

/// Notes where a key stands, and what is around it when no file has that.
fn stand(path: &[String], place: &Place, findings: &mut Findings) {
    for depth in 1..path.len() {
        let around = path.get(..depth).unwrap_or_default().join(".");
        findings
            .places
            .entry(around)
            .or_insert_with(|| place.clone());
    }
    findings.stands(&path.join("."), place.clone());
}

/// The key that a variable means, `[ollama, num_ctx]`; none when it is about something else.
fn path(name: &str, shape: &Shape) -> Option<Vec<String>> {
    let Shape::Section(sections) = shape else {
        return None;
    };
    let rest = name.strip_prefix("SWARM_")?.to_ascii_lowercase();
    let of = |section: &str| Some(rest.strip_prefix(section)?.strip_prefix('_')?.to_owned());
    let found = sections
        .iter()
        .filter_map(|(section, _)| Some((section, of(section)?)));
    // `mcp_servers` is also `mcp` and something: the longer one is meant.
    let (section, keys) = found.max_by_key(|(section, _)| section.len())?;
    let keys = keys.trim_start_matches('_');
    let path = std::iter::once(section.as_str()).chain(keys.split("__"));
    (!keys.is_empty()).then(|| path.map(str::to_owned).collect())
}

/// What may stand at a key, or what is wrong with the key.
fn find<'s>(shape: &'s Shape, path: &[String], variable: &str) -> Result<&'s Shape, String> {
    let mut shape = shape;
    for (depth, key) in path.iter().enumerate() {
        shape = match shape {
            Shape::Section(keys) => {
                let known = keys.iter().find(|(known, _)| known == key);
                let Some((_, known)) = known else {
                    let around = path.get(..depth).unwrap_or_default();
                    let mut names = Vec::new();
                    spell(shape, around, &mut names);
                    return Err(format!(
                        "unknown key; accepted in {} are {}{}",
                        around.join("."),
                        join(keys.iter().map(|(key, _)| key)),
                        likely(variable, names.iter().map(String::as_str))
                    ));
                };
                known
            }
            Shape::Named { names, each } => {
                names.check(key).map_err(|misfit| misfit.0)?;
                each
            }
            Shape::Anything => return Ok(shape),
            _ => {
                let key = path.get(..depth).unwrap_or_default().join(".");
                return Err(format!(
                    "unknown key; {key} has no keys of its own, accepted is {}",
                    shape.accepted()
                ));
            }
        };
    }
    Ok(shape)
}

/// The names of all variables for the keys in a section.
fn spell(shape: &Shape, path: &[String], names: &mut Vec<String>) {
    match (shape, path) {
        (Shape::Section(keys), _) => {
            for (key, shape) in keys {
                spell(shape, &[path, std::slice::from_ref(key)].concat(), names);
            }
        }
        (_, [section, keys @ ..]) => {
            names.push(format!("SWARM_{section}_{}", keys.join("__")).to_ascii_uppercase());
        }
        (_, []) => {}
    }
}

/// What a variable says. A text stands for itself, anything else is YAML: `4096`, `[a, b]`.
fn value(
    text: &str,
    variable: &str,
    key: &str,
    shape: &Shape,
    findings: &mut Findings,
) -> Option<Value> {
    let itself = || Value::String(text.to_owned());
    let node = match shape {
        Shape::Text(_) | Shape::Word(_) => None,
        _ => tree::parse(text).ok(),
    };
    if let Some(node) = node {
        let mut reader = Reader {
            text,
            variable: Some(variable),
            findings,
        };
        return reader.read(shape, key, &node);
    }
    shape
        .fit(&itself(), text)
        .map_err(|misfit| findings.wrong(Place::Variable(variable.to_owned()), key, misfit.0))
        .ok()
}

fn nested(path: &[String], value: Value) -> Value {
    path.iter().rev().fold(value, |value, key| {
        Value::Object(Map::from_iter([(key.clone(), value)]))
    })
}

/// Puts `over` over `under`: keys by themselves, anything else whole.
fn merge(under: &mut Value, over: Value) {
    match (under, over) {
        (Value::Object(under), Value::Object(over)) => {
            for (key, value) in over {
                merge(under.entry(key).or_insert(Value::Null), value);
            }
        }
        (under, over) => *under = over,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_name_keys() {
        let key = |name| path(name, &Shape::of_config()).map(|path| path.join("."));
        for (name, expected) in [
            ("SWARM_OLLAMA_NUM_CTX", "ollama.num_ctx"),
            (
                "SWARM_AGENTS_RESEARCH_AGENT__MODEL",
                "agents.research_agent.model",
            ),
            ("SWARM_RUNS_RETRY__MAX", "runs.retry.max"),
            ("SWARM_MCP_SERVER_PORT", "mcp.server_port"),
            ("SWARM_MCP_SERVERS_WIKI__URL", "mcp_servers.wiki.url"),
        ] {
            assert_eq!(key(name).as_deref(), Some(expected));
        }
        for other in [
            "SWARM_AGENT_PASSWORD",
            "SWARM_CONFIG",
            "SWARM_DATA_DIR",
            "PATH",
            "SWARM_MCP_",
        ] {
            assert_eq!(key(other), None, "{other}");
        }
    }
}
