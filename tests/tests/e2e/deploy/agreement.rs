//! What stands in more than one place is the same everywhere: agents, variables, passwords, ports, times.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use swarm_protocol::Span;
use swarm_tests::server::password_variable;
use swarm_tests::tools;
use tempfile::TempDir;

use super::files::{self, Container, ENV};

/// Services and pods.
fn containers() -> Vec<Container> {
    [files::services(), files::pods()].concat()
}

fn roles() -> Vec<Container> {
    let mut roles = containers();
    roles.retain(Container::is_role);
    roles
}

/// The users of `nats.conf`, each with the variable of its password.
fn users() -> Vec<(String, String)> {
    let text = files::text("nats.conf");
    let mut words = text.split_whitespace();
    let mut users = Vec::new();
    while let Some(word) = words.next() {
        match word {
            "user:" => users.push((words.next().unwrap().to_owned(), String::new())),
            "password:" => {
                let variable = words.next().unwrap().strip_prefix('$').unwrap();
                users.last_mut().unwrap().1 = variable.to_owned();
            }
            _ => {}
        }
    }
    users
}

fn password_variables() -> BTreeSet<String> {
    users().into_iter().map(|(_, variable)| variable).collect()
}

fn passwords_of(container: &Container) -> BTreeSet<String> {
    let names = container.environment.keys().cloned();
    names.filter(|name| name.ends_with("_PASSWORD")).collect()
}

#[test]
fn agents_are_those_of_the_configuration() {
    for containers in [files::services(), files::pods()] {
        let workers: Vec<&str> = containers.iter().filter_map(Container::agent).collect();
        let names: BTreeSet<String> = workers.iter().map(ToString::to_string).collect();
        assert_eq!(names, files::agents());
        assert_eq!(workers.len(), names.len(), "each once: {workers:?}");
        for container in &containers {
            if let Some(agent) = container.agent() {
                assert_eq!(container.name.replace('-', "_"), agent);
            }
        }
        let coordinators: Vec<u64> = containers
            .iter()
            .filter(|container| container.is_role() && container.agent().is_none())
            .map(|container| container.replicas)
            .collect();
        assert_eq!(coordinators, [2]);
    }
}

#[test]
fn models_that_are_pulled_are_those_of_the_configuration() {
    let services = files::services();
    let pull = services.iter().find(|service| service.name == "models");
    let [script] = &pull.expect("a service `models`").arguments[..] else {
        panic!("one script");
    };
    let listed = script
        .split_once(" in ")
        .and_then(|(_, rest)| rest.split_once(';'));
    let pulled: BTreeSet<&str> = listed.unwrap().0.split_whitespace().collect();
    let configuration = files::yaml("swarm.yaml");
    let wanted: BTreeSet<&str> = files::members(&configuration["agents"])
        .map(|(_, agent)| agent["model"].as_str().unwrap())
        .collect();
    assert_eq!(pulled, wanted);
}

#[test]
fn who_serves_gets_all_passwords_and_a_role_its_own() {
    for (user, variable) in users() {
        assert_eq!(variable, password_variable(&user).0);
    }
    let mut servers = 0;
    for container in containers() {
        let expected = match container.name.as_str() {
            "nats" => {
                servers += 1;
                password_variables()
            }
            "coordinator" => ["SWARM_COORDINATOR_PASSWORD".to_owned()].into(),
            _ if container.agent().is_some() => ["SWARM_AGENT_PASSWORD".to_owned()].into(),
            _ => BTreeSet::new(),
        };
        assert_eq!(passwords_of(&container), expected, "{}", container.name);
    }
    assert_eq!(servers, 2);
}

#[test]
fn secrets_are_made_and_kept_out_of_git() {
    let mut secrets = password_variables();
    secrets.insert("SWARM_HEALTH_TOKEN".to_owned());
    let made: BTreeSet<String> = ENV.keys().cloned().collect();
    let mut expected = secrets.clone();
    expected.insert("COMPOSE_PROFILES".to_owned());
    assert_eq!(made, expected);
    let values: BTreeSet<&String> = secrets.iter().map(|name| &ENV[name]).collect();
    assert_eq!(values.len(), secrets.len(), "each its own");
    for value in values {
        // As a number it would be another password for the server.
        assert!(value.starts_with(|first: char| first.is_ascii_alphabetic()));
        assert_eq!(value.len(), 33);
    }
    let template = files::yaml("deploy/k8s/secret.yaml");
    let keys: BTreeSet<String> = files::members(&template["stringData"])
        .map(|(name, value)| {
            assert_eq!(value, "", "{name} has a value in git");
            name.clone()
        })
        .collect();
    assert_eq!(keys, secrets);
    for file in [".gitignore", ".dockerignore"] {
        let text = files::text(file);
        let named = text
            .lines()
            .any(|line| line.trim_start_matches('/') == ".env");
        assert!(named, "{file}");
    }
}

#[test]
fn every_variable_means_something() {
    let mut known = password_variables();
    known.extend(["SWARM_HEALTH".to_owned(), "SWARM_HEALTH_TOKEN".to_owned()]);
    let used: BTreeSet<String> = containers()
        .iter()
        .flat_map(|container| container.environment.keys().cloned())
        .chain(super::images::variables())
        .filter(|name| name.starts_with("SWARM_"))
        .collect();
    let settings: BTreeSet<&String> = used.difference(&known).collect();
    assert!(settings.contains(&"SWARM_OLLAMA_HOSTS".to_owned()));
    for name in settings {
        assert!(is_a_setting(name), "{name} changes nothing");
    }
    assert!(!is_a_setting("SWARM_OLAMA_HOSTS"));
}

/// Whether the program reads it: it refuses what no setting can be.
fn is_a_setting(name: &str) -> bool {
    let folder = TempDir::new().unwrap();
    let output = Command::new(tools::built("swarm"))
        .args(["agents", "list", "--nats", "nats://127.0.0.1:1"])
        .current_dir(folder.path())
        .env_clear()
        .env(name, "{nothing = 1}")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    match output.status.code() {
        Some(2) => {
            assert!(said.contains(name), "{said}");
            assert!(!said.contains("unknown field"), "{said}");
            true
        }
        code => {
            assert_eq!(code, Some(3), "{said}");
            false
        }
    }
}

#[test]
fn the_server_is_where_everybody_looks_for_it() {
    let configuration = files::text("nats.conf");
    assert!(configuration.contains("listen: \"127.0.0.1:4222\""));
    for role in roles() {
        assert_eq!(role.environment["NATS_URL"], "nats://nats:4222");
    }
    let compose = files::compose();
    assert_eq!(
        files::strings(&compose["services"]["nats"]["ports"]),
        ["127.0.0.1:4222:4222"]
    );

    let manifests = files::manifests();
    let of_kind = |kind: &str, name: &str| {
        let found = manifests
            .iter()
            .find(|manifest| manifest["kind"] == kind && manifest["metadata"]["name"] == name);
        found.unwrap_or_else(|| panic!("{kind} {name}")).clone()
    };
    let service = of_kind("Service", "nats");
    let pod = of_kind("StatefulSet", "nats");
    let container = &pod["spec"]["template"]["spec"]["containers"][0];
    for (name, number) in [("client", 4222), ("monitor", 8222)] {
        let named = |port: &&Value| port["name"] == name;
        let offered = files::list(&service["spec"]["ports"]).iter().find(named);
        let open = files::list(&container["ports"]).iter().find(named);
        assert_eq!(offered.unwrap()["port"], number);
        assert_eq!(offered.unwrap()["targetPort"], name);
        assert_eq!(open.unwrap()["containerPort"], number);
    }
    let labels = &pod["spec"]["template"]["metadata"]["labels"];
    let policy = of_kind("NetworkPolicy", "nats");
    for selector in [
        &service["spec"]["selector"],
        &policy["spec"]["podSelector"]["matchLabels"],
    ] {
        assert_eq!(
            selector["app.kubernetes.io/name"],
            labels["app.kubernetes.io/name"]
        );
    }
    let [from_here, from_keda] = files::list(&policy["spec"]["ingress"]) else {
        panic!("two rules in {policy}");
    };
    assert_eq!(from_here["from"], serde_json::json!([{"podSelector": {}}]));
    assert_eq!(from_here["ports"][0]["port"], 4222);
    assert_eq!(
        from_keda["ports"],
        serde_json::json!([{"protocol": "TCP", "port": 8222}])
    );
    for scaled in files::documents("deploy/k8s/keda.yaml") {
        let metadata = &scaled["spec"]["triggers"][0]["metadata"];
        let endpoint = &metadata["natsServerMonitoringEndpoint"];
        assert_eq!(endpoint, "nats.swarm.svc.cluster.local:8222");
        let target = files::string(&scaled["spec"]["scaleTargetRef"]["name"]);
        let arguments =
            &of_kind("Deployment", &target)["spec"]["template"]["spec"]["containers"][0]["args"];
        assert_eq!(arguments[1], metadata["consumer"]);
    }
}

#[test]
fn models_are_where_the_agents_look_for_them() {
    let compose = files::compose();
    let aliases = &compose["services"]["simulator"]["networks"]["default"]["aliases"];
    assert_eq!(files::strings(aliases), ["ollama"]);
    for role in roles().iter().filter(|role| role.agent().is_some()) {
        assert_eq!(
            role.environment["SWARM_OLLAMA_HOSTS"],
            "[\"http://ollama:11434\"]"
        );
    }
    let profile = |service: &str| files::strings(&compose["services"][service]["profiles"]);
    assert_eq!(profile("simulator"), ["simulate"]);
    assert_eq!(profile("ollama"), [ENV["COMPOSE_PROFILES"].clone()]);
    assert_eq!(profile("models"), profile("ollama"));
    for role in roles() {
        for (service, how) in files::members(&role.spec["depends_on"]) {
            let always = profile(service).is_empty();
            assert_eq!(
                how["required"] != false,
                always,
                "{} on {service}",
                role.name
            );
        }
    }
    let services = files::manifests();
    let named = services
        .iter()
        .any(|manifest| manifest["kind"] == "Service" && manifest["metadata"]["name"] == "ollama");
    assert!(named);
}

#[test]
fn nothing_is_open_to_other_machines_and_roles_can_be_many() {
    for service in files::services() {
        for port in files::strings(&service.spec["ports"]) {
            assert!(port.starts_with("127.0.0.1:"), "{}: {port}", service.name);
            assert!(!service.is_role(), "{} has a fixed port", service.name);
        }
        assert!(service.spec["container_name"].is_null(), "{}", service.name);
    }
    for manifest in files::manifests() {
        let kind = &manifest["spec"]["type"];
        assert!(kind != "NodePort" && kind != "LoadBalancer", "{manifest}");
    }
}

#[test]
fn health_is_on_one_port() {
    for role in roles() {
        assert_eq!(
            role.environment["SWARM_HEALTH"], "0.0.0.0:8081",
            "{}",
            role.name
        );
    }
    for pod in files::pods().iter().filter(|pod| pod.is_role()) {
        let container = &pod.spec["spec"]["template"]["spec"]["containers"][0];
        let ports = serde_json::json!([{"name": "health", "containerPort": 8081}]);
        assert_eq!(container["ports"], ports, "{}", pod.name);
    }
    let check = super::images::health_check();
    assert_eq!(check.last().unwrap(), "127.0.0.1:8081");
}

#[test]
fn a_stop_leaves_time_for_the_drain() {
    let documentation = files::text("docs/configuration.md");
    let row = documentation
        .lines()
        .find(|line| line.starts_with("| `runs.drain` |"));
    let default = row.and_then(|row| row.split('`').nth(3)).unwrap();
    let drain: Span = default.parse().unwrap();
    assert!(files::yaml("swarm.yaml")["runs"]["drain"].is_null());
    for role in roles() {
        let grace = role.grace.expect("a time to stop").0;
        assert!(grace >= drain.0 + Duration::from_secs(10), "{}", role.name);
    }
}

#[test]
fn containers_may_do_as_little_as_can_be() {
    for service in files::services() {
        if service.is_role() || service.name == "nats" || service.name == "simulator" {
            assert_eq!(service.spec["read_only"], true, "{}", service.name);
            assert_eq!(
                files::strings(&service.spec["cap_drop"]),
                ["ALL"],
                "{}",
                service.name
            );
        }
    }
    for pod in files::pods() {
        let spec = &pod.spec["spec"]["template"]["spec"];
        let (pod_may, container_may) = (
            &spec["securityContext"],
            &spec["containers"][0]["securityContext"],
        );
        assert_eq!(pod_may["runAsNonRoot"], true, "{}", pod.name);
        assert_eq!(
            container_may["readOnlyRootFilesystem"], true,
            "{}",
            pod.name
        );
        assert_eq!(
            container_may["allowPrivilegeEscalation"], false,
            "{}",
            pod.name
        );
        assert_eq!(
            files::strings(&container_may["capabilities"]["drop"]),
            ["ALL"]
        );
        if pod.is_role() {
            let user = super::images::user();
            assert_eq!(pod_may["runAsUser"].as_u64(), Some(user), "{}", pod.name);
        }
    }
}

#[test]
fn everything_that_is_referred_to_is_there() {
    let kustomization = files::yaml("kustomization.yaml");
    let resources: BTreeSet<String> = files::strings(&kustomization["resources"])
        .into_iter()
        .collect();
    let mut manifests: BTreeSet<String> = files::with_ending(&[".yaml"])
        .into_iter()
        .filter(|path| path.starts_with("deploy/k8s/"))
        .collect();
    // Applied by hand: one needs KEDA, the other one has no values.
    assert!(manifests.remove("deploy/k8s/keda.yaml"));
    assert!(manifests.remove("deploy/k8s/secret.yaml"));
    assert_eq!(resources, manifests);

    let mut maps = BTreeSet::new();
    for map in files::list(&kustomization["configMapGenerator"]) {
        for file in files::strings(&map["files"]) {
            assert!(tools::repository().join(&file).is_file(), "{file}");
            maps.insert((files::string(&map["name"]), file));
        }
    }
    for pod in files::pods() {
        let spec = &pod.spec["spec"]["template"]["spec"];
        let mount = &spec["containers"][0]["volumeMounts"][0];
        assert_eq!(mount["name"], spec["volumes"][0]["name"], "{}", pod.name);
        let map = files::string(&spec["volumes"][0]["configMap"]["name"]);
        let (file, folder) = if pod.is_role() {
            ("swarm.yaml", "/etc/swarm")
        } else {
            ("nats.conf", "/etc/nats")
        };
        assert!(maps.contains(&(map, file.to_owned())), "{}", pod.name);
        assert_eq!(mount["mountPath"], folder, "{}", pod.name);
    }
    for service in files::services() {
        for volume in files::strings(&service.spec["volumes"]) {
            if let Some(path) = volume.strip_prefix("./") {
                let path = path.split(':').next().unwrap();
                assert!(tools::repository().join(path).exists(), "{volume}");
            }
        }
        if service.is_role() {
            let mounted = files::strings(&service.spec["volumes"]);
            assert_eq!(mounted, ["./swarm.yaml:/etc/swarm/swarm.yaml:ro"]);
        }
    }
}
