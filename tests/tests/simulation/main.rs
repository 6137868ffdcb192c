//! A seeded simulation of the engine, the bus, workers and clocks.
//!
//! Each seed is a small world of its own: a server, two coordinators, a few workers, clients, and a clock that jumps from
//! one step to the next. The seed picks what is submitted, what goes wrong, and which step comes next; so a seed that fails
//! fails again. The rules of runs, the fence, the agent loop and the wire types are the real ones; what the roles do
//! between them follows the real roles step by step, and what NATS does is modelled.
//!
//! Reading order: [`world`] (what runs and what is submitted), [`scheduler`] (virtual time, processes, crashes), [`faults`]
//! and [`expected`] (what goes wrong, and has to), [`bus`] and [`net`] (the server, and the way there), [`coordinator`],
//! [`worker`], [`client`], [`checker`] (what has to hold), [`mutation`] (what is broken on purpose, to see the checker fail),
//! [`seeds`] (many seeds, and what is said about one that fails), [`tests`].

mod bus;
mod checker;
mod client;
mod coordinator;
mod expected;
mod faults;
mod mutation;
mod net;
mod scheduler;
mod seeds;
mod tests;
mod worker;
mod world;
