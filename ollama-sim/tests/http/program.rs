//! Starting and ending.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt as _;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::support::{SOON, Sim, ask_whole, eventually, ports, program};

#[tokio::test]
async fn one_line_tells_both_ports_and_sigterm_ends_it_well() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("ports.json");
    let mut process = program(&["--listen", "127.0.0.1:0", "--ports-file"])
        .arg(&file)
        .spawn()
        .unwrap();
    let ports = ports(&file).await;
    kill(
        Pid::from_raw(process.id().try_into().unwrap()),
        Signal::SIGTERM,
    )
    .unwrap();
    let status = eventually(SOON, "its end", async || process.try_wait().unwrap()).await;
    let mut said = String::new();
    process
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    let (listen, control) = (
        ports["listen"].as_str().unwrap(),
        ports["control"].as_str().unwrap(),
    );
    assert_eq!(
        said,
        format!("ollama-sim: SIMULATED Ollama on http://{listen}, control on http://{control}\n")
    );
    assert_eq!((status.code(), status.signal()), (Some(0), None));
    let files: Vec<_> = std::fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(files, ["ports.json"]);
}

#[tokio::test]
async fn started_again_it_takes_the_ports_it_had() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("ports.json");
    let mut told = Vec::new();
    for _ in 0..2 {
        let mut process = program(&["--listen", "127.0.0.1:0", "--ports-file"])
            .arg(&file)
            .spawn()
            .unwrap();
        let mut said = String::new();
        let mut log = BufReader::new(process.stderr.take().unwrap());
        log.read_line(&mut said).unwrap();
        told.push(said);
        process.kill().unwrap();
        process.wait().unwrap();
    }
    assert_eq!(told[0], told[1]);
    assert!(told[0].contains("SIMULATED"), "{}", told[0]);
}

#[tokio::test]
async fn sigint_ends_it_in_the_middle_of_an_answer() {
    let mut sim = Sim::start(&[]).await;
    let waiting = tokio::spawn(sim.chat(&ask_whole("[[sim:latency=1h]]")).send());
    sim.until(SOON, "running", 1).await;
    kill(
        Pid::from_raw(sim.process.id().try_into().unwrap()),
        Signal::SIGINT,
    )
    .unwrap();
    let status = eventually(SOON, "its end", async || sim.process.try_wait().unwrap()).await;
    assert_eq!(status.code(), Some(0));
    assert!(waiting.await.unwrap().is_err());
}

#[test]
fn a_taken_port_is_told_in_one_line() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for args in [
        ["--listen", &address, "--control", "127.0.0.1:0"],
        ["--listen", "127.0.0.1:0", "--control", &address],
    ] {
        let output = program(&args).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(
            said,
            format!(
                "ollama-sim: cannot listen on {address}: Address already in use (os error 98)\n"
            )
        );
        assert_eq!(output.status.code(), Some(3));
    }
}

#[test]
fn a_ports_file_that_cannot_be_written_ends_it() {
    let output = program(&[
        "--listen",
        "127.0.0.1:0",
        "--ports-file",
        "/nowhere/ports.json",
    ])
    .output()
    .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        said,
        "ollama-sim: cannot write the ports file /nowhere/ports.json: No such file or directory (os error 2)\n"
    );
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn settings_come_from_the_environment_too() {
    let output = program(&[])
        .env("OLLAMA_SIM_LATENCY", "soon")
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.starts_with("error: invalid value 'soon' for '--latency <LATENCY>'"),
        "{said}"
    );
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn help_tells_the_directives() {
    let output = program(&["--help"]).output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    for mark in [
        "[[sim:latency=",
        "[[sim:tps=",
        "[[sim:tokens=",
        "[[sim:reply=",
        "[[sim:fail=",
        "[[sim:cut]]",
    ] {
        assert!(help.contains(mark), "{mark}");
    }
}
