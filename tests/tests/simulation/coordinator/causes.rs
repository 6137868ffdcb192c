//! What is delivered to a coordinator: submissions and the ends of attempts. See `coordinator/src/submissions.rs` and
//! `journals.rs`.

use std::rc::Rc;

use swarm_protocol::error::ErrorBody;
use swarm_protocol::event::Cause;
use swarm_protocol::journal::Entry;
use swarm_protocol::submission::content_hash;
use swarm_protocol::{Code, RunId, Submission, subjects, version};
use swarm_workflow::{Input, State, Submit};

use super::transition::{Outcome, Trouble};
use super::{Coordinator, JOURNAL, SUBMIT};
use crate::bus::{Delivery, Message, StreamName};
use crate::mutation::Mutation;
use crate::net::json;

/// Pause before a cause is delivered again that could not be worked on.
const TROUBLE_PAUSE: u64 = 1_000;

/// What a submission is whose run exists.
enum Repeated {
    /// The same one again, or its redelivery.
    Done,
    /// Another one under the same id.
    Conflict,
}

impl Coordinator {
    /// Takes submissions for ever.
    pub async fn take_submissions(self: Rc<Self>) {
        loop {
            let delivery = self.net.pull("take submission", SUBMIT).await;
            self.accept(delivery).await;
        }
    }

    async fn accept(&self, delivery: Delivery) {
        let id = delivery.message.id.clone().unwrap();
        let run = RunId::from_message_id(&id);
        let payload = &delivery.message.payload;
        let submit = Submit {
            submission: Submission::parse(payload),
            excerpt: String::from_utf8_lossy(payload).chars().take(80).collect(),
            content_sha256: content_hash(payload, None),
            target: None,
            submitted_at: delivery.message.stored_at.min(self.clock()),
            reply: None,
            traceparent: None,
        };
        let cause = cause_of(&delivery, StreamName::Inbox);
        let outcome = self
            .transition(run, Input::Submit(&submit, &self.team), &cause)
            .await;
        let settled = match outcome {
            Ok(Outcome::Applied) => Ok(Repeated::Done),
            Ok(Outcome::Ignored(state)) => {
                self.repeated(run, state.as_deref(), &submit, &cause).await
            }
            Err(trouble) => Err(trouble),
        };
        match settled {
            Ok(Repeated::Done) => self.net.ack("ack submission", delivery).await,
            Ok(Repeated::Conflict) => {
                self.sim.note("a conflict was refused");
                let problem = ErrorBody::new(
                    Code::Conflict,
                    format!("run {run} exists with other content"),
                );
                if self.bury(&delivery, &problem).await {
                    self.net.ack("ack submission", delivery).await;
                } else {
                    self.net.retry(delivery, TROUBLE_PAUSE);
                }
            }
            Err(_) => self.net.retry(delivery, TROUBLE_PAUSE),
        }
    }

    async fn repeated(
        &self,
        run: RunId,
        state: Option<&State>,
        submit: &Submit,
        cause: &Cause,
    ) -> Result<Repeated, Trouble> {
        let Some(state) = state else {
            return Ok(Repeated::Done);
        };
        if state.content_sha256() != submit.content_sha256
            && !self.sim.is_mutated(Mutation::NoConflict)
        {
            return Ok(Repeated::Conflict);
        }
        self.repeat_effects(run, cause).await?;
        Ok(Repeated::Done)
    }

    /// Sets a submission aside. Whether the letter is stored.
    async fn bury(&self, delivery: &Delivery, problem: &ErrorBody) -> bool {
        let message = Message {
            stream: StreamName::Dead,
            subject: subjects::dead_inbox(),
            payload: json(problem),
            summary: None,
            id: Some(format!(
                "dead:{}:{}",
                StreamName::Inbox.as_str(),
                delivery.message.seq
            )),
            expect: None,
        };
        matches!(
            self.net.store("store dead letter", message).await,
            Ok(Ok(_))
        )
    }

    /// Follows the ends of attempts for ever.
    pub async fn follow_journals(self: Rc<Self>) {
        loop {
            let delivery = self.net.pull("take journal entry", JOURNAL).await;
            self.follow(delivery).await;
        }
    }

    async fn follow(&self, delivery: Delivery) {
        let entry: Entry = version::read(&delivery.message.payload).unwrap();
        let cause = cause_of(&delivery, StreamName::Runs);
        if self.sim.is_mutated(Mutation::AckBeforeEffects) {
            let Delivery {
                consumer,
                message,
                delivery: count,
                token,
            } = &delivery;
            let early = Delivery {
                consumer: consumer.clone(),
                message: Rc::clone(message),
                delivery: *count,
                token: Rc::clone(token),
            };
            self.net.ack("ack journal entry", early).await;
        }
        match self.task_ended(&entry, &cause).await {
            Ok(()) => self.net.ack("ack journal entry", delivery).await,
            Err(_) => self.net.retry(delivery, TROUBLE_PAUSE),
        }
    }

    async fn task_ended(&self, entry: &Entry, cause: &Cause) -> Result<(), Trouble> {
        let Some(input) = Input::of_entry(entry) else {
            return Ok(());
        };
        match self.transition(entry.run, input, cause).await? {
            Outcome::Applied => {}
            Outcome::Ignored(_) => {
                self.repeat_effects(entry.run, cause).await?;
            }
        }
        Ok(())
    }
}

fn cause_of(delivery: &Delivery, stream: StreamName) -> Cause {
    Cause::Message {
        stream: stream.as_str().to_owned(),
        seq: delivery.message.seq,
    }
}
