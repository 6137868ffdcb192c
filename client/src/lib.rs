//! The Rust SDK: submit tasks, watch runs, ask the coordinator.
