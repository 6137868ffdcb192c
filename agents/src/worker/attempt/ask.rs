//! One turn of the model: asked, streamed, read.

use futures_util::StreamExt as _;
use swarm_bus::fence::{Journal, Verdict};
use swarm_model::{ChatError, ChatEvent, ChatRequest, Completion};
use swarm_protocol::ErrorBody;
use swarm_protocol::chunk::Kind;
use swarm_protocol::error::chain;
use swarm_protocol::journal::ModelTurn;
use swarm_protocol::metrics as names;
use tokio::time::{Duration, Instant};

use super::{Attempt, Interruption, millis, model_error};
use crate::agent_loop::AgentLoop;
use crate::worker::Shared;
use crate::worker::chunks::ChunkWriter;
use crate::worker::spans::chat;

/// Why a try brought no turn.
enum Miss {
    /// The deadline of the attempt has passed.
    Late,
    /// The host did not do it.
    Host(ChatError),
}

impl Attempt<'_> {
    /// One turn of the model, streamed. The inner error is the attempt's, the outer one stops it.
    pub(super) async fn ask(
        &mut self,
        request: ChatRequest,
        agent: &AgentLoop,
        journal: &Journal,
    ) -> Result<Result<ModelTurn, ErrorBody>, Interruption> {
        let first = self.try_once(request.clone(), agent, journal).await?;
        let outcome = match first {
            // What came is no answer, but the next try may bring one.
            Err(Miss::Host(error @ (ChatError::MidStream { .. } | ChatError::NoDone))) => {
                tracing::info!(error = chain(&error), "asking again");
                let broken = "the answer broke off and begins again";
                self.chunks.say(broken).await;
                self.try_once(request, agent, journal).await?
            }
            outcome => outcome,
        };
        match outcome {
            Ok(turn) => Ok(Ok(self.measured(turn))),
            Err(Miss::Host(ChatError::Connect { .. })) if self.may_wait() => {
                Err(self.host_is_down())
            }
            Err(Miss::Host(error)) => {
                tracing::warn!(error = chain(&error), "the model failed");
                Ok(Err(model_error(&error)))
            }
            Err(Miss::Late) => Ok(Err(self.too_late())),
        }
    }

    async fn try_once(
        &mut self,
        request: ChatRequest,
        agent: &AgentLoop,
        journal: &Journal,
    ) -> Result<Result<ModelTurn, Miss>, Interruption> {
        let began = Instant::now();
        let span = self.spans().chat(&request.model, request.num_predict, || {
            chat(&request.messages)
        });
        let streams = agent.streams_text();
        let stop = self.stop(Some(self.deadline()));
        let lost = lost(journal, self.shared.options.work_ack_wait / 3);
        let asking = stream_turn(self.shared, request, &mut self.chunks, streams);
        let asked = tokio::select! {
            asked = stop.or(asking) => asked?,
            lost = lost => return Err(lost),
        };
        let Some(completion) = asked else {
            span.end(Err(self.too_late()));
            return Ok(Err(Miss::Late));
        };
        let took = millis(began.elapsed());
        let turn = match completion {
            Ok(completion) => agent.read(completion, took),
            Err(error) => {
                span.end(Err(model_error(&error)));
                // What is the model's own fault, it may do better.
                return Ok(agent.read_error(&error, took).ok_or(Miss::Host(error)));
            }
        };
        span.end(Ok(&turn));
        if !streams && turn.problem.is_none() {
            self.chunks.push(Kind::Text, &turn.text).await;
            self.chunks.flush().await;
        }
        Ok(Ok(turn))
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

/// Returns when the journal has gone on without this delivery: a worker that was stopped, or cut off, finds out before its
/// model has answered.
async fn lost(journal: &Journal, period: Duration) -> Interruption {
    loop {
        tokio::time::sleep(period).await;
        match journal.verdict().await {
            Ok(Verdict::Fresh | Verdict::Own) => {}
            Ok(verdict) => {
                tracing::info!(?verdict, "the attempt is lost; its model call is canceled");
                return Interruption::Superseded(verdict);
            }
            Err(error) => tracing::debug!(error = chain(&error), "the journal was not read"),
        }
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
