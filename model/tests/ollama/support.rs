//! A fake host, and what the tests ask of it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt as _;
use serde_json::{Value, json};
use swarm_model::{
    ChatError, ChatEvent, ChatModel as _, ChatRequest, Completion, DoneReason, Message, Ollama,
    Options,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use url::Url;

/// How long anything may take that ought to be immediate.
pub const SOON: Duration = Duration::from_secs(30);

/// What the fake does with a request once it has read it, step by step.
#[derive(Debug, Clone)]
pub enum Step {
    /// Sends bytes, in a packet of their own as far as TCP allows.
    Send(Vec<u8>),
    /// Says nothing more until the client closes the connection.
    Hold,
    /// Closes the connection.
    Close,
    /// Resets the connection, once the client has what was sent.
    Reset,
    /// Holds until [`Fake::go_on`] has been called as often as there were such steps.
    Await,
}

/// A request that the fake has read.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// The request line and the headers, in lower case.
    pub head: String,
    /// The body; null when there is none.
    pub body: Value,
    /// The number of its connection, from 0.
    pub connection: usize,
}

/// How often something happened.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Requests that were read.
    pub requests: usize,
    /// Connections that the client closed during a [`Step::Hold`].
    pub hangups: usize,
}

/// What a fake says of itself, in documents of the API.
#[derive(Debug, Clone)]
pub struct About {
    pub status: Value,
    pub tags: Value,
    pub ps: Value,
    /// With its status line.
    pub show: (&'static str, Value),
}

impl Default for About {
    /// A host with its cloud off, with the model `m`, which is loaded.
    fn default() -> Self {
        let models = json!({"models": [{"name": "m:latest", "digest": "d"}]});
        Self {
            status: json!({"cloud": {"disabled": true, "source": "env"}}),
            tags: models.clone(),
            ps: models,
            show: ("200 OK", json!({"capabilities": ["completion"]})),
        }
    }
}

impl About {
    /// The answer to a request that is no chat.
    fn answer(&self, head: &str) -> Step {
        let path = head.split(' ').nth(1).unwrap();
        let path = path.rsplit("api/").next().unwrap();
        match path {
            "status" => whole("200 OK", &self.status.to_string()),
            "tags" => whole("200 OK", &self.tags.to_string()),
            "ps" => whole("200 OK", &self.ps.to_string()),
            "version" => whole("200 OK", &json!({"version": "0.33.0"}).to_string()),
            "show" => whole(self.show.0, &self.show.1.to_string()),
            other => panic!("{other}"),
        }
    }
}

/// A server whose n-th chat is answered with the n-th script. A chat behind the last script gets that one again. What is
/// asked besides is answered by [`About`], and counted nowhere.
pub struct Fake {
    pub url: Url,
    state: Arc<State>,
    counts: watch::Receiver<Counts>,
    task: JoinHandle<()>,
}

struct State {
    /// None: everything is scripted.
    about: Option<Mutex<About>>,
    /// Paths of requests that [`About`] has answered.
    asides: Mutex<Vec<String>>,
    scripts: Vec<Vec<Step>>,
    seen: Mutex<Vec<Seen>>,
    counts: watch::Sender<Counts>,
    gate: Semaphore,
}

impl Fake {
    pub async fn start(scripts: Vec<Vec<Step>>) -> Self {
        Self::new(scripts, Some(Mutex::default())).await
    }

    /// One that has a script for everything, not only for chats.
    pub async fn bare(scripts: Vec<Vec<Step>>) -> Self {
        Self::new(scripts, None).await
    }

    /// One script for all chats, of a host that says this of itself.
    pub async fn with(about: About, script: Vec<Step>) -> Self {
        Self::new(vec![script], Some(Mutex::new(about))).await
    }

    async fn new(scripts: Vec<Vec<Step>>, about: Option<Mutex<About>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = url(listener.local_addr().unwrap());
        let (sender, counts) = watch::channel(Counts::default());
        let seen = Mutex::default();
        let state = Arc::new(State {
            about,
            asides: Mutex::default(),
            scripts,
            seen,
            counts: sender,
            gate: Semaphore::new(0),
        });
        let task = tokio::spawn(accept(listener, Arc::clone(&state)));
        Self {
            url,
            state,
            counts,
            task,
        }
    }

    /// One script for all requests.
    pub async fn always(script: Vec<Step>) -> Self {
        Self::start(vec![script]).await
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().unwrap().clone()
    }

    /// How often this was asked besides chats: `show`.
    pub fn asides(&self, path: &str) -> usize {
        let asides = self.state.asides.lock().unwrap();
        asides.iter().filter(|aside| *aside == path).count()
    }

    /// Lets so many [`Step::Await`] pass.
    pub fn go_on(&self, steps: usize) {
        self.state.gate.add_permits(steps);
    }

    /// Changes what it says of itself.
    pub fn says(&self, change: impl FnOnce(&mut About)) {
        change(&mut self.state.about.as_ref().unwrap().lock().unwrap());
    }

    pub fn counts(&self) -> Counts {
        *self.counts.borrow()
    }

    /// Waits until the counts are so.
    pub async fn until(&self, within: Duration, mut condition: impl FnMut(&Counts) -> bool) {
        let mut counts = self.counts.clone();
        let waited = timeout(within, counts.wait_for(|counts| condition(counts))).await;
        waited.expect("not in time").unwrap();
    }

    pub fn ollama(&self) -> Ollama {
        Ollama::new(Options::new(vec![self.url.clone()])).unwrap()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    for connection in 0.. {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        tokio::spawn(serve(stream, connection, Arc::clone(&state)));
    }
}

async fn serve(stream: TcpStream, connection: usize, state: Arc<State>) {
    let mut stream = BufReader::new(stream);
    while let Some((head, body)) = read_request(&mut stream).await {
        if let Some(about) = &state.about
            && !head.contains("api/chat ")
        {
            let path = head.split(' ').nth(1).unwrap().rsplit('/').next().unwrap();
            state.asides.lock().unwrap().push(path.to_owned());
            let Step::Send(bytes) = about.lock().unwrap().answer(&head) else {
                unreachable!()
            };
            stream.write_all(&bytes).await.unwrap();
            continue;
        }
        let number = {
            let mut seen = state.seen.lock().unwrap();
            seen.push(Seen {
                head,
                body,
                connection,
            });
            seen.len() - 1
        };
        state.counts.send_modify(|counts| counts.requests += 1);
        let script = state.scripts.get(number).or(state.scripts.last()).unwrap();
        for step in script {
            match step {
                Step::Send(bytes) => stream.write_all(bytes).await.unwrap(),
                Step::Close => return,
                Step::Reset => {
                    // A reset takes back what the client has not yet read.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    stream.get_ref().set_zero_linger().unwrap();
                    return;
                }
                Step::Await => state.gate.acquire().await.unwrap().forget(),
                Step::Hold => {
                    // A reset is an error and counts as well.
                    while matches!(stream.read(&mut [0; 64]).await, Ok(1..)) {}
                    state.counts.send_modify(|counts| counts.hangups += 1);
                    return;
                }
            }
        }
    }
}

async fn read_request(stream: &mut BufReader<TcpStream>) -> Option<(String, Value)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let length = head.split("content-length: ").nth(1).map_or(0, |rest| {
        rest.split("\r\n").next().unwrap().parse().unwrap()
    });
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    let body = if body.is_empty() {
        Value::Null
    } else {
        serde_json::from_slice(&body).unwrap()
    };
    Some((head, body))
}

/// The URL of an address.
pub fn url(address: SocketAddr) -> Url {
    Url::parse(&format!("http://{address}")).unwrap()
}

/// An address on which nothing listens, and which nobody else gets meanwhile.
pub struct Nobody {
    pub url: Url,
    /// What a client is told who connects.
    pub refusal: String,
    _bound: TcpSocket,
}

impl Nobody {
    pub fn new() -> Self {
        let bound = TcpSocket::new_v4().unwrap();
        bound.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = bound.local_addr().unwrap();
        let refusal = std::net::TcpStream::connect(address).unwrap_err();
        Self {
            url: url(address),
            refusal: refusal.to_string(),
            _bound: bound,
        }
    }
}

/// The URL as errors show it.
pub fn shown(url: &Url) -> String {
    url.as_str().trim_end_matches('/').to_owned()
}

/// The head of an answer in chunks.
pub fn ok() -> Step {
    ok_with("")
}

/// The same with further headers, each with its line end.
pub fn ok_with(headers: &str) -> Step {
    let head =
        "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n";
    Step::Send(format!("{head}{headers}\r\n").into_bytes())
}

/// One chunk.
pub fn chunk(bytes: &[u8]) -> Step {
    let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
    chunk.extend_from_slice(bytes);
    chunk.extend_from_slice(b"\r\n");
    Step::Send(chunk)
}

/// One chunk with one line.
pub fn line(document: Value) -> Step {
    chunk(format!("{document}\n").as_bytes())
}

/// A line with a piece of text.
pub fn piece(text: &str) -> Step {
    line(
        json!({"model": "m", "created_at": "T", "message": {"role": "assistant", "content": text}, "done": false}),
    )
}

/// The last line.
pub fn last() -> Step {
    line(json!({
        "model": "m",
        "created_at": "T",
        "message": {"role": "assistant", "content": ""},
        "done": true,
        "done_reason": "stop",
        "prompt_eval_count": 7,
        "eval_count": 2,
    }))
}

/// The end of an answer in chunks.
pub fn end() -> Step {
    Step::Send(b"0\r\n\r\n".to_vec())
}

/// A whole answer with a length.
pub fn whole(status: &str, body: &str) -> Step {
    let length = body.len();
    Step::Send(format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes())
}

/// A question to the model `m`.
pub fn ask() -> ChatRequest {
    ask_of("m")
}

/// The same to another model.
pub fn ask_of(model: &str) -> ChatRequest {
    let messages = vec![Message::system("You are."), Message::user("Why?")];
    ChatRequest::new(model, messages, 64)
}

/// Several hosts, with these options besides.
pub fn pool(fakes: &[&Fake], options: impl FnOnce(Options) -> Options) -> Ollama {
    let hosts = fakes.iter().map(|fake| fake.url.clone()).collect();
    Ollama::new(options(Options::new(hosts))).unwrap()
}

/// All that a chat brings; pieces of text in a row are one, as they may have come together.
pub async fn all(ollama: &Ollama, request: ChatRequest) -> Vec<Result<ChatEvent, ChatError>> {
    let events: Vec<_> = timeout(SOON, ollama.chat(request).collect())
        .await
        .expect("a chat that ends");
    let mut joined: Vec<Result<ChatEvent, ChatError>> = Vec::new();
    for event in events {
        match (joined.last_mut(), event) {
            (Some(Ok(ChatEvent::Text(before))), Ok(ChatEvent::Text(text))) => {
                before.push_str(&text)
            }
            (_, event) => joined.push(event),
        }
    }
    joined
}

/// The error of a chat that brings nothing else.
pub async fn only_error(ollama: &Ollama) -> ChatError {
    let mut events = all(ollama, ask()).await;
    assert_eq!(events.len(), 1, "{events:?}");
    events.remove(0).unwrap_err()
}

pub fn text(piece: &str) -> Result<ChatEvent, ChatError> {
    Ok(ChatEvent::Text(piece.to_owned()))
}

/// The end of an answer with [`last`].
pub fn done(text: &str) -> Result<ChatEvent, ChatError> {
    Ok(ChatEvent::Done(completion(text)))
}

pub fn completion(text: &str) -> Completion {
    Completion {
        text: text.to_owned(),
        thinking: String::new(),
        tool_calls: Vec::new(),
        done_reason: DoneReason::Stop,
        input_tokens: 7,
        output_tokens: 2,
        simulated: false,
    }
}
