//! One turn of the model: asked, streamed, read.

use futures_util::StreamExt as _;
use swarm_model::{ChatError, ChatEvent, ChatRequest, Completion};
use swarm_protocol::ErrorBody;
use swarm_protocol::chunk::Kind;
use swarm_protocol::error::chain;
use swarm_protocol::journal::ModelTurn;
use swarm_protocol::metrics as names;
use tokio::time::Instant;

use super::{Attempt, Interruption, Stop, millis, model_error};
use crate::agent_loop::AgentLoop;
use crate::worker::Shared;
use crate::worker::chunks::ChunkWriter;

impl Attempt<'_> {
    /// One turn of the model, streamed. The inner error is the attempt's, the outer one stops it.
    pub(super) async fn ask(
        &mut self,
        request: ChatRequest,
        agent: &AgentLoop,
    ) -> Result<Result<ModelTurn, ErrorBody>, Interruption> {
        let mut is_second_try = false;
        loop {
            let began = Instant::now();
            let streams = agent.streams_text();
            let asking = stream_turn(self.shared, request.clone(), &mut self.chunks, streams);
            let stop = Stop::of(self.shared, self.work.run, self.began);
            let Some(completion) = stop.or(asking).await? else {
                return Ok(Err(self.too_late()));
            };
            let took = millis(began.elapsed());
            let error = match completion {
                Ok(completion) => {
                    let turn = agent.read(completion, took);
                    if !streams && turn.problem.is_none() {
                        self.chunks.push(Kind::Text, &turn.text).await;
                        self.chunks.flush().await;
                    }
                    return Ok(Ok(self.measured(turn)));
                }
                Err(error) => error,
            };
            if let Some(turn) = agent.read_error(&error, took) {
                tracing::info!(error = chain(&error), "the turn is no answer");
                return Ok(Ok(self.measured(turn)));
            }
            match error {
                ChatError::Connect { .. } if self.may_wait() => return Err(self.host_is_down()),
                // What came is no answer, but the next try may bring one.
                ChatError::MidStream { .. } | ChatError::NoDone if !is_second_try => {
                    tracing::info!(error = chain(&error), "asking again");
                    self.chunks
                        .say("the answer broke off and begins again")
                        .await;
                    is_second_try = true;
                }
                error => {
                    tracing::warn!(error = chain(&error), "the model failed");
                    return Ok(Err(model_error(&error)));
                }
            }
        }
    }

    fn measured(&self, turn: ModelTurn) -> ModelTurn {
        let agent = self.work.agent.to_string();
        let labels = [("agent", agent), ("model", turn.model.clone())];
        let usage = turn.usage;
        metrics::histogram!(names::MODEL_SECONDS, &labels).record(turn.elapsed_ms as f64 / 1000.0);
        for (direction, tokens) in [
            ("input", usage.input_tokens),
            ("output", usage.output_tokens),
        ] {
            let [agent, model] = labels.clone();
            let labels = [agent, model, ("direction", direction.to_owned())];
            metrics::counter!(names::MODEL_TOKENS, &labels).increment(tokens);
        }
        turn
    }
}

/// Passes the model's pieces on as chunks until the turn is complete; its text only when that is for the reader.
async fn stream_turn(
    shared: &Shared,
    request: ChatRequest,
    chunks: &mut ChunkWriter,
    streams_text: bool,
) -> Result<Completion, ChatError> {
    let mut events = shared.model.chat(request);
    loop {
        let due = chunks.due();
        let flush = async {
            match due {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            event = events.next() => match event {
                Some(Ok(ChatEvent::Text(text))) => if streams_text {
                    chunks.push(Kind::Text, &text).await;
                },
                Some(Ok(ChatEvent::Thinking(text))) => chunks.push(Kind::Thinking, &text).await,
                // Shown when it is run.
                Some(Ok(ChatEvent::ToolCall(_))) => {}
                Some(Ok(ChatEvent::Done(completion))) => {
                    chunks.flush().await;
                    return Ok(completion);
                }
                Some(Err(error)) => return Err(error),
                None => return Err(ChatError::NoDone),
            },
            () = flush => chunks.flush().await,
        }
    }
}
