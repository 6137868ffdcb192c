//! The pages that are made from data are those of the code, and the data say what `nats.conf` allows.

use std::path::Path;

use swarm_protocol::Code;
use swarm_protocol::subjects::catalog::{self, Party, Travels};
use swarm_tests::reference::{self, User};
use swarm_tests::tools;

#[test]
fn published_pages_are_those_of_the_code() {
    for (file, text) in reference::pages() {
        let published = std::fs::read_to_string(tools::repository().join("docs").join(file));
        assert_eq!(
            published.unwrap_or_default(),
            text,
            "docs/{file} is not up to date: `make docs` writes it"
        );
    }
}

fn user(users: &[User], party: Party) -> Option<&User> {
    let name = party.user()?;
    Some(users.iter().find(|user| user.name == name).expect(name))
}

#[test]
fn every_subject_may_be_sent_and_heard_by_those_it_is_for() {
    let users = reference::users(&reference::nats_conf());
    let allows = |rights: &[String], subject: &str| {
        rights.iter().any(|right| catalog::covers(right, subject))
    };
    for subject in catalog::ALL {
        let wildcard = subject.wildcard();
        for sender in subject.from.iter().filter_map(|party| user(&users, *party)) {
            assert!(
                allows(&sender.publish, &wildcard),
                "{} sends {wildcard}",
                sender.name
            );
        }
        // What is stored is read through a consumer, or by a request to the stream.
        if subject.travels == Travels::Stored {
            continue;
        }
        for listener in subject.to.iter().filter_map(|party| user(&users, *party)) {
            assert!(
                allows(&listener.subscribe, &wildcard),
                "{} hears {wildcard}",
                listener.name
            );
        }
    }
}

#[test]
fn users_are_read_as_the_server_reads_them() {
    let text = r#"
        # Not of a user.
        max_payload: 1MB
        authorization { users: [
          {
            # Who asks.
            # And waits.
            user: a
            password: $A
            permissions: { publish: { allow: ["x.>", "$JS.*"
              # For the one below.
              "y"] }, subscribe: { allow: ["_INBOX.>"] } }
          }
          { user: b, password: $B, permissions: { subscribe: { allow: ["z"] } } }
        ] }
        no_auth_user: a
    "#;
    let words = |words: &[&str]| words.iter().map(ToString::to_string).collect();
    let expected = [
        User {
            name: "a".to_owned(),
            about: "Who asks. And waits.".to_owned(),
            publish: words(&["x.>", "$JS.*", "y"]),
            subscribe: words(&["_INBOX.>"]),
        },
        User {
            name: "b".to_owned(),
            subscribe: words(&["z"]),
            ..User::default()
        },
    ];
    assert_eq!(reference::users(text), expected);
}

#[test]
fn the_recording_is_small_says_that_it_is_simulated_and_needs_no_script() {
    let picture = std::fs::read_to_string(tools::repository().join("docs/recording.svg")).unwrap();
    assert!(picture.len() < 150_000, "{} bytes", picture.len());
    assert!(!picture.contains("<script"));
    for shown in [
        "swarm run ",
        "SIMULATED",
        "swarm runs explain ",
        "answered: ",
    ] {
        assert!(
            picture.contains(shown),
            "{shown} is not shown: `make recording` records it"
        );
    }
    let readme = std::fs::read_to_string(tools::repository().join("README.md")).unwrap();
    assert!(readme.contains("](docs/recording.svg)"));
}

/// A code that nothing sends would be explained for nothing.
#[test]
fn every_code_is_sent_by_something() {
    let mut sources = String::new();
    for crate_name in [
        "protocol",
        "bus",
        "workflow",
        "client",
        "model",
        "agents",
        "coordinator",
        "cli",
    ] {
        read(
            &tools::repository().join(crate_name).join("src"),
            &mut sources,
        );
    }
    for code in Code::ALL {
        let name = format!("Code::{code:?}");
        let sent = sources.split(&name).skip(1);
        // Not the beginning of a longer name.
        let sent = sent.filter(|rest| !rest.starts_with(|c: char| c.is_ascii_alphanumeric()));
        assert!(sent.count() > 0, "nothing sends {}", code.as_str());
    }
}

/// A measure that no test turns off, and one that nothing asks for, may be none.
#[test]
fn every_measure_is_asked_for_once_turned_off_by_a_test_and_explained() {
    let page = std::fs::read_to_string(tools::repository().join("docs/models.md")).unwrap();
    let mut tests = String::new();
    for (crate_name, of_tests) in [
        ("agents", "agent_loop/tests/failures.rs"),
        ("tools", "failures.rs"),
        ("model", "ollama/failures.rs"),
    ] {
        let folder = tools::repository().join(crate_name).join("src");
        let of_tests = std::fs::read_to_string(folder.join(of_tests)).unwrap();
        let mut sources = String::new();
        read(&folder, &mut sources);
        let measures = std::fs::read_to_string(folder.join("measures.rs")).unwrap();
        let measures: Vec<&str> = measures
            .lines()
            .filter_map(|line| line.trim().strip_suffix(','))
            .filter(|name| name.chars().all(|c| c.is_ascii_alphabetic()))
            .collect();
        assert!(!measures.is_empty(), "{crate_name}");
        for name in measures {
            let question = format!("Measure::{name}.is_on()");
            let asked = sources.matches(&question).count();
            assert_eq!(asked, 1, "{crate_name}: {name}");
            let off = of_tests.contains(&format!("Measure::{name}.off("));
            assert!(off, "{crate_name}: no test turns {name} off");
            let explained = page.contains(&format!("`{crate_name}` {name}"));
            assert!(explained, "docs/models.md lacks `{crate_name}` {name}");
        }
        tests.push_str(&of_tests);
    }
    for number in 1..=16 {
        assert!(
            tests.contains(&format!("fn f{number}_")),
            "no test of F{number}"
        );
        assert!(
            page.contains(&format!("| F{number} |")),
            "no row of F{number}"
        );
    }
}

/// Adds the product code below a folder: without its tests.
fn read(folder: &Path, sources: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read(&path, sources);
        } else if path.extension().is_some_and(|kind| kind == "rs") && !path.ends_with("tests.rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            sources.push_str(
                text.split("#[cfg(test)]\nmod tests {")
                    .next()
                    .unwrap_or_default(),
            );
        }
    }
}
