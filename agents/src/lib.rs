//! Agent workers: the shipped roles, the loop that an agent thinks in, and the worker that takes attempts from the bus.
//!
//! This crate owns what an agent does with one attempt. It must not know how runs are put together: it sees work, a journal
//! and a model, never a run log.
//!
//! Reading order: [`roles`], [`agent_loop`] with [`salvage`] and [`thinking`] (pure; `measures` says what of it is there because
//! models are small), [`interrupted`] and [`poison`] (pure), [`worker`]; inside the worker: one attempt, its chunks, the cancels, and the card.

pub mod agent_loop;
pub mod interrupted;
mod measures;
pub mod poison;
pub mod roles;
pub mod salvage;
pub mod thinking;
pub mod worker;

pub use worker::{Options, Profile, Worker, WorkerError};
