//! End-to-end tests: one binary, real processes, a real nats-server, the users of `nats.conf`.

mod backup;
mod bad_input;
mod bus;
mod cancel;
mod clients;
mod commands;
mod config;
mod contract;
mod dead_letters;
mod deploy;
mod docs;
mod doctor;
mod engine;
mod faults;
mod hosts;
mod logs;
mod main_job;
mod many_runs;
mod operate;
mod operator_mistakes;
mod rights;
mod sharing;
mod supervision;
mod tools;
mod traces;
mod up;
mod versions;

/// Arguments of a simulator that answers at once.
const FAST: [&str; 4] = ["--latency", "0ms", "--tokens-per-second", "0"];
