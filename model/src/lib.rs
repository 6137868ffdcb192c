//! What Swarm says to a language model, and how it reaches one: the [`ChatModel`] trait and the Ollama transport.
//!
//! This crate owns the words of a chat ([`Message`], [`ChatRequest`], [`ChatEvent`]), the errors of a model call, and
//! everything that is said to an Ollama host; it is the only crate on ollama-rs. It must not know what an answer is for:
//! no agents, tools, runs or NATS. Of a call it tries again only what no host has begun to answer; callers decide about the
//! rest by [`ChatError::is_retryable`].
//!
//! Reading order: [`chat`], [`error`], [`ollama`]; pure and for whoever puts a chat together: [`context`], [`markers`],
//! [`repetition`]. `measures` says which of it is there because models are small.

pub mod chat;
pub mod context;
pub mod error;
pub mod markers;
mod measures;
pub mod ollama;
pub mod repetition;

pub use chat::{
    ChatEvent, ChatModel, ChatRequest, ChatStream, Completion, DoneReason, Look, Message,
    ModelFacts, Role, ToolCall, ToolOffer,
};
pub use error::ChatError;
pub use ollama::{
    CloudSwitch, Deadlines, HostModel, HostReport, HostState, Ollama, Options, OptionsError,
};
