//! What an attempt ends with, and the entries that it writes.

use swarm_protocol::journal::{Approval, Body, Entry, Suspended};
use swarm_protocol::limits::MAX_ANSWER;
use swarm_protocol::{Answer, AnswerStatus, Code, ErrorBody, Timestamp, blob};

use super::{Attempt, Interruption, millis};
use crate::agent_loop::AgentLoop;

impl Attempt<'_> {
    pub(super) async fn completed(
        &self,
        agent: &AgentLoop,
        text: String,
    ) -> Result<Body, Interruption> {
        if text.len() > MAX_ANSWER {
            let message = format!(
                "the answer has {} KiB: at most {} are kept",
                text.len() / 1024,
                MAX_ANSWER / 1024
            );
            let error = ErrorBody::new(Code::TooLarge, message);
            return self.failed(agent, error).await;
        }
        let mut answer = self.answer(agent, AnswerStatus::Completed);
        self.set_text(&mut answer, text).await?;
        Ok(Body::Completed(Box::new(answer)))
    }

    /// Failed, with what there is of an answer.
    pub(super) async fn failed(
        &self,
        agent: &AgentLoop,
        error: ErrorBody,
    ) -> Result<Body, Interruption> {
        let mut answer = self.answer(agent, AnswerStatus::Failed);
        match agent.partial() {
            Some(text) if text.len() > MAX_ANSWER => answer.text = Some(blob::beginning(text)),
            Some(text) => self.set_text(&mut answer, text.to_owned()).await?,
            None => {}
        }
        answer.error = Some(error);
        Ok(Body::Failed(Box::new(answer)))
    }

    /// Waits for a person to decide about these calls.
    pub(super) fn suspended(&self, agent: &AgentLoop, approvals: Vec<Approval>) -> Body {
        tracing::info!(
            calls = approvals.len(),
            "a person is asked about calls that may have run"
        );
        Body::Suspended(Box::new(Suspended {
            agent: self.work.agent.clone(),
            approvals,
            usage: agent.usage(),
            elapsed_ms: millis(self.began.elapsed()),
        }))
    }

    fn answer(&self, agent: &AgentLoop, status: AnswerStatus) -> Answer {
        let answer = agent.answer(&self.work, status);
        Answer {
            elapsed_ms: answer.elapsed_ms.max(millis(self.began.elapsed())),
            ..answer
        }
    }

    pub(super) fn entry(&self, body: Body) -> Entry {
        Entry {
            turn_ms: body.answer().and(self.unrecorded_turn_ms),
            ..(self.claim).entry(&self.shared.options.instance, Timestamp::now(), body)
        }
    }
}
