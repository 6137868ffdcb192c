//! The connection of a process: who it is, how long it tries, and what it refuses.

use std::sync::Arc;
use std::time::Duration;

use async_nats::Event;
use serde::Deserialize;
use swarm_protocol::trace::TraceParent;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::alive::Signs;
use crate::api;
use crate::message::{Incoming, Outgoing, Subscription};

/// Answers of the server are waited for this long.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// A silent server is asked this often whether it is there; the third time without a word the connection is given up. Whoever
/// is heard and hears nothing would else keep its work, by signs of life, for minutes.
const PING_EVERY: Duration = Duration::from_secs(5);

/// What is said at the end of a process may take this long.
pub(crate) const LAST_WORDS: Duration = Duration::from_secs(1);

/// JetStream API level of nats-server 2.12, the oldest that is supported.
const MIN_API_LEVEL: u64 = 2;

/// Who a process is to the server: its user, and the inbox prefix that belongs to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Coordinators.
    Coordinator,
    /// Agent workers.
    Agent,
    /// People and programs that submit and watch.
    Client,
    /// Who looks at streams and consumers and changes nothing.
    Observer,
}

impl Role {
    /// The user in `nats.conf`.
    #[must_use]
    pub const fn user(self) -> &'static str {
        match self {
            Self::Coordinator => "coordinator",
            Self::Agent => "agent",
            Self::Client => "client",
            Self::Observer => "observer",
        }
    }

    const fn inbox_prefix(self) -> &'static str {
        match self {
            Self::Coordinator => "_INBOX_coordinator",
            Self::Agent => "_INBOX_agent",
            Self::Client => "_INBOX",
            Self::Observer => "_INBOX_observer",
        }
    }
}

/// How a process shows who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Login {
    /// As the URL says, else as the server's `no_auth_user`.
    Anonymous,
    /// As the role's user.
    Password(String),
    /// By the content of a creds file.
    Creds(String),
    /// As another user, from a context of the nats CLI.
    UserPassword(String, String),
    /// By a token, from a context of the nats CLI.
    Token(String),
}

/// How to connect.
#[derive(Debug, Clone)]
pub struct Options {
    /// Server URL; several, separated by commas.
    pub url: String,
    /// Who this process is.
    pub role: Role,
    /// How it shows that.
    pub login: Login,
    /// The name that the server shows for it.
    pub name: String,
    /// How long to try for the first connection.
    pub patience: Duration,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nothing answered.
    #[error(
        "no NATS server at {url} ({detail}); start one with `swarm up`, or name another with --nats or NATS_URL"
    )]
    Unreachable {
        /// What was tried, without credentials.
        url: String,
        /// What happened.
        detail: String,
    },
    /// The server refused the login.
    #[error(
        "the NATS server at {url} refused the login of user `{user}`: set {variable}, or take the credentials.env that `swarm up` made"
    )]
    Refused {
        /// What was tried, without credentials.
        url: String,
        /// Who.
        user: &'static str,
        /// The variable of the environment that holds the password.
        variable: String,
    },
    /// The credentials file cannot be used.
    #[error("the credentials cannot be used: {0}")]
    Creds(String),
    /// The server has no JetStream.
    #[error(
        "the NATS server at {url} runs without JetStream: start it with the nats.conf of Swarm (`swarm up` does), or with -js"
    )]
    NoJetStream {
        /// What was tried, without credentials.
        url: String,
    },
    /// The server is too old.
    #[error(
        "the NATS server at {url} is version {version}, Swarm needs 2.12 or newer: `scripts/setup run` installs one, or see https://github.com/nats-io/nats-server/releases"
    )]
    TooOld {
        /// What was tried, without credentials.
        url: String,
        /// Its version.
        version: String,
    },
}

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// Nobody serves the subject.
    #[error("nobody answers on {0}")]
    NoResponders(String),
    /// No answer in time.
    #[error("no answer on {subject} within {} ms", after.as_millis())]
    TimedOut {
        /// The subject.
        subject: String,
        /// How long it was waited for.
        after: Duration,
    },
    /// The connection could not send it.
    #[error("the request on {subject} was not sent: {detail}")]
    NotSent {
        /// The subject.
        subject: String,
        /// Why.
        detail: String,
    },
}

/// A connection to the server; cheap to clone.
#[derive(Debug, Clone)]
pub struct Bus {
    pub(crate) client: async_nats::Client,
    /// Counts connections: what the server forgot with the last one is asked for again.
    pub(crate) connections: watch::Receiver<u64>,
    pub(crate) signs: Arc<Signs>,
    role: Role,
}

impl Bus {
    /// Connects, trying again until the patience of the options ends, and checks the server.
    ///
    /// Once connected, the connection outlives any outage of the server.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub async fn connect(options: Options) -> Result<Self, ConnectError> {
        let url = without_credentials(&options.url);
        let deadline = Instant::now() + options.patience;
        let (count, connections) = watch::channel(0);
        let client = loop {
            match client_options(&options, count.clone())?
                // The client library logs them as they are.
                .connect(servers(&url))
                .await
            {
                Ok(client) => break client,
                Err(error) => {
                    let refused = matches!(
                        error.kind(),
                        async_nats::ConnectErrorKind::Authentication
                            | async_nats::ConnectErrorKind::AuthorizationViolation
                    );
                    if refused {
                        return Err(refusal(&options, url));
                    }
                    if Instant::now() + FIRST_CONNECTION_PAUSE > deadline {
                        return Err(ConnectError::Unreachable {
                            url,
                            detail: root_cause(&error),
                        });
                    }
                    tracing::debug!(%error, url, "not connected yet");
                    tokio::time::sleep(FIRST_CONNECTION_PAUSE).await;
                }
            }
        };
        let bus = Self {
            client,
            connections,
            signs: Arc::default(),
            role: options.role,
        };
        bus.check_server(url, deadline).await?;
        bus.first_connection_is_counted().await;
        Ok(bus)
    }

    /// Who this process is.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// Whether the connection stands now.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.client.connection_state() == async_nats::connection::State::Connected
    }

    /// The server's version.
    #[must_use]
    pub fn server_version(&self) -> String {
        self.client.server_info().version
    }

    /// Largest message that the server takes, headers included.
    #[must_use]
    pub fn max_payload(&self) -> usize {
        self.client.max_payload()
    }

    /// Messages of `subject`, which may hold wildcards.
    ///
    /// # Errors
    /// When the connection is closed.
    pub async fn subscribe(&self, subject: &str) -> Result<Subscription, RequestError> {
        let subscriber = self
            .client
            .subscribe(subject.to_owned())
            .await
            .map_err(|error| not_sent(subject, &error))?;
        Ok(Subscription::new(subscriber))
    }

    /// Messages of `subject`, each to one member of the queue group.
    ///
    /// # Errors
    /// When the connection is closed.
    pub async fn queue_subscribe(
        &self,
        subject: &str,
        group: &str,
    ) -> Result<Subscription, RequestError> {
        let subscribed = self
            .client
            .queue_subscribe(subject.to_owned(), group.to_owned())
            .await;
        Ok(Subscription::new(
            subscribed.map_err(|error| not_sent(subject, &error))?,
        ))
    }

    /// Sends a message that is worth nothing later: dropped while the connection is lost.
    ///
    /// # Errors
    /// When the message is larger than the server takes.
    pub async fn send_now(&self, message: Outgoing) -> Result<(), RequestError> {
        if self.is_connected() {
            self.send(message).await
        } else {
            Ok(())
        }
    }

    /// Sends a message that nobody confirms; waits for room in the buffer while the connection is lost.
    ///
    /// # Errors
    /// When the connection is closed or the message is larger than the server takes.
    pub async fn send(&self, message: Outgoing) -> Result<(), RequestError> {
        let (subject, headers, payload) = message.into_parts();
        let sent = self
            .client
            .publish_with_headers(subject.clone(), headers, payload)
            .await;
        sent.map_err(|error| not_sent(&subject, &error))
    }

    /// Says a word of JetStream's protocol about a delivery: it belongs to no trace, and headers would cost the server more
    /// than the word.
    pub(crate) async fn say(&self, subject: String, word: String) -> Result<(), RequestError> {
        let said = self.client.publish(subject.clone(), word.into()).await;
        said.map_err(|error| not_sent(&subject, &error))
    }

    /// Asks a consumer for messages, which come to `inbox`.
    pub(crate) async fn pull(
        &self,
        subject: &str,
        inbox: &str,
        request: String,
    ) -> Result<(), RequestError> {
        let (subject, inbox) = (subject.to_owned(), inbox.to_owned());
        let sent = self
            .client
            .publish_with_reply(subject.clone(), inbox, request.into())
            .await;
        sent.map_err(|error| not_sent(&subject, &error))
    }

    pub(crate) async fn send_with_reply(
        &self,
        message: Outgoing,
        reply: &str,
    ) -> Result<(), RequestError> {
        let (subject, headers, payload) = message.into_parts();
        let sent = self
            .client
            .publish_with_reply_and_headers(subject.clone(), reply.to_owned(), headers, payload)
            .await;
        sent.map_err(|error| not_sent(&subject, &error))
    }

    /// Sends a request and waits for its first answer.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn request(
        &self,
        message: Outgoing,
        timeout: Duration,
    ) -> Result<Incoming, RequestError> {
        let (subject, headers, payload) = message.into_parts();
        let request = async_nats::Request::new()
            .payload(payload)
            .headers(headers)
            .timeout(None);
        let timed_out = |subject| RequestError::TimedOut {
            subject,
            after: timeout,
        };
        let sending = self.client.send_request(subject.clone(), request);
        // The client's own timeout would not count the wait for room in its buffer, which is full while the server is away.
        let Ok(answer) = tokio::time::timeout(timeout, sending).await else {
            return Err(timed_out(subject));
        };
        match answer {
            Ok(message) => Ok(message.into()),
            Err(error) => Err(match error.kind() {
                async_nats::RequestErrorKind::NoResponders => RequestError::NoResponders(subject),
                async_nats::RequestErrorKind::TimedOut => timed_out(subject),
                _ => not_sent(&subject, &error),
            }),
        }
    }

    /// Waits until everything sent so far has reached the server; not for long when that is away.
    pub async fn flush(&self) {
        match tokio::time::timeout(LAST_WORDS, self.client.flush()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "not flushed"),
            Err(_) => tracing::debug!("not flushed: the server is away"),
        }
    }

    /// A fresh subject under this role's inbox prefix.
    #[must_use]
    pub fn new_inbox(&self) -> String {
        self.client.new_inbox()
    }

    pub(crate) async fn api_request(
        &self,
        subject: &str,
        payload: Vec<u8>,
    ) -> Result<Incoming, RequestError> {
        self.request(
            Outgoing::new(subject, payload, TraceParent::root()),
            REQUEST_TIMEOUT,
        )
        .await
    }

    /// The client library tells of a connection a little later than it has it: whoever looks out for another one must not
    /// take this for it.
    async fn first_connection_is_counted(&self) {
        let mut connections = self.connections.clone();
        let counted = connections.wait_for(|count| *count > 0);
        if tokio::time::timeout(SHORTEST_ANSWER, counted)
            .await
            .is_err()
        {
            tracing::debug!("the client library did not tell of the connection");
        }
    }

    async fn check_server(&self, url: String, deadline: Instant) -> Result<(), ConnectError> {
        #[derive(Deserialize)]
        struct Info {
            #[serde(default)]
            api: Api,
        }
        #[derive(Deserialize, Default)]
        struct Api {
            #[serde(default)]
            level: u64,
        }
        let info = loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let patience = left.clamp(SHORTEST_ANSWER, REQUEST_TIMEOUT);
            let question = Outgoing::new("$JS.API.INFO", "", TraceParent::root());
            match self.request(question, patience).await {
                Ok(reply) => break reply,
                Err(RequestError::NoResponders(_)) if !self.client.server_info().jetstream => {
                    return Err(ConnectError::NoJetStream { url });
                }
                // JetStream answers a little later than the server does.
                Err(error) if Instant::now() >= deadline => {
                    return Err(ConnectError::Unreachable {
                        url,
                        detail: error.to_string(),
                    });
                }
                Err(_) => tokio::time::sleep(FIRST_CONNECTION_PAUSE).await,
            }
        };
        match serde_json::from_slice::<api::Reply<Info>>(info.payload())
            .map(api::Reply::into_result)
        {
            Ok(Ok(info)) if info.api.level >= MIN_API_LEVEL => Ok(()),
            Ok(Err(error)) if error.err_code == api::NOT_ENABLED_FOR_ACCOUNT => {
                Err(ConnectError::NoJetStream { url })
            }
            Ok(_) => Err(ConnectError::TooOld {
                url,
                version: self.server_version(),
            }),
            Err(error) => Err(ConnectError::Unreachable {
                url,
                detail: format!("its answer is not understood: {error}"),
            }),
        }
    }
}

/// However little patience there is, the server gets this long to answer.
const SHORTEST_ANSWER: Duration = Duration::from_millis(500);

const FIRST_CONNECTION_PAUSE: Duration = Duration::from_millis(100);

fn servers(url: &str) -> Vec<String> {
    url.split(',')
        .map(|server| server.trim().to_owned())
        .filter(|server| !server.is_empty())
        .collect()
}

fn client_options(
    options: &Options,
    connections: watch::Sender<u64>,
) -> Result<async_nats::ConnectOptions, ConnectError> {
    let role = options.role;
    let base = async_nats::ConnectOptions::new()
        .name(&options.name)
        .custom_inbox_prefix(role.inbox_prefix())
        .connection_timeout(Duration::from_secs(2))
        .request_timeout(None)
        .ping_interval(PING_EVERY)
        .subscription_capacity(64 * 1024)
        .reconnect_delay_callback(|attempts| Duration::from_millis(50 * (attempts as u64).min(20)))
        .event_callback(move |event| on_event(event, connections.clone()));
    // The client library takes no login from a URL.
    let in_url = match options.login {
        Login::Anonymous => login_in(&options.url),
        _ => None,
    };
    Ok(match in_url.as_ref().unwrap_or(&options.login) {
        Login::Anonymous => base,
        Login::Password(password) => {
            base.user_and_password(role.user().to_owned(), password.clone())
        }
        Login::UserPassword(user, password) => {
            base.user_and_password(user.clone(), password.clone())
        }
        Login::Token(token) => base.token(token.clone()),
        Login::Creds(content) => base
            .credentials(content)
            .map_err(|error| ConnectError::Creds(error.to_string()))?,
    })
}

/// The login that the first of the servers has in its URL: `user:password@`, or `token@`.
fn login_in(url: &str) -> Option<Login> {
    let first = url.split(',').next()?;
    let address = first.split_once("://").map_or(first, |(_, rest)| rest);
    let (login, _host) = address.rsplit_once('@')?;
    Some(match login.split_once(':') {
        Some((user, password)) => Login::UserPassword(decoded(user), decoded(password)),
        None => Login::Token(decoded(login)),
    })
}

/// What `%40` and its like stand for.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let escaped = after.split_first_chunk::<2>().filter(|_| *first == b'%');
        let byte = escaped.and_then(|(digits, after)| {
            let digits = std::str::from_utf8(digits).ok()?;
            Some((u8::from_str_radix(digits, 16).ok()?, after))
        });
        let (byte, after) = byte.unwrap_or((*first, after));
        bytes.push(byte);
        rest = after;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

async fn on_event(event: Event, connections: watch::Sender<u64>) {
    match event {
        Event::Connected => {
            tracing::debug!("connected to NATS");
            connections.send_modify(|count| *count += 1);
        }
        Event::Disconnected => tracing::warn!("the connection to NATS is lost; trying again"),
        Event::SlowConsumer(id) => {
            tracing::warn!(id, "messages were dropped: this process does not keep up")
        }
        Event::ServerError(error) => tracing::warn!(%error, "the NATS server refused something"),
        other => tracing::debug!(%other, "NATS"),
    }
}

fn refusal(options: &Options, url: String) -> ConnectError {
    let user = options.role.user();
    ConnectError::Refused {
        url,
        user,
        variable: password_variable(options.role),
    }
}

/// The users of `nats.conf`.
pub const USERS: [&str; 6] = [
    "coordinator",
    "agent",
    "tool-builder",
    "gateway",
    "client",
    "observer",
];

/// The variable of the environment that holds a role's password, in `nats.conf` and for the role itself.
#[must_use]
pub fn password_variable(role: Role) -> String {
    password_variable_of(role.user())
}

/// The same by the name of the user.
#[must_use]
pub fn password_variable_of(user: &str) -> String {
    let name = user.to_ascii_uppercase().replace('-', "_");
    format!("SWARM_{name}_PASSWORD")
}

fn not_sent(subject: &str, error: &dyn std::error::Error) -> RequestError {
    RequestError::NotSent {
        subject: subject.to_owned(),
        detail: root_cause(error),
    }
}

fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

/// A server's URL, or several of them, as it may be shown: without user and password.
#[must_use]
pub fn without_credentials(url: &str) -> String {
    let without = |server: String| match server.rsplit_once('@') {
        Some((login, host)) => match login.split_once("://") {
            Some((scheme, _)) => format!("{scheme}://{host}"),
            None => host.to_owned(),
        },
        None => server,
    };
    let shown: Vec<String> = servers(url).into_iter().map(without).collect();
    shown.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_may_hold_the_login() {
        let user = |user: &str, password: &str| {
            Some(Login::UserPassword(user.to_owned(), password.to_owned()))
        };
        assert_eq!(login_in("nats://a:b@h:1,nats://h:2"), user("a", "b"));
        assert_eq!(login_in("nats://a:p%40s%zz:@h"), user("a", "p@s%zz:"));
        assert_eq!(login_in("t%20k@h"), Some(Login::Token("t k".to_owned())));
        assert_eq!(login_in("nats://h:4222"), None);
    }

    #[test]
    fn urls_are_shown_without_credentials() {
        assert_eq!(
            without_credentials("nats://user:pa@ss@host:4222"),
            "nats://host:4222"
        );
        assert_eq!(
            without_credentials("nats://a:1, nats://b:2"),
            "nats://a:1,nats://b:2"
        );
        assert_eq!(without_credentials("token@host"), "host");
    }
}
