//! NATS as Swarm uses it: one connection a process, the topology, deliveries that own their ack, the work loop, the fence.
//!
//! This crate owns everything that is said to a NATS server, and is the only product crate on async-nats: none of that
//! crate's types appear in its interface. It must not know what a run is for: no decisions about runs, agents or models.
//!
//! Reading order: [`connection`], [`message`], [`topology`], [`publish`], [`read`], [`delivery`], `alive`, [`pull`],
//! [`gate`], [`work_loop`], [`fence`], [`watch`], [`cards`], [`service`],
//! [`store`].

pub mod cards;
pub mod connection;
pub mod dead;
pub mod delivery;
pub mod fence;
pub mod gate;
pub mod inspect;
pub mod message;
pub mod publish;
pub mod pull;
pub mod read;
pub mod service;
pub mod store;
pub mod topology;
pub mod watch;
pub mod work_loop;

mod alive;
mod api;

pub use connection::{Bus, ConnectError, Options, Role};
pub use delivery::Delivery;
pub use message::{Incoming, Outgoing, Subscription};
pub use publish::PublishError;
pub use read::{Kind, ReadError, StoredMessage};
