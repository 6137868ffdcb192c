//! Faults of the connection: how bytes come, and how it ends.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use crate::support::{SOON, Sim, ask, ask_whole, lines};

const UMLAUTS: &str = "[[sim:reply=süß €5]]";

/// All pieces of a stream, and whether it ended well.
async fn pieces(sim: &Sim, user: &str) -> (Vec<Vec<u8>>, bool) {
    let mut response = sim.chat(&ask(user)).send().await.unwrap();
    let mut pieces = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(bytes)) => pieces.push(bytes.to_vec()),
            Ok(None) => return (pieces, true),
            Err(_) => return (pieces, false),
        }
    }
}

#[tokio::test]
async fn bytes_come_in_odd_pieces() {
    let sim = Sim::start(&[]).await;
    let (whole, _) = pieces(&sim, UMLAUTS).await;
    assert_eq!(whole.len(), 1);
    for fault in ["split_bytes", "split_utf8", "drip"] {
        let (parts, well) = pieces(&sim, &format!("{UMLAUTS}[[sim:fault={fault}]]")).await;
        assert!(well && parts.len() > 3, "{fault}: {}", parts.len());
        let broken = parts
            .iter()
            .any(|part| String::from_utf8(part.clone()).is_err());
        assert_eq!(broken, fault != "drip", "{fault}");
        let told = lines(&String::from_utf8(parts.concat()).unwrap());
        let text: String = told
            .iter()
            .map(|line| line["message"]["content"].as_str().unwrap())
            .collect();
        assert_eq!(text, "[SIMULATED llama3.2:1b] süß €5");
    }
}

#[tokio::test]
async fn all_lines_at_once_whatever_the_pace() {
    let sim = Sim::start(&["--tokens-per-second", "0.001"]).await;
    let (parts, _) = pieces(&sim, "[[sim:reply=a b]][[sim:fault=coalesce]]").await;
    assert_eq!(parts.len(), 1);
}

#[tokio::test]
async fn a_line_that_is_no_json() {
    let sim = Sim::start(&[]).await;
    let (parts, _) = pieces(&sim, "[[sim:fault=bad_line]]").await;
    let text = String::from_utf8(parts.concat()).unwrap();
    let bad = text.lines().filter(|line| !line.starts_with('{'));
    assert_eq!(bad.count(), 1);
    assert!(text.lines().last().unwrap().contains("\"done\":true"));
}

#[tokio::test]
async fn cut_and_reset_end_the_connection() {
    let sim = Sim::start(&[]).await;
    for fault in ["cut", "cut:0", "reset"] {
        let (parts, well) = pieces(&sim, &format!("{fault} [[sim:fault={fault}]]")).await;
        assert!(!well, "{fault}: {parts:?}");
        sim.logged(fault, "failed").await;
    }
    let body = ask_whole("x [[sim:fault=reset]]");
    let response = sim.chat(&body).send().await;
    let failed = match response {
        Ok(response) => response.bytes().await.is_err(),
        Err(_) => true,
    };
    assert!(failed);
}

/// The error of the first read or write that fails on a connection on which this is asked.
fn end_of(sim: &Sim, user: &str) -> Option<std::io::ErrorKind> {
    let mut stream = TcpStream::connect(sim.api.trim_start_matches("http://")).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let body = ask(user).to_string();
    let request = format!(
        "POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    stream
        .read_to_end(&mut Vec::new())
        .err()
        .map(|error| error.kind())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_is_one_and_a_cut_is_none() {
    let sim = Sim::start(&[]).await;
    assert_eq!(
        end_of(&sim, "[[sim:fault=reset]]"),
        Some(std::io::ErrorKind::ConnectionReset)
    );
    assert_eq!(end_of(&sim, "[[sim:fault=cut]]"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_ends_after_its_answer_without_a_word() {
    let sim = Sim::start(&[]).await;
    // Without the fault this would wait for the next request on the connection.
    assert_eq!(end_of(&sim, "[[sim:fault=close_idle]]"), None);
}

#[tokio::test]
async fn a_stall_and_a_hang_last_until_the_client_goes() {
    let sim = Sim::start(&[]).await;
    let mut response = sim
        .chat(&ask("a [[sim:fault=stall:1]]"))
        .send()
        .await
        .unwrap();
    let first = response.chunk().await.unwrap().unwrap();
    assert_eq!(lines(str::from_utf8(&first).unwrap()).len(), 1);
    let more = tokio::time::timeout(Duration::from_millis(100), response.chunk()).await;
    assert!(more.is_err(), "{more:?}");
    drop(response);
    sim.logged("a", "disconnected").await;
    let hang = tokio::spawn(sim.chat(&ask("b [[sim:fault=hang]]")).send());
    sim.logged("b", "running").await;
    let more =
        tokio::time::timeout(Duration::from_millis(100), sim.until(SOON, "running", 0)).await;
    assert!(more.is_err(), "it was answered");
    hang.abort();
    sim.logged("b", "disconnected").await;
}
