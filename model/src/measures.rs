//! What this crate does against the failures of small models and their hosts.

swarm_protocol::measures! {
    /// F6: a format brings `think:false`.
    FormatWithoutThinking,
    /// F9: every answer is bounded.
    BoundedAnswer,
    /// F9: a model that repeats itself is broken off.
    Repetition,
    /// F10: a host is told not to cut the chat.
    NoTruncation,
    /// F10: a host that has cut the chat all the same is found out.
    SilentCut,
    /// F11: a format and tools are not sent together.
    FormatOrTools,
    /// F16: control tokens in foreign text are broken up.
    BrokenMarkers,
}
