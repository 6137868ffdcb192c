//! Ids: runs by UUID, everything else by a validated subject token.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Longest subject token, in bytes.
pub const MAX_TOKEN: usize = 64;

/// Shortest prefix of a run id that names a run.
pub const MIN_RUN_PREFIX: usize = 8;

/// What is wrong with a text that should be a subject token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not a valid {what}: 1 to 64 of a-z, 0-9, _ and - are accepted", shown(.text))]
pub struct InvalidToken {
    what: &'static str,
    text: String,
}

fn shown(text: &str) -> String {
    let mut cut: String = text.chars().take(40).flat_map(char::escape_debug).collect();
    if text.chars().count() > 40 {
        cut.push('…');
    }
    cut
}

fn is_token(text: &str) -> bool {
    (1..=MAX_TOKEN).contains(&text.len())
        && text
            .bytes()
            .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'))
}

macro_rules! token {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(try_from = "String", into = "String")]
        #[schemars(with = "String", extend("pattern" = "^[a-z0-9_-]{1,64}$"))]
        pub struct $name(String);

        impl $name {
            /// The token as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidToken;

            fn try_from(text: String) -> Result<Self, InvalidToken> {
                if is_token(&text) { Ok(Self(text)) } else { Err(InvalidToken { what: $what, text }) }
            }
        }

        impl FromStr for $name {
            type Err = InvalidToken;

            fn from_str(text: &str) -> Result<Self, InvalidToken> {
                Self::try_from(text.to_owned())
            }
        }

        impl From<$name> for String {
            fn from(token: $name) -> Self {
                token.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

token!(
    /// A named kind of agent, for example `research_agent`.
    AgentName, "agent name");
token!(
    /// A unit of work of a run, for example `research_agent` or `research_agent-2`.
    TaskId, "task id");
token!(
    /// One process of a role.
    InstanceId, "instance id");

impl TaskId {
    /// The task that a step named `base` makes; longer bases are cut and end in a hash, so that they stay different.
    #[must_use]
    pub fn derive(base: &str) -> Self {
        if is_token(base) {
            return Self(base.to_owned());
        }
        let hash = hex(&Sha256::digest(base.as_bytes()));
        let kept: String = base
            .chars()
            .filter(|c| is_token(&c.to_string()))
            .take(MAX_TOKEN - 13)
            .collect();
        Self(format!("{kept}-{}", hash.get(..12).unwrap_or_default()))
    }

    /// The task of the `n`th step (from 1) that names one agent: `name`, `name-2`, `name-3`.
    #[must_use]
    pub fn of_agent(agent: &AgentName, n: usize) -> Self {
        if n <= 1 {
            Self(agent.0.clone())
        } else {
            Self::derive(&format!("{agent}-{n}"))
        }
    }
}

impl InstanceId {
    /// A fresh instance id: 12 random hexadecimal digits.
    #[must_use]
    pub fn random() -> Self {
        let hex = Uuid::new_v4().simple().to_string();
        Self(hex.chars().take(12).collect())
    }
}

/// Lower-case hexadecimal of some bytes.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            // Writing to a String cannot fail.
            write!(text, "{byte:02x}").unwrap_or_default();
            text
        })
}

/// A run: everything that one submission causes.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
pub struct RunId(Uuid);

impl RunId {
    /// The last one of all, where they are in order.
    pub const LAST: Self = Self(Uuid::max());

    /// The run of a UUID in its text form of 36 characters, upper case accepted.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() == 36 {
            Uuid::try_parse(text).ok().map(Self)
        } else {
            None
        }
    }

    /// The run of a submission with this `Nats-Msg-Id`.
    #[must_use]
    pub fn from_message_id(id: &str) -> Self {
        Self(Uuid::new_v5(&namespace(), format!("msg:{id}").as_bytes()))
    }

    /// The run of the submission at `seq` of the inbox of the swarm `swarm_id`.
    #[must_use]
    pub fn from_sequence(swarm_id: Uuid, seq: u64) -> Self {
        Self(Uuid::new_v5(
            &namespace(),
            format!("{swarm_id}:{seq}").as_bytes(),
        ))
    }

    /// The run that does another one again.
    #[must_use]
    pub fn from_retry(old: Self) -> Self {
        Self(Uuid::new_v5(
            &namespace(),
            format!("retry:{old}").as_bytes(),
        ))
    }

    /// A fresh run id, for a client that names its run before it submits it.
    #[must_use]
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }

    /// The id as a number.
    #[must_use]
    pub fn as_u128(self) -> u128 {
        self.0.as_u128()
    }

    /// The first eight characters, enough for a person.
    #[must_use]
    pub fn short(&self) -> String {
        self.to_string().chars().take(MIN_RUN_PREFIX).collect()
    }
}

impl From<RunId> for Uuid {
    fn from(run: RunId) -> Self {
        run.0
    }
}

impl From<Uuid> for RunId {
    fn from(id: Uuid) -> Self {
        Self(id)
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

/// `UUIDv5(URL namespace, "swarm")`, the namespace of derived run ids.
fn namespace() -> Uuid {
    Uuid::new_v5(&Uuid::NAMESPACE_URL, b"swarm")
}

/// How a person names a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunRef {
    /// The whole id.
    Id(RunId),
    /// A prefix of at least eight characters, lower case.
    Prefix(String),
    /// The sequence of its submission in the inbox (`seq:17`, or the ticket that `nats req` prints).
    Sequence(u64),
}

/// What is wrong with a text that should name a run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` names no run: give its id, a prefix of at least 8 characters, its ticket, or seq:<number>", shown(.0))]
pub struct InvalidRunRef(String);

#[derive(Deserialize)]
struct Ticket {
    seq: u64,
}

impl FromStr for RunRef {
    type Err = InvalidRunRef;

    fn from_str(text: &str) -> Result<Self, InvalidRunRef> {
        let text = text.trim();
        let invalid = || InvalidRunRef(text.to_owned());
        if text.starts_with('{') {
            return serde_json::from_str::<Ticket>(text)
                .map(|t| Self::Sequence(t.seq))
                .or(Err(invalid()));
        }
        if let Some(number) = text.strip_prefix("seq:") {
            return number.parse().map(Self::Sequence).or(Err(invalid()));
        }
        if let Some(id) = RunId::parse(text) {
            return Ok(Self::Id(id));
        }
        let prefix = text.to_ascii_lowercase();
        let plausible = (MIN_RUN_PREFIX..36).contains(&prefix.len())
            && prefix.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
        if plausible {
            Ok(Self::Prefix(prefix))
        } else {
            Err(invalid())
        }
    }
}

impl fmt::Display for RunRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Prefix(prefix) => f.write_str(prefix),
            Self::Sequence(seq) => write!(f, "seq:{seq}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn run_ids_follow_the_rules() {
        let swarm = Uuid::nil();
        assert_eq!(
            RunId::from_message_id("a").to_string(),
            RunId::from_message_id("a").to_string()
        );
        assert_ne!(
            RunId::from_sequence(swarm, 1),
            RunId::from_sequence(swarm, 2)
        );
        let expected = Uuid::new_v5(&Uuid::new_v5(&Uuid::NAMESPACE_URL, b"swarm"), b"msg:a");
        assert_eq!(RunId::from_message_id("a"), RunId(expected));
        let upper = "0B7E1E0C-3F5B-5E9A-8C49-0D5A6F7B8C9D";
        assert_eq!(
            RunId::parse(upper).unwrap().to_string(),
            upper.to_lowercase()
        );
        assert_eq!(RunId::parse("0b7e1e0c3f5b5e9a8c490d5a6f7b8c9d"), None);
    }

    #[test]
    fn runs_are_named_in_four_ways() {
        let id = RunId::random();
        assert_eq!(id.to_string().parse(), Ok(RunRef::Id(id)));
        assert_eq!(id.short().parse(), Ok(RunRef::Prefix(id.short())));
        assert_eq!(
            r#"{"stream":"SWARM_INBOX","seq":17}"#.parse(),
            Ok(RunRef::Sequence(17))
        );
        assert_eq!(" seq:17\n".parse(), Ok(RunRef::Sequence(17)));
        for bad in ["", "abc", "seq:x", "{}", "zzzzzzzzz"] {
            assert_eq!(
                bad.parse::<RunRef>(),
                Err(InvalidRunRef(bad.to_owned())),
                "{bad}"
            );
        }
    }

    #[test]
    fn repeated_agents_get_a_number() {
        let agent: AgentName = "research_agent".parse().unwrap();
        assert_eq!(TaskId::of_agent(&agent, 1).as_str(), "research_agent");
        assert_eq!(TaskId::of_agent(&agent, 2).as_str(), "research_agent-2");
    }

    proptest! {
        #[test]
        fn derived_tasks_are_tokens_and_keep_apart(a in "[a-z]{60,80}", b in "[a-z]{60,80}") {
            let (x, y) = (TaskId::derive(&a), TaskId::derive(&b));
            prop_assert!(is_token(x.as_str()));
            prop_assert_eq!(a == b, x == y);
        }

        #[test]
        fn tokens_never_hold_a_subject_separator(text in ".{0,70}") {
            if let Ok(token) = text.parse::<AgentName>() {
                prop_assert!(!token.as_str().contains(['.', '*', '>', ' ']));
            }
        }
    }
}
