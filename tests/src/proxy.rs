//! A way to a server that can be cut, held, slowed down, and held at a given word.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What happens to bytes of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// They pass.
    Open,
    /// They are kept until the way is open again; the connection stays.
    Held,
    /// Each piece is late by this long, and one of ten by five times as long, as if it was lost and sent again.
    Slow(Duration),
}

/// One of the two directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the server.
    ToServer,
    /// From the server to the client.
    ToClient,
}

/// A place in what the client says at which the connection is held.
#[derive(Debug, Clone, Copy)]
pub struct Trap {
    /// The client says this.
    pub word: &'static str,
    /// So many times before it counts.
    pub after: usize,
    /// What is held from then on: the word itself and what follows, or what the server answers to it.
    pub hold: Direction,
}

/// A way to a server.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    to_server: watch::Sender<Way>,
    to_client: watch::Sender<Way>,
    /// Whether there may be connections.
    allowed: watch::Sender<bool>,
    trap: Mutex<Option<Armed>>,
    trapped: watch::Sender<bool>,
}

#[derive(Debug)]
struct Armed {
    trap: Trap,
    seen: usize,
}

impl Proxy {
    /// Opens a way to the server at `url`.
    pub async fn open(url: &str) -> Self {
        let server = url.strip_prefix("nats://").unwrap_or(url).to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            to_server: watch::Sender::new(Way::Open),
            to_client: watch::Sender::new(Way::Open),
            allowed: watch::Sender::new(true),
            trap: Mutex::default(),
            trapped: watch::Sender::new(false),
        });
        tokio::spawn(accept(listener, server, Arc::clone(&state)));
        Self { address, state }
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    /// Decides what happens to one direction from now on, of open connections too.
    pub fn set(&self, direction: Direction, way: Way) {
        self.state.way(direction).send_replace(way);
    }

    /// Decides it for both.
    pub fn set_both(&self, way: Way) {
        self.set(Direction::ToServer, way);
        self.set(Direction::ToClient, way);
    }

    /// Closes all connections, and refuses new ones.
    pub fn cut(&self) {
        self.state.allowed.send_replace(false);
    }

    /// Takes connections again, and passes everything on.
    pub fn mend(&self) {
        self.set_both(Way::Open);
        self.state.allowed.send_replace(true);
    }

    /// Sets a trap.
    pub fn trap(&self, trap: Trap) {
        self.state.trapped.send_replace(false);
        *self.state.armed() = Some(Armed { trap, seen: 0 });
    }

    /// Waits until the client has said the word of the trap.
    pub async fn trapped(&self, patience: Duration) {
        let mut trapped = self.state.trapped.subscribe();
        let waiting = trapped.wait_for(|trapped| *trapped);
        let found = tokio::time::timeout(patience, waiting).await;
        assert!(found.is_ok(), "the trap was not met within {patience:?}");
    }
}

impl State {
    fn way(&self, direction: Direction) -> &watch::Sender<Way> {
        match direction {
            Direction::ToServer => &self.to_server,
            Direction::ToClient => &self.to_client,
        }
    }

    fn armed(&self) -> std::sync::MutexGuard<'_, Option<Armed>> {
        self.trap.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How much of these bytes may pass now: all before a word that holds, and before a part of one at their end.
    fn look(&self, bytes: &[u8]) -> usize {
        let mut armed = self.armed();
        let Some(Armed { trap, seen }) = armed.as_mut() else {
            return bytes.len();
        };
        let word = trap.word.as_bytes();
        let mut from = 0;
        while let Some(at) = find(&bytes[from..], word) {
            let at = from + at;
            if *seen < trap.after {
                *seen += 1;
                from = at + word.len();
                continue;
            }
            let hold = trap.hold;
            *armed = None;
            self.way(hold).send_replace(Way::Held);
            self.trapped.send_replace(true);
            return match hold {
                Direction::ToServer => at,
                Direction::ToClient => bytes.len(),
            };
        }
        let rest = &bytes[from..];
        let longest = word.len().saturating_sub(1).min(rest.len());
        let part = (1..=longest)
            .rev()
            .find(|part| rest.ends_with(&word[..*part]));
        bytes.len() - part.unwrap_or(0)
    }
}

fn find(bytes: &[u8], word: &[u8]) -> Option<usize> {
    bytes.windows(word.len()).position(|window| window == word)
}

async fn accept(listener: TcpListener, server: String, state: Arc<State>) {
    while let Ok((client, _)) = listener.accept().await {
        if !*state.allowed.borrow() {
            continue;
        }
        let Ok(server) = TcpStream::connect(&server).await else {
            continue;
        };
        client.set_nodelay(true).unwrap_or_default();
        server.set_nodelay(true).unwrap_or_default();
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        let mut allowed = state.allowed.subscribe();
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            let up = pass(&state, Direction::ToServer, from_client, to_server);
            let down = pass(&state, Direction::ToClient, from_server, to_client);
            let cut = allowed.wait_for(|allowed| !allowed);
            // Whoever ends first takes the other half with it.
            tokio::select! {
                () = up => {}
                () = down => {}
                _ = cut => {}
            }
        });
    }
}

async fn pass(
    state: &State,
    direction: Direction,
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
) {
    let mut ways = state.way(direction).subscribe();
    let mut kept: Vec<u8> = Vec::new();
    let mut piece = vec![0; 64 * 1024];
    let mut pieces: u64 = 0;
    loop {
        let Ok(read @ 1..) = from.read(&mut piece).await else {
            return;
        };
        kept.extend_from_slice(&piece[..read]);
        pieces += 1;
        loop {
            let Ok(way) = ways.wait_for(|way| *way != Way::Held).await.map(|way| *way) else {
                return;
            };
            if let Way::Slow(late) = way {
                let lost = pieces.is_multiple_of(10);
                tokio::time::sleep(if lost { late * 5 } else { late }).await;
            }
            let passing = match direction {
                Direction::ToServer => state.look(&kept),
                Direction::ToClient => kept.len(),
            };
            let rest = kept.split_off(passing);
            if to.write_all(&kept).await.is_err() {
                return;
            }
            kept = rest;
            // What is left is a held word, or a part of one that the next piece completes.
            if kept.is_empty() || *ways.borrow() != Way::Held {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn answering() -> (Proxy, TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("nats://{}", listener.local_addr().unwrap());
        let proxy = Proxy::open(&url).await;
        let client = TcpStream::connect(proxy.address).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        (proxy, client, server)
    }

    async fn read(stream: &mut TcpStream, count: usize) -> String {
        let mut bytes = vec![0; count];
        stream.read_exact(&mut bytes).await.unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[tokio::test]
    async fn a_trap_holds_its_word_and_what_follows() {
        let (proxy, mut client, mut server) = answering().await;
        proxy.trap(Trap {
            word: "PUB b",
            after: 1,
            hold: Direction::ToServer,
        });
        client.write_all(b"PUB a\r\nPUB b 1\r\nPU").await.unwrap();
        assert_eq!(read(&mut server, 16).await, "PUB a\r\nPUB b 1\r\n");
        client.write_all(b"B b 2\r\nPUB c\r\n").await.unwrap();
        proxy.trapped(Duration::from_secs(5)).await;
        let mut byte = [0];
        assert!(server.try_read(&mut byte).is_err(), "nothing has passed");
        proxy.mend();
        assert_eq!(read(&mut server, 16).await, "PUB b 2\r\nPUB c\r\n");
    }

    #[tokio::test]
    async fn a_trap_lets_the_word_pass_and_holds_the_answer() {
        let (proxy, mut client, mut server) = answering().await;
        proxy.trap(Trap {
            word: "PUB b",
            after: 0,
            hold: Direction::ToClient,
        });
        client.write_all(b"PUB b\r\n").await.unwrap();
        assert_eq!(read(&mut server, 7).await, "PUB b\r\n");
        server.write_all(b"+OK").await.unwrap();
        proxy.trapped(Duration::from_secs(5)).await;
        proxy.cut();
        let mut all = Vec::new();
        client.read_to_end(&mut all).await.unwrap_or_default();
        assert_eq!(all, b"", "the answer was lost");
    }
}
