//! How the command ends: exit codes, and errors as a person or a program reads them.

use swarm_bus::topology::TopologyError;
use swarm_bus::{ConnectError, PublishError};
use swarm_client::ClientError;
use swarm_coordinator::CoordinatorError;
use swarm_protocol::error::chain;
use swarm_protocol::{Code, ErrorBody};

use crate::config::ConfigError;

/// The run failed.
pub(crate) const FAILED: u8 = 1;
/// Usage or configuration is wrong.
pub(crate) const USAGE: u8 = 2;
/// Nothing is reachable.
pub(crate) const UNREACHABLE: u8 = 3;
/// It waits for a person.
pub(crate) const WAITS: u8 = 4;
/// Interrupted.
pub(crate) const INTERRUPTED: u8 = 130;

/// Why the command ends otherwise than done.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: u8,
    /// What is said on stderr; nothing when everything has been said.
    pub(crate) error: Option<ErrorBody>,
}

impl Failure {
    /// Something that is not in order, with the exit code.
    pub(crate) fn new(code: u8, kind: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            error: Some(ErrorBody::new(kind, message)),
        }
    }

    /// Wrong usage.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(USAGE, Code::Field, message)
    }

    /// An end that needs no words.
    pub(crate) fn silent(code: u8) -> Self {
        Self { code, error: None }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::usage(error.to_string())
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        let code = if matches!(error, ConnectError::Creds(_)) {
            USAGE
        } else {
            UNREACHABLE
        };
        Self::new(code, Code::Unavailable, error.to_string())
    }
}

impl From<CoordinatorError> for Failure {
    fn from(error: CoordinatorError) -> Self {
        use CoordinatorError::{Clock, Topology};
        match &error {
            Topology(TopologyError::Foreign { .. } | TopologyError::NoRoom { .. }) | Clock(_) => {
                Self::new(USAGE, Code::Unavailable, chain(&error))
            }
            // Who may not ask gets no answer.
            Topology(TopologyError::Request(_)) => {
                let message = format!(
                    "{}; was it started with the nats.conf of this version?",
                    chain(&error)
                );
                Self::new(UNREACHABLE, Code::Unavailable, message)
            }
            _ => Self::new(UNREACHABLE, Code::Unavailable, chain(&error)),
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Service(error) => {
                let code = if error.status() == 400 { USAGE } else { FAILED };
                Self {
                    code,
                    error: Some(error),
                }
            }
            ClientError::NotStored(PublishError::TooLarge { .. }) => {
                Self::new(USAGE, Code::TooLarge, chain(&error))
            }
            ClientError::NoCoordinator(_) => {
                Self::new(UNREACHABLE, Code::Unavailable, error.to_string())
            }
            other => Self::new(UNREACHABLE, Code::Unavailable, chain(&other)),
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::new(FAILED, Code::Internal, format!("{error:#}"))
    }
}
