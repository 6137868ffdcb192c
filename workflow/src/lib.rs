//! The run engine, pure: definition, fold and decide.
