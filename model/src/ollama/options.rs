//! How the hosts are asked, and what is refused before anything is asked.

use std::fmt;
use std::time::Duration;

use url::Url;

use super::cloud;
use super::host::shown;

/// How Ollama hosts are asked.
#[derive(Clone, PartialEq, Eq)]
pub struct Options {
    /// Base URLs of the hosts; where nothing else tells them apart, they are asked in this order: `http://[USER:PASSWORD@]HOST[:PORT][/PREFIX]`.
    pub hosts: Vec<Url>,
    /// Size of the context window, in tokens; sent with every request. One value for all requests to a host: a host
    /// loads the model anew when it changes.
    pub num_ctx: u32,
    /// Most requests in flight on one host at a time; further ones wait here, and not in the host's queue. At least one.
    pub parallel: u32,
    /// Whether hosts are refused that say that their cloud is not switched off. Models of the cloud are refused anyway.
    pub require_cloud_off: bool,
    /// How long is waited for what.
    pub deadlines: Deadlines,
}

/// How long is waited for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// For a TCP connection to one host.
    pub connect: Duration,
    /// From sending to the first token of one host that has the model loaded. A host sends nothing, not even headers,
    /// while the request waits in its queue and while it reads the prompt.
    pub first_token: Duration,
    /// The same when the host has to load the model first.
    pub first_token_unloaded: Duration,
    /// For each further token.
    pub between_tokens: Duration,
}

impl Default for Deadlines {
    /// 5 s, 5 min, 10 min and 60 s.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            first_token: Duration::from_secs(5 * 60),
            first_token_unloaded: Duration::from_secs(10 * 60),
            between_tokens: Duration::from_secs(60),
        }
    }
}

impl Options {
    /// The default window and deadlines for these hosts.
    #[must_use]
    pub fn new(hosts: Vec<Url>) -> Self {
        Self {
            hosts,
            num_ctx: 8192,
            parallel: 1,
            require_cloud_off: true,
            deadlines: Deadlines::default(),
        }
    }

    pub(super) fn check(&self) -> Result<(), OptionsError> {
        if self.hosts.is_empty() {
            return Err(OptionsError::NoHost);
        }
        if self.num_ctx == 0 {
            return Err(OptionsError::NoContext);
        }
        self.hosts.iter().try_for_each(check_host)
    }
}

impl Default for Options {
    /// `http://127.0.0.1:11434`, where Ollama listens unless told otherwise, with a window of 8192 tokens.
    fn default() -> Self {
        Self::new(Url::parse("http://127.0.0.1:11434").into_iter().collect())
    }
}

/// Without passwords: options end up in logs.
impl fmt::Debug for Options {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts: Vec<String> = self.hosts.iter().map(shown).collect();
        formatter
            .debug_struct("Options")
            .field("hosts", &hosts)
            .field("num_ctx", &self.num_ctx)
            .field("parallel", &self.parallel)
            .field("require_cloud_off", &self.require_cloud_off)
            .field("deadlines", &self.deadlines)
            .finish()
    }
}

/// Why options cannot be used. No text in here holds credentials.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OptionsError {
    /// There is nobody to ask.
    #[error("no Ollama host is given; the usual one is http://127.0.0.1:11434")]
    NoHost,
    /// A host is to be asked over TLS.
    #[error(
        "{host}: https is not supported (no TLS is built in); give an http:// URL, of a tunnel or a local proxy if need be"
    )]
    Tls {
        /// The host.
        host: String,
    },
    /// A URL is no HTTP URL; most often its `http://` is missing.
    #[error("{host}: no URL of an Ollama host; write http://HOST:PORT")]
    Scheme {
        /// The host.
        host: String,
    },
    /// A host is Ollama's cloud.
    #[error("{host} is in a cloud; only local hosts are asked")]
    Cloud {
        /// The host.
        host: String,
    },
    /// The context window is empty.
    #[error("num_ctx is 0; a host would take a window of 4 tokens for it, without a word")]
    NoContext,
    /// There is no HTTP client.
    #[error("the HTTP client cannot be made: {detail}")]
    Client {
        /// Why.
        detail: String,
    },
}

fn check_host(url: &Url) -> Result<(), OptionsError> {
    let host = shown(url);
    if cloud::is_cloud_host(url) {
        return Err(OptionsError::Cloud { host });
    }
    match url.scheme() {
        "http" => Ok(()),
        "https" => Err(OptionsError::Tls { host }),
        _ => Err(OptionsError::Scheme { host }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str) -> Result<(), OptionsError> {
        Options::new(vec![Url::parse(url).unwrap()]).check()
    }

    #[test]
    fn defaults() {
        let options = Options::default();
        assert_eq!(
            format!("{options:?}"),
            "Options { hosts: [\"http://127.0.0.1:11434\"], num_ctx: 8192, \
             parallel: 1, require_cloud_off: true, \
             deadlines: Deadlines { connect: 5s, first_token: 300s, first_token_unloaded: 600s, between_tokens: 60s } }"
        );
        assert_eq!(options.check(), Ok(()));
    }

    #[test]
    fn hosts() {
        let host = |host: &str| host.to_owned();
        assert_eq!(check("http://user:secret@ollama:11434/prefix"), Ok(()));
        assert_eq!(Options::new(vec![]).check(), Err(OptionsError::NoHost));
        let table = [
            (
                "https://u:secret@box",
                OptionsError::Tls {
                    host: host("https://box"),
                },
            ),
            (
                "ftp://u:secret@box/x",
                OptionsError::Scheme {
                    host: host("ftp://box/x"),
                },
            ),
            (
                "localhost:11434",
                OptionsError::Scheme {
                    host: host("localhost:…"),
                },
            ),
            (
                "u:secret@box:11434",
                OptionsError::Scheme {
                    host: host("u:…")
                },
            ),
            (
                "https://u:secret@ollama.com/v1",
                OptionsError::Cloud {
                    host: host("https://ollama.com/v1"),
                },
            ),
            (
                "http://api.ollama.com",
                OptionsError::Cloud {
                    host: host("http://api.ollama.com"),
                },
            ),
        ];
        for (url, error) in table {
            assert_eq!(check(url), Err(error.clone()));
            assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
        }
        let second = Options {
            hosts: vec![
                Url::parse("http://a").unwrap(),
                Url::parse("https://b").unwrap(),
            ],
            ..Options::default()
        };
        assert_eq!(
            second.check(),
            Err(OptionsError::Tls {
                host: host("https://b")
            })
        );
    }

    #[test]
    fn a_window_of_nothing() {
        let options = Options {
            num_ctx: 0,
            ..Options::default()
        };
        assert_eq!(options.check(), Err(OptionsError::NoContext));
    }
}
