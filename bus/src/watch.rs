//! Watching the last message of every subject, then what follows: the coordinator's index and the agents' cards.

use async_nats::jetstream::consumer::pull::{Ordered, OrderedConfig};
use async_nats::jetstream::consumer::{Consumer, DeliverPolicy};
use futures_util::StreamExt as _;
use tokio::sync::watch;

use crate::connection::Bus;
use crate::message::Incoming;

/// A watch cannot be set up.
#[derive(Debug, thiserror::Error)]
#[error("{stream} cannot be watched: {detail}")]
pub struct WatchError {
    stream: &'static str,
    detail: String,
}

/// One message of a watch.
#[derive(Debug, Clone)]
pub struct Watched {
    /// The message; without its payload in a watch of headers.
    pub message: Incoming,
    /// Where it stands in the stream.
    pub seq: u64,
    /// Messages behind it that the watch has still to bring.
    pub pending: u64,
}

/// Messages of a stream: the last of each subject, then every new one.
pub struct Watch {
    messages: Ordered,
    connections: watch::Receiver<u64>,
    stream: &'static str,
    /// Messages that were there when the watch began.
    pub initial: u64,
}

/// What a watch brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Headers and payloads.
    Whole,
    /// Headers alone.
    Headers,
}

impl Bus {
    /// Watches the subjects of `filter` on `stream`.
    ///
    /// # Errors
    /// When the stream is not there or the server does not answer.
    pub async fn watch(
        &self,
        stream: &'static str,
        filter: &str,
        content: Content,
    ) -> Result<Watch, WatchError> {
        let failed = |detail: String| WatchError { stream, detail };
        let mut connections = self.connections.clone();
        connections.mark_unchanged();
        let context = async_nats::jetstream::new(self.client.clone());
        let found = context
            .get_stream_no_info(stream)
            .await
            .map_err(|error| failed(error.to_string()))?;
        let config = OrderedConfig {
            filter_subject: filter.to_owned(),
            deliver_policy: DeliverPolicy::LastPerSubject,
            headers_only: content == Content::Headers,
            ..OrderedConfig::default()
        };
        let consumer: Consumer<OrderedConfig> = found
            .create_consumer(config)
            .await
            .map_err(|error| failed(error.to_string()))?;
        let initial = consumer.cached_info().num_pending;
        let messages = consumer
            .messages()
            .await
            .map_err(|error| failed(error.to_string()))?;
        Ok(Watch {
            messages,
            connections,
            stream,
            initial,
        })
    }
}

impl Watch {
    /// The next message.
    ///
    /// # Errors
    /// When the watch broke: set up a new one. It does with the connection, as a server that was restarted has forgotten the
    /// consumer, and the client library would ask for that only after 15 s of silence.
    pub async fn next(&mut self) -> Result<Watched, WatchError> {
        let failed = |stream, detail: String| WatchError { stream, detail };
        let next = tokio::select! {
            biased;
            Ok(()) = self.connections.changed() => {
                return Err(failed(self.stream, "the connection was lost meanwhile".to_owned()));
            }
            next = self.messages.next() => next,
        };
        match next {
            None => Err(failed(self.stream, "the watch ended".to_owned())),
            Some(Err(error)) => Err(failed(self.stream, error.to_string())),
            Some(Ok(message)) => {
                let info = message
                    .info()
                    .map_err(|error| failed(self.stream, error.to_string()))?;
                let (seq, pending) = (info.stream_sequence, info.pending);
                Ok(Watched {
                    message: message.message.into(),
                    seq,
                    pending,
                })
            }
        }
    }
}
