//! The files as values, and the containers in them.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

use serde_json::Value;
use swarm_protocol::Span;
use swarm_tests::tools;
use tempfile::TempDir;

/// Variables by name.
pub(super) type Variables = BTreeMap<String, String>;

/// A container as a file describes it.
#[derive(Debug, Clone)]
pub(super) struct Container {
    /// Its service or pod.
    pub(super) name: String,
    /// Its image.
    pub(super) image: String,
    /// What is given to the program of the image.
    pub(super) arguments: Vec<String>,
    /// Its variables, with what was made for `.env` in them.
    pub(super) environment: Variables,
    /// How many of it are started.
    pub(super) replicas: u64,
    /// How long it has to stop.
    pub(super) grace: Option<Span>,
    /// All that the file says of it.
    pub(super) spec: Value,
}

impl Container {
    /// Whether it is a role of Swarm.
    pub(super) fn is_role(&self) -> bool {
        self.image.starts_with("swarm:")
    }

    /// The agent that it works for; none when it is no worker.
    pub(super) fn agent(&self) -> Option<&str> {
        match self.arguments.as_slice() {
            [agent, name, ..] if self.is_role() && agent == "agent" => Some(name),
            _ => None,
        }
    }
}

/// The text of a file of the repository.
pub(super) fn text(path: &str) -> String {
    std::fs::read_to_string(tools::repository().join(path))
        .unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The documents of a YAML file.
pub(super) fn documents(path: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(&text(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The one document of a YAML file.
pub(super) fn yaml(path: &str) -> Value {
    serde_saphyr::from_str(&text(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A member that is a text.
pub(super) fn string(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("a text in place of {value}"))
        .to_owned()
}

/// The elements of a list; none when there is no list.
pub(super) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// The members of a mapping; none when there is none.
pub(super) fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

/// The elements of a list of texts.
pub(super) fn strings(value: &Value) -> Vec<String> {
    list(value).iter().map(string).collect()
}

/// What the one line of deploy/README.md writes to `.env`.
pub(super) static ENV: LazyLock<Variables> = LazyLock::new(|| {
    let readme = text("deploy/README.md");
    let (_, rest) = readme
        .split_once("<!-- test: env -->\n```sh\n")
        .expect("the line that makes .env");
    let script = rest.split("```").next().unwrap();
    let folder = TempDir::new().unwrap();
    let status = Command::new("bash")
        .args(["-euo", "pipefail", "-c", script])
        .current_dir(folder.path())
        .status();
    assert!(status.unwrap().success(), "{script}");
    let file = folder.path().join(".env");
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "others can read .env: {mode:o}");
    let lines = std::fs::read_to_string(&file).unwrap();
    let pairs = lines
        .lines()
        .map(|line| line.split_once('=').unwrap_or_else(|| panic!("{line}")));
    pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
});

/// `compose.yaml`, with the variables of `.env` put in.
pub(super) fn compose() -> Value {
    interpolated(yaml("compose.yaml"))
}

/// The services of `compose.yaml`.
pub(super) fn services() -> Vec<Container> {
    members(&compose()["services"])
        .map(|(name, service)| Container {
            name: name.clone(),
            image: string(&service["image"]),
            arguments: strings(&service["command"]),
            environment: members(&service["environment"])
                .map(|(name, value)| (name.clone(), string(value)))
                .collect(),
            replicas: service["deploy"]["replicas"].as_u64().unwrap_or(1),
            grace: service["stop_grace_period"]
                .as_str()
                .map(|grace| grace.parse().unwrap()),
            spec: service.clone(),
        })
        .collect()
}

/// All that `kubectl apply -k .` applies from files.
pub(super) fn manifests() -> Vec<Value> {
    strings(&yaml("kustomization.yaml")["resources"])
        .iter()
        .flat_map(|path| documents(path))
        .collect()
}

/// The pods of the manifests, each of which has one container.
pub(super) fn pods() -> Vec<Container> {
    manifests()
        .iter()
        .filter(|manifest| !manifest["spec"]["template"].is_null())
        .map(|manifest| {
            let pod = &manifest["spec"]["template"]["spec"];
            let [container] = list(&pod["containers"]) else {
                panic!("one container in {pod}");
            };
            let grace = pod["terminationGracePeriodSeconds"].as_u64().unwrap();
            Container {
                name: string(&manifest["metadata"]["name"]),
                image: string(&container["image"]),
                arguments: strings(&container["args"]),
                environment: list(&container["env"]).iter().map(variable).collect(),
                replicas: manifest["spec"]["replicas"].as_u64().unwrap_or(1),
                grace: Some(format!("{grace}s").parse().unwrap()),
                spec: manifest.clone(),
            }
        })
        .collect()
}

/// The agents of `swarm.yaml`.
pub(super) fn agents() -> BTreeSet<String> {
    members(&yaml("swarm.yaml")["agents"])
        .map(|(name, _)| name.clone())
        .collect()
}

/// Files of the deployment with one of these endings, as paths in the repository.
pub(super) fn with_ending(endings: &[&str]) -> Vec<String> {
    let mut found = vec!["compose.yaml".to_owned(), "kustomization.yaml".to_owned()];
    walk(Path::new("deploy"), &mut found);
    found.retain(|path| endings.iter().any(|ending| path.ends_with(ending)));
    found
}

fn walk(folder: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(tools::repository().join(folder)).unwrap() {
        let entry = entry.unwrap();
        let path = folder.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            walk(&path, found);
        } else {
            found.push(path.display().to_string());
        }
    }
}

/// A variable of a pod. Secrets have the values of `.env`, as the Secret is made from it.
fn variable(entry: &Value) -> (String, String) {
    let name = string(&entry["name"]);
    let reference = &entry["valueFrom"]["secretKeyRef"];
    if reference.is_null() {
        return (name, string(&entry["value"]));
    }
    assert_eq!(reference["name"], "swarm", "the Secret of {name}");
    let key = string(&reference["key"]);
    assert_eq!(key, name, "a variable and its key in the Secret");
    let value = ENV
        .get(&key)
        .unwrap_or_else(|| panic!("{key} is not in .env"));
    (name, value.clone())
}

fn interpolated(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(interpolate(&text)),
        Value::Array(values) => values.into_iter().map(interpolated).collect(),
        Value::Object(members) => members
            .into_iter()
            .map(|(name, value)| (name, interpolated(value)))
            .collect(),
        other => other,
    }
}

/// `${NAME}`, `${NAME:-default}`, `${NAME:?message}` and `$$`, as Compose reads them.
fn interpolate(text: &str) -> String {
    let Some((before, rest)) = text.split_once('$') else {
        return text.to_owned();
    };
    if let Some(rest) = rest.strip_prefix('$') {
        return format!("{before}${}", interpolate(rest));
    }
    let inner = rest.strip_prefix('{').and_then(|rest| rest.split_once('}'));
    let (inner, rest) = inner.unwrap_or_else(|| panic!("a variable in {text}"));
    let (name, default) = match inner.split_once(':') {
        Some((name, otherwise)) => (name, otherwise.strip_prefix('-')),
        None => (inner, None),
    };
    let value = ENV.get(name).map(String::as_str).or(default);
    let value = value.unwrap_or_else(|| panic!("{name} is not in .env"));
    format!("{before}{value}{}", interpolate(rest))
}

#[test]
fn every_file_can_be_read() {
    let mut read = 0;
    for path in with_ending(&[".yaml", ".yml"]) {
        read += documents(&path).len();
    }
    for path in with_ending(&[".json"]) {
        let parsed: Result<Value, _> = serde_json::from_str(&text(&path));
        parsed.unwrap_or_else(|error| panic!("{path}: {error}"));
        read += 1;
    }
    assert!(read >= 20, "{read} documents");
}
