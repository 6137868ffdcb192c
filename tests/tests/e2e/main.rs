//! End-to-end tests: one binary, real processes, a real nats-server, the users of `nats.conf`.

mod main_job;
