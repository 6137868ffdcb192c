//! Documents of servers beside Ollama's own description of its API, which comes with its source.

use reqwest::Method;
use serde_json::{Value, json};
use swarm_tests::ollama::client;

use super::weather;
use crate::case::Case;
use crate::host::Host;
use crate::outcome::Outcome;

const MODEL: &str = "llama3.2:3b";

/// What of the answers to these requests is not as the description has it.
async fn described(host: Host, requests: Vec<(Method, &'static str, Value)>) -> Outcome {
    let description = host.description();
    let mut deviations = Vec::new();
    for (method, path, body) in requests {
        let verb = method.as_str().to_lowercase();
        let request = client().request(method, host.url() + path);
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let response = request.body(body).send().await.expect("an answer");
        let status = response.status().as_u16();
        let kind = response.headers().get("content-type");
        let kind = kind.map(|kind| kind.to_str().expect("letters").to_owned());
        let kind = kind.unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().to_owned();
        let text = response.text().await.expect("a body");
        let documents: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        let content = &description["paths"][path][&verb]["responses"][status.to_string()];
        if content.is_null() {
            deviations.push(format!("{path}: {status} is not described"));
            continue;
        }
        let schema = &content["content"][&kind]["schema"];
        if schema.is_null() && !documents.is_empty() {
            deviations.push(format!("{path}: {kind} is not described"));
            continue;
        }
        for document in documents {
            deviations.extend(faults(&description, schema, &document).map(|fault| {
                // Of many chunks one is enough.
                format!("{path}: {fault}")
            }));
        }
    }
    deviations.dedup();
    Outcome::fact(if deviations.is_empty() {
        "as described".to_owned()
    } else {
        deviations.join("; ")
    })
}

fn faults(
    description: &Value,
    schema: &Value,
    document: &Value,
) -> impl Iterator<Item = String> + use<> {
    let mut schema = schema.clone();
    // Its references lead there.
    schema["components"] = description["components"].clone();
    let validator = jsonschema::validator_for(&schema).expect("the description has schemas");
    let faults: Vec<String> = validator
        .iter_errors(document)
        .map(|error| format!("{} {error}", error.instance_path()))
        .collect();
    faults.into_iter()
}

fn listings() -> Vec<(Method, &'static str, Value)> {
    let load = json!({"model": MODEL, "messages": [], "stream": false});
    vec![
        (Method::GET, "/api/version", Value::Null),
        (Method::GET, "/api/tags", Value::Null),
        (Method::POST, "/api/chat", load),
        (Method::GET, "/api/ps", Value::Null),
        (Method::POST, "/api/show", json!({"model": MODEL})),
        (
            Method::POST,
            "/api/show",
            json!({"model": "swarm-thinking"}),
        ),
    ]
}

fn chats() -> Vec<(Method, &'static str, Value)> {
    let ask = |model: &str, text: &str, more: Value| {
        let body = crate::host::body(model, text, more);
        (Method::POST, "/api/chat", body)
    };
    vec![
        ask(MODEL, "Hello", json!({})),
        ask(MODEL, "Hello", json!({"stream": false})),
        ask(MODEL, "Hello", json!({"tools": weather()})),
        ask(MODEL, "Hello", json!({"tools": weather(), "stream": false})),
        ask("swarm-native", "Hello", json!({})),
        ask("swarm-thinking", "Add 2 and 2", json!({"stream": false})),
    ]
}

fn prompts() -> Vec<(Method, &'static str, Value)> {
    let ask = |stream: bool| {
        let body = json!({"model": MODEL, "prompt": "Hello", "stream": stream});
        (Method::POST, "/api/generate", body)
    };
    vec![ask(true), ask(false)]
}

fn models() -> Vec<(Method, &'static str, Value)> {
    let made = json!({"model": "made", "from": MODEL, "system": "You are Ada."});
    let whole = json!({"model": "again", "from": MODEL, "stream": false});
    let copied = json!({"source": MODEL, "destination": "copied"});
    vec![
        (Method::POST, "/api/create", made),
        (Method::POST, "/api/create", whole),
        (Method::POST, "/api/copy", copied),
        (Method::DELETE, "/api/delete", json!({"model": "copied"})),
    ]
}

pub fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "version, models, loaded models, one model",
            |host| Box::pin(described(host, listings())),
            "as described",
        ),
        Case::new(
            "chats",
            |host| Box::pin(described(host, chats())),
            "as described",
        ),
        Case::new(
            "prompts",
            |host| Box::pin(described(host, prompts())),
            "as described",
        ),
        Case::new(
            "models that are made, copied and deleted",
            |host| Box::pin(described(host, models())),
            "as described",
        ),
    ]
}
