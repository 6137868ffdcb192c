//! What bad surroundings get: one line that says what is wrong and how it is mended, and exit code 2 or 3.

use std::os::unix::fs::symlink;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use swarm_tests::home::Home;
use swarm_tests::nats_cli::Printed;
use swarm_tests::server::{USERS, password_variable};
use swarm_tests::skewed::skewed;
use swarm_tests::{Process, Server};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

const PATIENCE: Duration = Duration::from_secs(20);

/// The one line that says what is wrong, without its `swarm: `; nothing may stand after it, and no other may complain.
fn only_line(printed: &Printed) -> &str {
    let complains = |line: &&str| {
        // That models are simulated is always said.
        let warns = line.contains(" WARN ") && !line.to_lowercase().contains("simulat");
        line.starts_with("swarm: ") || warns || line.contains(" ERROR ")
    };
    let lines: Vec<&str> = printed.err.lines().filter(complains).collect();
    let [line] = lines[..] else {
        panic!("not one line: {printed:?}");
    };
    assert_eq!(printed.err.lines().last(), Some(line), "{printed:?}");
    assert!(printed.out.is_empty(), "{printed:?}");
    line.strip_prefix("swarm: ").expect("an error")
}

/// Checks that a command ends with this code and one line that holds these words.
async fn refuses(home: &Home, arguments: &[&str], code: i32, words: &[&str]) {
    let (printed, ended) = home.swarm(arguments).await;
    assert_eq!(ended, code, "{arguments:?} {printed:?}");
    let line = only_line(&printed);
    for word in words {
        assert!(
            line.contains(word),
            "{arguments:?}: no `{word}` in `{line}`"
        );
    }
}

/// A home that knows the passwords of a server which others started.
fn beside(server: &Server) -> Home {
    beside_url(&server.url())
}

fn beside_url(url: &str) -> Home {
    let mut home = Home::at(url);
    for user in USERS {
        let (variable, password) = password_variable(user);
        home.set(&variable, &password);
    }
    home
}

#[tokio::test]
async fn a_second_stack_in_the_same_place_is_told_who_has_it() {
    let home = Home::default();
    home.up(&[]).await;
    let status = home.swarm_json(&["status"]).await;
    let holder = format!("process {}", status["up"]["pid"]);
    for more in [&["up", "--simulate"][..], &["up", "--simulate", "--detach"]] {
        refuses(&home, more, 2, &[&holder, "data directory"]).await;
    }
    // As a document, it is that alone.
    let json = ["up", "--simulate", "--detach", "--output", "json"];
    let (printed, _) = home.swarm(&json).await;
    let said: Value = serde_json::from_str(&printed.err).unwrap();
    assert!(
        said["error"]["message"].as_str().unwrap().contains(&holder),
        "{said}"
    );
}

#[tokio::test]
async fn a_port_that_something_else_has_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            stream.write_all(b"220 mail ready\r\n").await.unwrap();
        }
    });
    let home = Home::at(&format!("nats://{address}"));
    let listens = format!("{address} is no NATS server");
    refuses(&home, &["up", "--simulate"], 3, &[&listens, "--nats"]).await;
    let (printed, code) = home
        .swarm(&["up", "--simulate", "--detach", "--output", "json"])
        .await;
    let said: Value = serde_json::from_str(&printed.err).expect(&printed.err);
    assert!(
        said["error"]["message"]
            .as_str()
            .unwrap()
            .contains(&listens),
        "{said}"
    );
    assert_eq!(code, 3);

    let taken = format!("--health={address}");
    refuses(
        &home,
        &["coordinator", &taken],
        2,
        &["cannot be listened on", &taken[9..]],
    )
    .await;
}

#[tokio::test]
async fn a_data_directory_that_cannot_be_written_is_named() {
    let mut home = Home::default();
    let file = home.folder().join("file");
    std::fs::write(&file, "").unwrap();
    // Nobody can make a folder in a file, whatever his rights are.
    let path = file.join("data").display().to_string();
    home.set("SWARM_DATA_DIR", &path);
    for command in [&["up", "--simulate"][..], &["up", "--simulate", "--detach"]] {
        let words = [&path, "cannot be used", "SWARM_DATA_DIR"];
        refuses(&home, command, 2, &words).await;
    }

    let mut home = Home::default();
    let taken = home.folder().join("taken");
    std::fs::create_dir_all(taken.join("up.pid")).unwrap();
    home.set("SWARM_DATA_DIR", &taken.display().to_string());
    let words = ["cannot be used", "SWARM_DATA_DIR"];
    refuses(&home, &["up", "--simulate"], 2, &words).await;
}

#[tokio::test]
async fn a_data_directory_without_room_is_named() {
    // What is written there meets the kernel's own "no space left on device".
    for file in ["credentials.env", "nats.conf"] {
        let home = Home::default();
        std::fs::create_dir_all(home.data()).unwrap();
        symlink("/dev/full", home.data().join(file)).unwrap();
        let place = home.data().display().to_string();
        let words = [&place, "No space left on device", "SWARM_DATA_DIR"];
        refuses(&home, &["up", "--simulate"], 2, &words).await;
        assert_eq!(home.processes(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_server_that_is_there_is_used_when_the_logins_fit() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(folder.path()).await;
    let mut home = beside(&server);
    home.up(&[]).await;
    let status = home.swarm_json(&["status"]).await;
    let names: Vec<&Value> = status["up"]["children"]
        .as_array()
        .unwrap()
        .iter()
        .map(|child| &child["name"])
        .collect();
    assert!(!names.contains(&&json!("nats-server")), "{status}");
    let (printed, code) = home.swarm(&["down"]).await;
    assert_eq!(code, 0, "{printed:?}");
    server.bus(swarm_bus::Role::Client).await;

    for (user, variable) in [
        ("agent", "SWARM_AGENT_PASSWORD"),
        ("coordinator", "SWARM_COORDINATOR_PASSWORD"),
    ] {
        home.set(variable, "wrong");
        let words = [format!("login of user `{user}`"), variable.to_owned()];
        let words = words.each_ref().map(String::as_str);
        refuses(&home, &["up", "--simulate"], 3, &words).await;
    }
    assert_eq!(home.processes(), Vec::<String>::new());
}

#[tokio::test]
async fn a_server_without_jetstream_is_refused() {
    let folder = TempDir::new().unwrap();
    let without = |text: &str| {
        let (head, tail) = text.split_once("jetstream {").unwrap();
        format!("{head}{}", tail.split_once('}').unwrap().1)
    };
    let server = Server::start_changed(folder.path(), without).await;
    let home = beside(&server);
    for command in [
        &["coordinator"][..],
        &["agent", "research_agent"],
        &["up", "--simulate"],
    ] {
        refuses(&home, command, 3, &["without JetStream", "nats.conf"]).await;
    }
}

#[tokio::test]
async fn a_server_without_room_is_refused() {
    let folder = TempDir::new().unwrap();
    let small = |text: &str| text.replace("max_file_store: 10GB", "max_file_store: 3GB");
    let server = Server::start_changed(folder.path(), small).await;
    let home = beside(&server);
    for command in [&["coordinator"][..], &["up", "--simulate"]] {
        refuses(
            &home,
            command,
            2,
            &["no room for the stream", "max_file_store"],
        )
        .await;
    }
}

#[tokio::test]
async fn a_stream_of_somebody_else_with_our_name_is_left_alone() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(folder.path()).await;
    let foreign = json!({ "name": "SWARM_WORK", "subjects": ["bees.>"], "storage": "file" });
    let create = "$JS.API.STREAM.CREATE.SWARM_WORK";
    let client = server.connect_as("coordinator").await;
    client
        .request(create, foreign.to_string().into())
        .await
        .unwrap();
    let home = beside(&server);
    for command in [&["coordinator"][..], &["up", "--simulate"]] {
        let words = ["SWARM_WORK", "bees.>", "nats stream rm SWARM_WORK"];
        refuses(&home, command, 2, &words).await;
    }
    let info = client
        .request("$JS.API.STREAM.INFO.SWARM_WORK", "".into())
        .await
        .unwrap();
    let info: Value = serde_json::from_slice(&info.payload).unwrap();
    assert_eq!(info["config"]["subjects"], json!(["bees.>"]));
}

#[tokio::test]
async fn a_clock_that_is_ten_minutes_off_is_refused_and_a_little_off_is_said() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(folder.path()).await;
    for (ahead_s, how) in [
        (600, "s behind the NATS server's"),
        (-600, "s ahead of the NATS server's"),
    ] {
        let home = beside_url(&skewed(&server.url(), ahead_s).await);
        for command in [&["coordinator"][..], &["up", "--simulate"]] {
            refuses(
                &home,
                command,
                2,
                &["this machine's clock", how, "timedatectl"],
            )
            .await;
        }
        let said = home.swarm_json(&["doctor"]).await;
        let clock = finding(&said, "clock");
        assert_eq!(clock["level"], "problem", "{said}");
        assert!(clock["message"].as_str().unwrap().contains(how), "{clock}");
        assert!(
            clock["mend"].as_str().unwrap().contains("timedatectl"),
            "{clock}"
        );
    }
    let home = beside_url(&skewed(&server.url(), 20).await);
    let mut coordinator = Process::start(
        "coordinator",
        home.swarm_command(&["coordinator"]),
        home.folder(),
    );
    coordinator.says("the coordinator is ready", PATIENCE).await;
    let log = coordinator.log();
    let line = log.lines().find(|line| line.contains(" WARN ")).unwrap();
    assert!(line.contains("s behind the NATS server's"), "{log}");
    coordinator.kill_9();
}

fn finding<'a>(said: &'a Value, check: &str) -> &'a Value {
    let findings = said["findings"].as_array().unwrap();
    let found = findings.iter().find(|finding| finding["check"] == check);
    found.unwrap_or_else(|| panic!("no {check} in {said}"))
}

#[tokio::test]
async fn nothing_is_opened_to_other_machines_without_a_login() {
    let home = Home::at("nats://0.0.0.0:1");
    refuses(
        &home,
        &["up", "--simulate"],
        3,
        &["127.0.0.1 only", "no_auth_user"],
    )
    .await;
    let home = Home::default();
    let control = ["up", "--simulate", "--simulate-control", "0.0.0.0:0"];
    refuses(
        &home,
        &control,
        2,
        &["--simulate-control", "open to other machines"],
    )
    .await;
    let health = ["agent", "research_agent", "--health", "0.0.0.0:0"];
    refuses(
        &home,
        &health,
        2,
        &["open to other machines", "SWARM_HEALTH_TOKEN"],
    )
    .await;
}

#[tokio::test]
async fn errors_are_documents_when_that_is_asked_for() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(folder.path()).await;
    let nobody = Home::at("nats://127.0.0.1:9");
    let no_coordinator = beside(&server);
    let run = "0b7e1e0c-3f5b-5e9a-8c49-0d5a6f7b8c9d";
    let everywhere: [(&[&str], i32); 8] = [
        (&["runs", "list"], 3),
        (&["runs", "show", run], 3),
        (&["runs", "watch", run], 3),
        (&["runs", "explain", run], 3),
        (&["runs", "cancel", run], 3),
        (&["runs", "delete", run], 3),
        (&["agents", "list"], 3),
        (&["status"], 3),
    ];
    let nowhere: [(&[&str], i32); 8] = [
        (&["run", "t"], 3),
        (&["healthcheck", "127.0.0.1:9"], 1),
        (&["runs", "list", "--state", "lost"], 2),
        (&["runs", "list", "--context", "none"], 2),
        (&["agent", "reserch_agent"], 2),
        (&["frobnicate"], 2),
        (&["up", "--detach", "--run", "t"], 2),
        (&["coordinator", "--creds", "none"], 2),
    ];
    let cases = everywhere.iter().map(|case| (&no_coordinator, case));
    let cases = cases.chain(everywhere.iter().map(|case| (&nobody, case)));
    let cases = cases.chain(nowhere.iter().map(|case| (&nobody, case)));
    // Together: each waits for an answer that does not come.
    join_all(cases.map(|(home, (arguments, code))| says_in_a_document(home, arguments, *code)))
        .await;
}

async fn says_in_a_document(home: &Home, arguments: &[&str], code: i32) {
    let (printed, ended) = home
        .swarm(&[arguments, &["--output", "json"]].concat())
        .await;
    assert_eq!(ended, code, "{arguments:?} {printed:?}");
    let said: Value = serde_json::from_str(&printed.err)
        .unwrap_or_else(|error| panic!("{arguments:?}: {error}: {printed:?}"));
    let error = &said["error"];
    assert!(
        error["code"].as_str().unwrap().starts_with("SW-"),
        "{arguments:?} {said}"
    );
    assert!(
        !error["message"].as_str().unwrap().is_empty(),
        "{arguments:?} {said}"
    );
    assert!(error["retryable"].is_boolean(), "{arguments:?} {said}");
}
