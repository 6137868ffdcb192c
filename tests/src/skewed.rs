//! A NATS server whose clock differs from this machine's: a way to a real one on which the time in the server's own answers
//! is moved. Nothing else about them changes, not even their length.

use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// What stands before the server's time in answers about streams.
const MARK: &str = "\"ts\":\"";

/// Characters of a time to the second: `2026-01-31T12:00:00`.
const SECONDS: usize = 19;

/// Opens a way to the server at `url`, on which its clock is ahead by so many seconds, or behind. The way's URL.
pub async fn skewed(url: &str, ahead_s: i64) -> String {
    let server = url.strip_prefix("nats://").unwrap().to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let Ok(server) = TcpStream::connect(&server).await else {
                continue;
            };
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            tokio::spawn(pass(from_client, to_server, 0));
            tokio::spawn(pass(from_server, to_client, ahead_s));
        }
    });
    format!("nats://{address}")
}

/// Passes lines on: answers are JSON in one line.
async fn pass(from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, ahead_s: i64) {
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    while matches!(from.read_until(b'\n', &mut line).await, Ok(1..)) {
        if ahead_s != 0 {
            line = moved(line, ahead_s);
        }
        if to.write_all(&line).await.is_err() {
            return;
        }
        line.clear();
    }
}

fn moved(line: Vec<u8>, ahead_s: i64) -> Vec<u8> {
    let text = match String::from_utf8(line) {
        Ok(text) => text,
        Err(binary) => return binary.into_bytes(),
    };
    let Some((head, tail)) = text.split_once(MARK) else {
        return text.into_bytes();
    };
    let (seconds, rest) = tail.split_at(SECONDS);
    let time: swarm_protocol::Timestamp = serde_json::from_value(format!("{seconds}Z").into())
        .unwrap_or_else(|error| panic!("{seconds}: {error}"));
    let span = Duration::from_secs(ahead_s.unsigned_abs());
    let time = if ahead_s > 0 {
        time.after(span)
    } else {
        swarm_protocol::Timestamp::from_millis(
            time.as_millis() - i64::try_from(span.as_millis()).unwrap(),
        )
    };
    let moved = &time.to_string()[..SECONDS];
    format!("{head}{MARK}{moved}{rest}").into_bytes()
}
