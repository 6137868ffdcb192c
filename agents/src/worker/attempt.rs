//! One attempt: decode -> replay -> think -> record -> settle.

mod ask;
mod blobs;
mod call;
mod decode;
mod ending;
mod messages;
mod poison;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use swarm_bus::Delivery;
use swarm_bus::fence::{AppendError, Claim, Journal, Verdict};
use swarm_model::{ChatError, ModelFacts, ToolOffer};
use swarm_protocol::card::Running;
use swarm_protocol::error::chain;
use swarm_protocol::journal::{Body, Entry};
use swarm_protocol::metrics as names;
use swarm_protocol::work::Work;
use swarm_protocol::{Code, ErrorBody, RunId, Timestamp, subjects};
use tokio::time::Instant;
use tracing::Instrument as _;

use super::Shared;
use super::chunks::ChunkWriter;
use super::mail::Mailbox;
use crate::agent_loop::{AgentLoop, Settings, Step};
use decode::{Undecided, bury, decode};

/// The first delivery of a first attempt takes the journal for empty while its work is younger than this.
const FRESH: Duration = Duration::from_secs(1);

/// Work that is handed back is taken by another instance after this pause.
const HAND_BACK_PAUSE: Duration = Duration::from_millis(10);

/// First pause before work goes on whose journal could not be read or written; it doubles up to the longest.
const TROUBLE_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_TROUBLE_PAUSE: Duration = Duration::from_secs(30);

/// Pause before work of a newer version is handed out again, maybe to an agent that reads it.
const NEWER_PAUSE: Duration = Duration::from_secs(5);

/// Deliveries of an attempt that may end because no model host answers; then it fails, before it is taken for poison.
const MOST_WAITS: u64 = 8;

/// How an attempt is settled.
#[derive(Debug, PartialEq, Eq)]
enum Settlement {
    Ack,
    Abandon,
    Retry(Duration),
}

/// Why thinking stopped without an answer.
enum Interruption {
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
    /// An entry of the journal cannot be read by this version.
    Newer(String),
    /// The journal cannot be read or written now.
    Trouble(String),
}

impl From<AppendError> for Interruption {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Superseded(verdict) => Self::Superseded(verdict),
            AppendError::Unread(unread) => Self::Newer(chain(&unread)),
            other => Self::Trouble(chain(&other)),
        }
    }
}

/// Works on a delivery and settles it.
pub(super) async fn work_on(shared: Arc<Shared>, mut delivery: Delivery) {
    delivery.keep_alive(shared.options.work_ack_wait / 3);
    let work = match decode(&shared, &delivery) {
        Ok(work) => work,
        Err(Undecided::Newer(unread)) => {
            let seq = delivery.position().seq;
            tracing::warn!(seq, error = chain(&unread), "work is handed back");
            return delivery.retry(NEWER_PAUSE).await;
        }
        Err(Undecided::Wrong(error)) => return bury(&shared, delivery, &error).await,
    };
    let (run, task, attempt) = (work.run, work.task.clone(), work.attempt);
    let _shown = shared.presence.show(Running {
        run,
        task: task.clone(),
        attempt,
    });
    let agent = work.agent.to_string();
    metrics::counter!(names::ATTEMPTS, "agent" => agent.clone()).increment(1);
    // Of the highest level, so that whatever is logged says which run it is about.
    let span = tracing::error_span!("attempt", agent, %run, %task, attempt, delivery = delivery.position().delivery);
    take(&shared, work, delivery).instrument(span).await;
}

async fn take(shared: &Shared, work: Work, delivery: Delivery) {
    tracing::debug!("took work");
    match Attempt::new(shared, work, &delivery).settle().await {
        Settlement::Ack => delivery.ack().await,
        Settlement::Abandon => delivery.abandon(),
        Settlement::Retry(after) => delivery.retry(after).await,
    }
}

/// One delivery of one attempt.
struct Attempt<'a> {
    shared: &'a Shared,
    work: Work,
    claim: Claim,
    delivery: &'a Delivery,
    began: Instant,
    chunks: ChunkWriter,
    /// Whether the journal has already turned out not to be empty.
    superseded: bool,
    /// How long the last turn took, while no entry holds it.
    unrecorded_turn_ms: Option<u64>,
    /// Messages to the task that came while it runs.
    mailbox: Mailbox,
    /// Calls that this delivery has begun.
    begun: HashSet<String>,
}

impl<'a> Attempt<'a> {
    fn new(shared: &'a Shared, work: Work, delivery: &'a Delivery) -> Self {
        let position = delivery.position();
        let claim = Claim {
            run: work.run,
            task: work.task.clone(),
            attempt: work.attempt,
            work_seq: position.seq,
            delivery: position.delivery,
        };
        let subject = subjects::out(work.run, &work.task);
        let chunks = ChunkWriter::new(
            &shared.bus,
            subject,
            delivery.trace(),
            work.attempt,
            position.delivery,
        );
        let mailbox = shared.mail.watch(work.run);
        Self {
            shared,
            work,
            claim,
            delivery,
            began: Instant::now(),
            chunks,
            superseded: false,
            unrecorded_turn_ms: None,
            mailbox,
            begun: HashSet::new(),
        }
    }

    /// Replays, thinks and records until the attempt is settled.
    async fn settle(mut self) -> Settlement {
        let mut pause = TROUBLE_PAUSE;
        loop {
            let interruption = match self.open().await {
                Ok((journal, entries)) => match self.think(journal, &entries).await {
                    Ok(()) => return Settlement::Ack,
                    Err(interruption) => interruption,
                },
                Err(interruption) => interruption,
            };
            match interruption {
                // What was recorded meanwhile is taken from the journal.
                Interruption::Superseded(Verdict::TakeOver | Verdict::Fresh | Verdict::Own) => {
                    self.superseded = true
                }
                Interruption::Superseded(Verdict::Ended | Verdict::Duplicate) => {
                    return Settlement::Ack;
                }
                Interruption::Superseded(Verdict::Lost) => return Settlement::Abandon,
                // The end stands in the journal before the signal is sent; the next look finds it.
                Interruption::Canceled => return self.settle_cancel().await,
                Interruption::Poison(journal, entries) => {
                    return self.settle_poison(*journal, &entries).await;
                }
                Interruption::HostDown => return Settlement::Retry(TROUBLE_PAUSE),
                Interruption::HandedBack => return Settlement::Retry(HAND_BACK_PAUSE),
                Interruption::Newer(detail) => {
                    tracing::warn!(detail, "work is handed back");
                    return Settlement::Retry(NEWER_PAUSE);
                }
                // It keeps its slot and says that it is alive: what is given back counts as tried.
                Interruption::Trouble(detail) => {
                    tracing::warn!(detail, ?pause, "work waits for the journal");
                    self.superseded = true;
                    let wait = self.stop(None).or(tokio::time::sleep(pause)).await;
                    pause = (pause * 2).min(LONGEST_TROUBLE_PAUSE);
                    match wait {
                        Ok(_) => {}
                        Err(Interruption::HandedBack) => return Settlement::Retry(HAND_BACK_PAUSE),
                        Err(_) => return self.settle_cancel().await,
                    }
                }
            }
        }
    }

    async fn settle_cancel(&self) -> Settlement {
        tracing::info!("canceled");
        match Journal::open(&self.shared.bus, self.claim.clone()).await {
            Ok((_, _, Verdict::Ended)) => Settlement::Ack,
            _ => Settlement::Retry(HAND_BACK_PAUSE),
        }
    }

    async fn open(&mut self) -> Result<(Journal, Vec<Entry>), Interruption> {
        let position = self.delivery.position();
        let age = Timestamp::now().since(position.stored_at);
        let first = self.work.attempt == 1 && position.delivery == 1 && !self.superseded;
        if first && age < FRESH.min(self.shared.mail.age()) {
            return Ok((
                Journal::assume_empty(&self.shared.bus, self.claim.clone()),
                Vec::new(),
            ));
        }
        match Journal::open(&self.shared.bus, self.claim.clone()).await? {
            (journal, entries, Verdict::Fresh | Verdict::Own | Verdict::TakeOver) => {
                if self.is_poison(&entries) {
                    return Err(Interruption::Poison(Box::new(journal), entries));
                }
                self.look_for_messages().await?;
                Ok((journal, entries))
            }
            (_, _, verdict) => Err(Interruption::Superseded(verdict)),
        }
    }

    /// Goes on from the journal to the end of the attempt, which is recorded when this returns.
    async fn think(&mut self, mut journal: Journal, entries: &[Entry]) -> Result<(), Interruption> {
        let facts = match self.fetch_context().await? {
            Ok(()) => self.facts().await?,
            Err(lost) => Err(lost),
        };
        let mut agent = self.begin(facts.as_ref().ok());
        let interrupted = self.replay(&mut agent, entries);
        if let Err(error) = facts {
            let end = self.failed(&agent, error).await?;
            return self.end(journal, end).await;
        }
        loop {
            let end = match agent.step() {
                Step::Answer(text) => self.completed(&agent, text).await?,
                Step::Fail(error) => self.failed(&agent, error).await?,
                Step::Call(calls) => match self.to_ask_about(&calls, &interrupted) {
                    Some(approvals) => self.suspended(&agent, approvals),
                    None => {
                        self.call(&mut agent, &mut journal, calls, &interrupted)
                            .await?;
                        continue;
                    }
                },
                Step::Ask(_) if self.take_messages(&mut agent, &mut journal).await? => continue,
                Step::Ask(request) => match self.ask(*request, &agent, &journal).await? {
                    Err(error) => self.failed(&agent, error).await?,
                    Ok(turn) => {
                        agent.take(&turn);
                        self.unrecorded_turn_ms = Some(turn.elapsed_ms);
                        // The last turn is recorded by the end itself.
                        if !agent.is_over() {
                            let entry = self.entry(Body::ModelTurn(turn));
                            journal.append(&entry, self.delivery.trace()).await?;
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
        if entries.is_empty() {
            return HashSet::new();
        }
        for entry in entries {
            agent.replay(entry, self.work.attempt);
        }
        // All of them: what an earlier delivery began may not be what comes first now.
        let open = agent.open_calls();
        open.map(|call| call.tool_use_id.clone()).collect()
    }

    async fn end(&self, mut journal: Journal, end: Body) -> Result<(), Interruption> {
        journal
            .append(&self.entry(end), self.delivery.trace())
            .await?;
        Ok(())
    }

    /// What the model can do. The inner error is the attempt's, the outer one stops it.
    async fn facts(&self) -> Result<Result<ModelFacts, ErrorBody>, Interruption> {
        let asking = self.shared.model.facts(self.settings().model.as_str());
        match self.stop(Some(self.deadline())).or(asking).await? {
            Some(Ok(facts)) => Ok(Ok(facts)),
            Some(Err(ChatError::Connect { .. })) if self.may_wait() => Err(self.host_is_down()),
            Some(Err(error)) => {
                tracing::warn!(error = chain(&error), "the model cannot be asked");
                Ok(Err(model_error(&error)))
            }
            None => Ok(Err(self.too_late())),
        }
    }

    /// The loop at its beginning, with the tools that suit the task.
    fn begin(&self, facts: Option<&ModelFacts>) -> AgentLoop {
        let tools = &self.shared.options.profile.tools;
        let offers = tools.offers(&self.work.input).into_iter();
        let offers = offers.map(|spec| ToolOffer {
            name: spec.name().to_owned(),
            description: spec.description().to_owned(),
            parameters: spec.input_schema().clone(),
        });
        let facts = facts.cloned().unwrap_or_default();
        AgentLoop::new(self.settings().clone(), facts, offers.collect(), &self.work)
    }

    fn settings(&self) -> &Settings {
        &self.shared.options.profile.settings
    }

    fn host_is_down(&self) -> Interruption {
        self.shared.circuit.trip();
        Interruption::HostDown
    }

    /// What ends work before it is done: a cancel, the worker's stop, and this deadline.
    fn stop(&self, deadline: Option<Instant>) -> Stop<'a> {
        Stop {
            shared: self.shared,
            run: self.work.run,
            deadline,
        }
    }

    fn deadline(&self) -> Instant {
        self.began + self.shared.options.attempt_deadline
    }

    fn too_late(&self) -> ErrorBody {
        let span = swarm_protocol::Span(self.shared.options.attempt_deadline);
        let message = format!(
            "the attempt took longer than {span}: raise runs.deadlines.attempt, or take a smaller model"
        );
        ErrorBody::new(Code::Deadline, message)
    }

    /// What the spans of this delivery are beneath.
    fn spans(&self) -> swarm_telemetry::Attempt<'_> {
        swarm_telemetry::Attempt {
            trace: self.delivery.trace(),
            work: &self.work,
            delivery: self.claim.delivery,
        }
    }

    /// An attempt that finds no model host goes back into the queue, until it has done so too often.
    fn may_wait(&self) -> bool {
        self.delivery.position().delivery <= MOST_WAITS
    }
}

/// What ends work on an attempt before it is done.
struct Stop<'a> {
    shared: &'a Shared,
    run: RunId,
    deadline: Option<Instant>,
}

impl Stop<'_> {
    /// What the work comes to; nothing when its deadline has passed.
    async fn or<T>(&self, work: impl Future<Output = T>) -> Result<Option<T>, Interruption> {
        let cancel = self.shared.cancels.watch(self.run);
        let late = async {
            match self.deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            done = work => Ok(Some(done)),
            () = cancel.canceled() => Err(Interruption::Canceled),
            () = self.shared.shutdown.hand_back.cancelled() => Err(Interruption::HandedBack),
            () = late => Ok(None),
        }
    }
}

fn model_error(error: &ChatError) -> ErrorBody {
    ErrorBody::new(error.code(), chain(error))
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
