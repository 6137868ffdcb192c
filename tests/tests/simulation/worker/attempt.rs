//! One attempt: decode -> replay -> think -> record -> settle. See `agents/src/worker/attempt.rs`.

use std::collections::HashSet;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::{Either, select};
use swarm_agents::agent_loop::{AgentLoop, Step};
use swarm_agents::poison;
use swarm_bus::fence::{Claim, Verdict};
use swarm_model::{ChatError, ChatRequest};
use swarm_protocol::journal::{Approval, Body, Entry, ModelTurn, PeerMessage, Suspended};
use swarm_protocol::work::Work;
use swarm_protocol::{Answer, AnswerStatus, Code, ErrorBody, subjects, version};

use super::journal::{AppendError, Journal};
use super::{Letters, Stop, WORK_ACK_WAIT, Worker, model};
use crate::bus::{Delivery, Message, StreamName};
use crate::faults::Fault;
use crate::mutation::Mutation;
use crate::net::{NoWord, json};
use crate::scheduler::When;

/// The first delivery of a first attempt takes the journal for empty while its work is younger than this.
const FRESH: Duration = Duration::from_secs(1);

/// Work that is handed back is taken by another instance after this pause, in milliseconds.
const HAND_BACK_PAUSE: u64 = 10;

/// Pause before work is tried again whose journal could not be read or written, in milliseconds.
const TROUBLE_PAUSE: u64 = 2_000;

/// Deliveries of an attempt that may end because no model host answers.
const MOST_WAITS: u64 = 8;

/// How an attempt is settled.
enum Settlement {
    Ack,
    Abandon,
    Retry(u64),
}

/// Why thinking stopped without an answer.
pub enum Interruption {
    /// The journal went on without this delivery.
    Superseded(Verdict),
    /// The run is being canceled.
    Canceled,
    /// The worker is stopped.
    HandedBack,
    /// No model host answers.
    HostDown,
    /// It was delivered so often that it is set aside.
    Poison(Box<Journal>, Vec<Entry>),
    /// The journal cannot be read or written now.
    Trouble,
}

impl From<AppendError> for Interruption {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Superseded(verdict) => Self::Superseded(verdict),
            AppendError::NoWord => Self::Trouble,
        }
    }
}

impl From<NoWord> for Interruption {
    fn from(_: NoWord) -> Self {
        Self::Trouble
    }
}

impl From<Stop> for Interruption {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Canceled => Self::Canceled,
            Stop::HandedBack => Self::HandedBack,
        }
    }
}

/// One delivery of one attempt.
pub struct Attempt<'a> {
    /// Whose it is.
    pub worker: &'a Worker,
    /// What is to be done.
    pub work: Work,
    /// Which delivery of it this is.
    pub claim: Claim,
    /// Calls that this delivery has begun.
    pub begun: HashSet<String>,
    delivery: &'a Delivery,
    superseded: bool,
    unrecorded_turn_ms: Option<u64>,
    mailbox: Letters,
}

impl<'a> Attempt<'a> {
    /// Works on a delivery and settles it.
    pub async fn work_on(worker: &'a Worker, delivery: Delivery) {
        let work: Work = version::read(&delivery.message.payload).unwrap();
        let settlement = Attempt::new(worker, work, &delivery).settle().await;
        match settlement {
            Settlement::Ack => worker.net.ack("ack work", delivery).await,
            Settlement::Abandon if worker.sim.is_mutated(Mutation::AcksWhatIsLive) => {
                worker.net.ack("ack work", delivery).await;
            }
            Settlement::Abandon => worker.sim.note("a delivery was abandoned"),
            Settlement::Retry(pause) => worker.net.retry(delivery, pause),
        }
    }

    fn new<'b>(worker: &'b Worker, work: Work, delivery: &'b Delivery) -> Attempt<'b> {
        let claim = Claim {
            run: work.run,
            task: work.task.clone(),
            attempt: work.attempt,
            work_seq: delivery.message.seq,
            delivery: delivery.delivery,
        };
        Attempt {
            worker,
            mailbox: worker.mailbox(work.run),
            work,
            claim,
            begun: HashSet::new(),
            delivery,
            superseded: false,
            unrecorded_turn_ms: None,
        }
    }

    /// Replays, thinks and records until the attempt is settled.
    async fn settle(mut self) -> Settlement {
        loop {
            let interruption = match self.open().await {
                Ok((journal, entries)) => match self.think(journal, &entries).await {
                    Ok(()) => return Settlement::Ack,
                    Err(interruption) => interruption,
                },
                Err(interruption) => interruption,
            };
            match interruption {
                Interruption::Superseded(verdict) => {
                    self.worker.sim.note(match verdict {
                        Verdict::Ended => "a worker found its attempt ended",
                        Verdict::Duplicate => "a worker found a duplicate",
                        Verdict::Lost => "a worker found its attempt lost",
                        Verdict::TakeOver | Verdict::Fresh | Verdict::Own => "a worker took over",
                    });
                    match verdict {
                        Verdict::TakeOver | Verdict::Fresh | Verdict::Own => self.superseded = true,
                        Verdict::Ended | Verdict::Duplicate => return Settlement::Ack,
                        Verdict::Lost => return Settlement::Abandon,
                    }
                }
                Interruption::Canceled => return self.settle_cancel().await,
                Interruption::Poison(journal, entries) => {
                    return self.settle_poison(*journal, &entries).await;
                }
                Interruption::HostDown | Interruption::Trouble => {
                    return Settlement::Retry(TROUBLE_PAUSE);
                }
                Interruption::HandedBack => {
                    self.worker.sim.note("work was handed back");
                    return Settlement::Retry(HAND_BACK_PAUSE);
                }
            }
        }
    }

    async fn settle_cancel(&self) -> Settlement {
        self.worker.sim.note("a worker heard of a cancel");
        match Journal::open(self.worker, self.claim.clone()).await {
            Ok((_, _, Verdict::Ended)) => Settlement::Ack,
            _ => Settlement::Retry(HAND_BACK_PAUSE),
        }
    }

    async fn open(&self) -> Result<(Journal, Vec<Entry>), Interruption> {
        let sim = &self.worker.sim;
        let age = sim
            .clock(self.worker.net.process)
            .since(self.delivery.message.stored_at);
        let first = self.work.attempt == 1 && self.claim.delivery == 1 && !self.superseded;
        if first && age < FRESH {
            sim.note("a journal was taken for empty");
            return Ok((
                Journal::assume_empty(self.worker, self.claim.clone()),
                Vec::new(),
            ));
        }
        match Journal::open(self.worker, self.claim.clone()).await? {
            (journal, entries, Verdict::Fresh | Verdict::Own | Verdict::TakeOver) => {
                if self.is_poison(&entries) {
                    return Err(Interruption::Poison(Box::new(journal), entries));
                }
                Ok((journal, entries))
            }
            (_, _, verdict) => Err(Interruption::Superseded(verdict)),
        }
    }

    /// Whether the work ends its workers without a word.
    fn is_poison(&self, entries: &[Entry]) -> bool {
        let is_poison = poison::is_poison(
            &self.claim,
            entries,
            self.delivery.message.stored_at,
            self.worker.sim.clock(self.worker.net.process),
            Duration::from_millis(WORK_ACK_WAIT),
        );
        is_poison && !self.worker.sim.is_mutated(Mutation::NoPoison)
    }

    /// A dead letter first: whoever finds the attempt ended finds it, too.
    async fn settle_poison(&self, journal: Journal, entries: &[Entry]) -> Settlement {
        let error = ErrorBody::new(Code::Poison, "its workers end without a word");
        let letter = Message {
            stream: StreamName::Dead,
            subject: subjects::dead_agent(&self.work.agent),
            payload: json(&self.work),
            summary: None,
            id: Some(format!(
                "dead:{}:{}",
                StreamName::Work.as_str(),
                self.claim.work_seq
            )),
            expect: None,
        };
        if !matches!(
            self.worker.net.store("store dead letter", letter).await,
            Ok(Ok(_))
        ) {
            return Settlement::Retry(TROUBLE_PAUSE);
        }
        self.worker.sim.note("poison was set aside");
        let mut agent = self.begin();
        self.replay(&mut agent, entries);
        let failed = self.failed(&agent, error);
        match self.end(journal, failed).await {
            Ok(()) => Settlement::Ack,
            Err(Interruption::Superseded(Verdict::Ended | Verdict::Duplicate)) => Settlement::Ack,
            Err(Interruption::Superseded(_)) => Settlement::Abandon,
            Err(_) => Settlement::Retry(TROUBLE_PAUSE),
        }
    }

    /// Goes on from the journal to the end of the attempt, which is recorded when this returns.
    async fn think(&mut self, mut journal: Journal, entries: &[Entry]) -> Result<(), Interruption> {
        let mut agent = self.begin();
        let interrupted = self.replay(&mut agent, entries);
        loop {
            let end = match agent.step() {
                Step::Answer(text) => self.completed(&agent, text),
                Step::Fail(error) => self.failed(&agent, error),
                Step::Call(calls) => match self.to_ask_about(&calls, &interrupted) {
                    Some(approvals) => self.suspended(&agent, approvals),
                    None => {
                        self.call(&mut agent, &mut journal, calls, &interrupted)
                            .await?;
                        continue;
                    }
                },
                Step::Ask(_) if self.take_messages(&mut agent, &mut journal).await? => continue,
                Step::Ask(request) => match self.ask(&request, &agent, &journal).await? {
                    Err(error) => self.failed(&agent, error),
                    Ok(turn) => {
                        agent.take(&turn);
                        self.unrecorded_turn_ms = Some(turn.elapsed_ms);
                        // The last turn is recorded by the end itself.
                        if !agent.is_over() {
                            let entry = self.entry(Body::ModelTurn(turn));
                            journal.append("append turn", &entry).await?;
                            self.unrecorded_turn_ms = None;
                        }
                        continue;
                    }
                },
            };
            return self.end(journal, end).await;
        }
    }

    /// Feeds the loop with what is recorded. The calls that may have run, for nobody has recorded their result.
    fn replay(&self, agent: &mut AgentLoop, entries: &[Entry]) -> HashSet<String> {
        let sim = &self.worker.sim;
        if entries.is_empty() || sim.is_mutated(Mutation::ForgetsJournal) {
            return HashSet::new();
        }
        for entry in entries {
            let is_result = matches!(entry.body, Body::ToolResult(_));
            if !(is_result && sim.is_mutated(Mutation::ForgetsResults)) {
                agent.replay(entry, self.work.attempt);
            }
        }
        if sim.is_mutated(Mutation::AsksAboutTheNext) {
            return match agent.step() {
                Step::Call(calls) => calls.into_iter().map(|call| call.tool_use_id).collect(),
                _ => HashSet::new(),
            };
        }
        let open = agent.open_calls();
        open.map(|call| call.tool_use_id.clone()).collect()
    }

    /// Takes the messages to the task that the chat does not have yet. Whether there were any.
    async fn take_messages(
        &mut self,
        agent: &mut AgentLoop,
        journal: &mut Journal,
    ) -> Result<bool, Interruption> {
        let came = std::mem::take(&mut *self.mailbox.borrow_mut());
        let all: Vec<PeerMessage> = self.work.messages.iter().cloned().chain(came).collect();
        let mut any = false;
        for message in all {
            if agent.has_message(&message) {
                continue;
            }
            let entry = self.entry(Body::MessageReceived(message.clone()));
            journal.append("append message", &entry).await?;
            agent.take_message(&message);
            self.worker.sim.note("a message was received");
            any = true;
        }
        Ok(any)
    }

    /// One turn of the model. The inner error is the attempt's, the outer one stops it.
    async fn ask(
        &self,
        request: &ChatRequest,
        agent: &AgentLoop,
        journal: &Journal,
    ) -> Result<Result<ModelTurn, ErrorBody>, Interruption> {
        let (sim, process) = (&self.worker.sim, self.worker.net.process);
        let checker = &self.worker.checker;
        checker
            .borrow_mut()
            .asked(sim, &self.work, journal.last, request);
        if self.work.input.contains(model::POISON) {
            sim.count(Fault::Poison);
            sim.kill(process);
            return std::future::pending().await;
        }
        let asking = async {
            let span = model::span(sim);
            sim.sleep(span / 2).await;
            sim.crash_point(process, When::During, "ask model").await;
            sim.sleep(span / 2).await;
            model::turn(sim)
        };
        let asking = std::pin::pin!(asking);
        let lost = std::pin::pin!(self.lost(journal));
        let asked = match select(
            std::pin::pin!(self.worker.unless_stopped(self.work.run, asking)),
            lost,
        )
        .await
        {
            Either::Left((asked, _)) => asked?,
            Either::Right((lost, _)) => return Err(lost),
        };
        Ok(match asked {
            Ok(completion) => Ok(agent.read(completion, 7)),
            Err(ChatError::Connect { .. }) if self.claim.delivery <= MOST_WAITS => {
                return Err(Interruption::HostDown);
            }
            Err(error) => agent
                .read_error(&error, 7)
                .ok_or_else(|| ErrorBody::new(error.code(), error.to_string())),
        })
    }

    /// Returns when the journal has gone on without this delivery.
    async fn lost(&self, journal: &Journal) -> Interruption {
        loop {
            self.worker.sim.sleep(WORK_ACK_WAIT / 3).await;
            match journal.verdict().await {
                Ok(Verdict::Fresh | Verdict::Own) | Err(NoWord) => {}
                Ok(verdict) => {
                    self.worker.sim.note("a model call was given up");
                    return Interruption::Superseded(verdict);
                }
            }
        }
    }

    async fn end(&self, mut journal: Journal, end: Body) -> Result<(), Interruption> {
        if self.worker.sim.is_mutated(Mutation::AckBeforeEnd) {
            let Delivery {
                consumer,
                message,
                delivery,
                token,
            } = self.delivery;
            let early = Delivery {
                consumer: consumer.clone(),
                message: Rc::clone(message),
                delivery: *delivery,
                token: Rc::clone(token),
            };
            self.worker.net.ack("ack work", early).await;
        }
        journal.append("append end", &self.entry(end)).await?;
        Ok(())
    }

    fn begin(&self) -> AgentLoop {
        AgentLoop::new(
            model::settings(),
            model::facts(),
            model::offers(),
            &self.work,
        )
    }

    fn completed(&self, agent: &AgentLoop, text: String) -> Body {
        let mut answer = self.answer(agent, AnswerStatus::Completed);
        answer.text = Some(text);
        Body::Completed(Box::new(answer))
    }

    fn failed(&self, agent: &AgentLoop, error: ErrorBody) -> Body {
        let mut answer = self.answer(agent, AnswerStatus::Failed);
        answer.text = agent.partial().map(str::to_owned);
        answer.error = Some(error);
        Body::Failed(Box::new(answer))
    }

    fn suspended(&self, agent: &AgentLoop, approvals: Vec<Approval>) -> Body {
        self.worker.sim.note("an attempt was suspended");
        Body::Suspended(Box::new(Suspended {
            agent: self.work.agent.clone(),
            approvals,
            usage: agent.usage(),
            elapsed_ms: agent.elapsed_ms(),
        }))
    }

    fn answer(&self, agent: &AgentLoop, status: AnswerStatus) -> Answer {
        agent.answer(&self.work, status)
    }

    /// An entry of this attempt.
    pub fn entry(&self, body: Body) -> Entry {
        let now = self.worker.sim.clock(self.worker.net.process);
        Entry {
            turn_ms: body.answer().and(self.unrecorded_turn_ms),
            ..self.claim.entry(&self.worker.instance, now, body)
        }
    }
}
