//! What this crate does against the failures of small models.

swarm_protocol::measures! {
    /// F3: arguments that do not satisfy the schema are mended.
    Repair,
    /// F4: an unknown tool is answered with the names that there are.
    ValidNames,
    /// F12: a tool runs only on arguments that satisfy its schema.
    CheckedArguments,
    /// F14: a few tools are offered in one turn.
    FewTools,
}
