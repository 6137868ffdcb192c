//! The pages of `docs/` that are made from data: `subjects.md` and `errors.md`. `make docs` writes them, a test compares them.

mod conf;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use swarm_bus::topology::{self, Consumer, Settings, Stream};
use swarm_protocol::subjects::catalog::{self, Party};
use swarm_protocol::{Code, Span};

pub use conf::{User, users};

use crate::tools;

/// Every page: its file in `docs/`, and its text.
#[must_use]
pub fn pages() -> [(&'static str, String); 2] {
    [("subjects.md", subjects()), ("errors.md", errors())]
}

fn errors() -> String {
    let mut page = String::from(
        "# Errors\n\n\
         <!-- Written by `make docs` from protocol/src/error.rs. -->\n\n\
         An error is `{\"code\", \"message\", \"retryable\", \"field\"}`; `field` only where one is wrong. The message says what it was this\n\
         time; the code is stable. A reply that is an error has the number in the header `Nats-Service-Error-Code`. Retryable: the same\n\
         request may succeed later, unchanged.\n\n\
         | Code | Number | Retryable | What happened | What to do |\n|---|---|---|---|---|\n",
    );
    for code in Code::ALL {
        let retryable = if code.retryable() { "yes" } else { "no" };
        row(
            &mut page,
            &[
                format!("`{}`", code.as_str()),
                code.status().to_string(),
                retryable.to_owned(),
                code.happened().to_owned(),
                code.mend().to_owned(),
            ],
        );
    }
    page
}

fn subjects() -> String {
    let settings = Settings::default();
    let streams = topology::streams(&settings);
    let mut page = String::from(
        "# Subjects, streams and users\n\n\
         <!-- Written by `make docs` from protocol/src/subjects/catalog.rs, bus/src/topology.rs and nats.conf. -->\n\n\
         ## Subjects\n\n\
         *stored*: in a stream before the sender is told so. *republished*: the server's copy of what it stored. *request*: one of the\n\
         listeners answers, into inboxes only. *core*: sent to whoever listens, and forgotten. *anyone* is who connects without\n\
         credentials. The shapes of messages are in [schemas](schemas/).\n\n\
         | Subject | Travels | From | To | What |\n|---|---|---|---|---|\n",
    );
    for subject in catalog::ALL {
        row(
            &mut page,
            &[
                format!("`{}`", subject.pattern),
                subject.travels.to_string(),
                parties(subject.from),
                parties(subject.to),
                subject.what.to_owned(),
            ],
        );
    }
    page.push_str(
        "\n## Streams\n\n\
         As a coordinator makes them, with the default configuration; `swarm doctor` reports what is otherwise. `max_bytes` is reserved:\n\
         the sum stays below 80 % of `max_file_store` in `nats.conf`.\n\n",
    );
    stream_settings(&mut page, &streams);
    for stream in &streams {
        page.push_str(&format!("\n**{}** {}\n", stream.name, stream.reason));
    }
    page.push_str("\n## Consumers\n\n");
    consumers(&mut page, &settings);
    page.push_str(
        "\n## Users\n\n\
         The users of `nats.conf` and all that each may do. Some of the subjects belong to parts that are not there yet.\n",
    );
    for user in users(&nats_conf()) {
        page.push_str(&format!(
            "\n### {}\n\n{}\n\n- publishes: {}\n- subscribes: {}\n",
            user.name,
            user.about,
            list(&user.publish),
            list(&user.subscribe)
        ));
    }
    page
}

/// The `nats.conf` of the repository.
#[must_use]
pub fn nats_conf() -> String {
    std::fs::read_to_string(tools::repository().join("nats.conf")).expect("nats.conf is there")
}

/// A row for each setting that any stream has, a column for each stream.
fn stream_settings(page: &mut String, streams: &[Stream]) {
    let config = |stream: &Stream| stream.config.as_object().cloned().expect("an object");
    let mut names: Vec<String> = Vec::new();
    for stream in streams {
        let new = config(stream);
        names.extend(new.keys().filter(|name| *name != "name").cloned());
    }
    names.sort();
    names.dedup();
    let mut header = vec![String::new()];
    header.extend(streams.iter().map(|stream| stream.name.to_owned()));
    table(page, &header);
    for name in names {
        let mut cells = vec![format!("`{name}`")];
        cells.extend(streams.iter().map(|stream| {
            let value = stream.config.get(&name);
            value.map_or_else(String::new, |value| setting(&name, value))
        }));
        row(page, &cells);
    }
}

fn consumers(page: &mut String, settings: &Settings) {
    let agent = "agent".parse().expect("a name");
    let mut consumers = topology::coordinator_consumers();
    // The consumer of any agent, with its name as a placeholder.
    let mut work = topology::work_consumer(&agent, settings);
    work.name = "<agent>".to_owned();
    work.config["filter_subject"] = "swarm.work.<agent>".into();
    consumers.push(work);
    table(
        page,
        &["Consumer", "Stream", "Settings", "Why"].map(str::to_owned),
    );
    for Consumer {
        stream,
        name,
        reason,
        config,
    } in &consumers
    {
        let config = config.as_object().expect("an object");
        // Whether an object keeps its order or sorts depends on the features that a build happens to unify.
        let config: BTreeMap<_, _> = config.iter().collect();
        let settings = config.iter().filter(|(key, _)| **key != "durable_name");
        let settings: Vec<String> = settings
            .map(|(key, value)| format!("`{key}` {}", setting(key, value)))
            .collect();
        row(
            page,
            &[
                format!("`{name}`"),
                (*stream).to_owned(),
                settings.join(", "),
                (*reason).to_owned(),
            ],
        );
    }
}

/// The value of a setting of a stream or consumer, in units for a person.
fn setting(name: &str, value: &Value) -> String {
    const TIMES: [&str; 4] = [
        "ack_wait",
        "duplicate_window",
        "max_age",
        "subject_delete_marker_ttl",
    ];
    const SIZES: [&str; 2] = ["max_bytes", "max_msg_size"];
    match (value, value.as_u64()) {
        (_, Some(nanos)) if TIMES.contains(&name) => Span(Duration::from_nanos(nanos)).to_string(),
        (_, Some(bytes)) if SIZES.contains(&name) => size(bytes),
        (Value::Bool(true), _) => "yes".to_owned(),
        (Value::Bool(false), _) => "no".to_owned(),
        (Value::String(text), _) if text.contains('.') => format!("`{text}`"),
        (Value::String(text), _) => text.clone(),
        (Value::Array(items), _) => {
            let items: Vec<String> = items.iter().map(|item| setting(name, item)).collect();
            items.join(" ")
        }
        (Value::Object(rule), _) => {
            let rule = |end: &str| {
                rule.get(end)
                    .and_then(Value::as_str)
                    .expect("a republish rule")
            };
            format!("`{}` to `{}`", rule("src"), rule("dest"))
        }
        _ => value.to_string(),
    }
}

fn size(bytes: u64) -> String {
    const KIB: u64 = 1024;
    if bytes.is_multiple_of(KIB * KIB) {
        format!("{} MiB", bytes / KIB / KIB)
    } else {
        format!("{} KiB", bytes / KIB)
    }
}

fn parties(parties: &[Party]) -> String {
    if parties.is_empty() {
        return "nobody".to_owned();
    }
    let names: Vec<String> = parties.iter().map(ToString::to_string).collect();
    names.join(", ")
}

fn list(subjects: &[String]) -> String {
    let subjects: Vec<String> = subjects
        .iter()
        .map(|subject| format!("`{subject}`"))
        .collect();
    subjects.join(" ")
}

fn table(page: &mut String, header: &[String]) {
    row(page, header);
    page.push_str(&format!("{}|\n", "|---".repeat(header.len())));
}

fn row(page: &mut String, cells: &[String]) {
    assert!(
        cells.iter().all(|cell| !cell.contains(['|', '\n'])),
        "no cell of a table: {cells:?}"
    );
    page.push_str(&format!("| {} |\n", cells.join(" | ")));
}
