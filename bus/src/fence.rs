//! The fence of a task's journal: appends under one CAS over its three leaves, and who may go on after a refusal.

use swarm_protocol::journal::{Body, Entry};
use swarm_protocol::trace::TraceParent;
use swarm_protocol::version::{self, Unread};
use swarm_protocol::{InstanceId, RunId, TaskId, Timestamp, Version, subjects};

use crate::connection::Bus;
use crate::message::Outgoing;
use crate::publish::PublishError;
use crate::read::{Kind, ReadError};

/// Which delivery of which attempt a worker holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The run.
    pub run: RunId,
    /// The task.
    pub task: TaskId,
    /// The attempt, from 1.
    pub attempt: u32,
    /// Sequence of its work.
    pub work_seq: u64,
    /// Which delivery of that work.
    pub delivery: u64,
}

impl Claim {
    /// An entry that its worker writes.
    #[must_use]
    pub fn entry(&self, instance: &InstanceId, at: Timestamp, body: Body) -> Entry {
        Entry {
            v: Version,
            run: self.run,
            task: self.task.clone(),
            attempt: self.attempt,
            work_seq: Some(self.work_seq),
            delivery: Some(self.delivery),
            instance: instance.clone(),
            at,
            turn_ms: None,
            body,
        }
    }
}

/// What a journal says to a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing of this attempt stands there: begin.
    Fresh,
    /// The last entry is this delivery's own.
    Own,
    /// An earlier delivery began: take over, from what it recorded.
    TakeOver,
    /// The attempt has ended, or a higher one exists: stop, ack.
    Ended,
    /// The attempt lives under another work sequence, a repeated effect: stop, ack.
    Duplicate,
    /// A later delivery is at work: stop, neither ack nor nak.
    Lost,
}

/// What the last entry of a journal says to a claim.
#[must_use]
pub fn judge(last: Option<&Entry>, claim: &Claim) -> Verdict {
    let Some(last) = last else {
        return Verdict::Fresh;
    };
    if last.attempt < claim.attempt {
        return Verdict::Fresh;
    }
    if last.has_ended(claim.attempt) {
        return Verdict::Ended;
    }
    match (last.work_seq, last.delivery) {
        (Some(work), _) if work != claim.work_seq => Verdict::Duplicate,
        (_, Some(delivery)) if delivery > claim.delivery => Verdict::Lost,
        (_, Some(delivery)) if delivery < claim.delivery => Verdict::TakeOver,
        _ => Verdict::Own,
    }
}

/// Why an entry was not appended.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The journal went on without this delivery; the verdict says what to do.
    #[error("the journal went on: {0:?}")]
    Superseded(Verdict),
    /// The stream refused the entry for good.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The journal cannot be read back.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// An entry that this build cannot read.
    #[error("an entry of the journal cannot be read")]
    Unread(#[from] Unread),
    /// An entry that cannot be written as JSON.
    #[error("an entry cannot be written")]
    Unwritable(#[from] serde_json::Error),
}

/// A journal as one worker sees it.
#[derive(Debug)]
pub struct Journal {
    bus: Bus,
    claim: Claim,
    /// Sequence of the last entry known; what the next append expects.
    last: u64,
}

impl Journal {
    /// A journal that is taken for empty, without reading it.
    ///
    /// Only for the first delivery of a first attempt; a wrong guess shows in the first append.
    #[must_use]
    pub fn assume_empty(bus: &Bus, claim: Claim) -> Self {
        Self {
            bus: bus.clone(),
            claim,
            last: 0,
        }
    }

    /// Reads a journal: its entries, oldest first, and what the last one says to the claim.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn open(bus: &Bus, claim: Claim) -> Result<(Self, Vec<Entry>, Verdict), AppendError> {
        let stored = bus
            .read_runs(&subjects::journal_fence(claim.run, &claim.task), 1)
            .await?;
        let mut entries = Vec::with_capacity(stored.len());
        for message in stored
            .iter()
            .filter(|message| message.kind != Kind::Foreign)
        {
            entries.push(version::read::<Entry>(&message.payload)?);
        }
        let verdict = judge(entries.last(), &claim);
        let last = stored.last().map_or(0, |message| message.seq);
        Ok((
            Self {
                bus: bus.clone(),
                claim,
                last,
            },
            entries,
            verdict,
        ))
    }

    /// Appends an entry, trying as long as the stream is full or silent. Its sequence.
    ///
    /// # Errors
    /// [`AppendError::Superseded`] when somebody else's entry came first.
    pub async fn append(&mut self, entry: &Entry, trace: TraceParent) -> Result<u64, AppendError> {
        let claim = &self.claim;
        let subject = subjects::journal(claim.run, &claim.task, entry.body.leaf());
        let fence = subjects::journal_fence(claim.run, &claim.task);
        let message = Outgoing::json(subject, entry, trace)?;
        loop {
            let message = message.clone().expect_last(&fence, self.last);
            match self.bus.store_patiently(message).await {
                Ok(stored) => {
                    self.last = stored.seq;
                    return Ok(stored.seq);
                }
                Err(PublishError::Refused(_)) => match self.settle_refusal(entry, &fence).await? {
                    Refusal::Stored => return Ok(self.last),
                    Refusal::ByStranger => {}
                },
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// What the journal says now; it goes on for ever as far as nobody else has written.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn verdict(&self) -> Result<Verdict, AppendError> {
        let fence = subjects::journal_fence(self.claim.run, &self.claim.task);
        let last = self.bus.last_of_runs(&fence).await?;
        let Some(last) = last.filter(|last| last.seq > self.last && last.kind != Kind::Foreign)
        else {
            return Ok(Verdict::Own);
        };
        let newest: Entry = version::read(&last.payload)?;
        Ok(judge(Some(&newest), &self.claim))
    }

    /// A refusal counts only after the last message was read from the leader: it may be this very entry, stored by a try
    /// whose word was lost, or nothing that a worker wrote.
    async fn settle_refusal(&mut self, entry: &Entry, fence: &str) -> Result<Refusal, AppendError> {
        let Some(last) = self.bus.last_of_runs(fence).await? else {
            return Err(AppendError::Superseded(Verdict::Ended));
        };
        let newest = if last.kind == Kind::Foreign {
            let news = self.bus.read_runs(fence, self.last + 1).await?;
            let mut entries = news.into_iter().rev();
            match entries.find(|message| message.kind != Kind::Foreign) {
                Some(message) => message,
                None => {
                    self.last = last.seq;
                    return Ok(Refusal::ByStranger);
                }
            }
        } else {
            last.clone()
        };
        let newest: Entry = version::read(&newest.payload)?;
        if newest == *entry {
            self.last = last.seq;
            return Ok(Refusal::Stored);
        }
        Err(AppendError::Superseded(
            match judge(Some(&newest), &self.claim) {
                // Something that this claim did not know stands there: only a new look at the journal helps.
                Verdict::Fresh | Verdict::Own => Verdict::TakeOver,
                verdict => verdict,
            },
        ))
    }
}

/// What a refused append turned out to be.
enum Refusal {
    /// The entry stands there.
    Stored,
    /// Nothing that counts came first: it may be appended behind it.
    ByStranger,
}

#[cfg(test)]
mod tests {
    use swarm_protocol::journal::{Body, ModelTurn};
    use swarm_protocol::{Answer, AnswerStatus, InstanceId, Timestamp, Usage, Version};

    use super::*;

    fn claim() -> Claim {
        Claim {
            run: RunId::random(),
            task: "t".parse().unwrap(),
            attempt: 2,
            work_seq: 10,
            delivery: 3,
        }
    }

    fn entry(claim: &Claim, attempt: u32, work_seq: u64, delivery: u64, ended: bool) -> Entry {
        let turn = ModelTurn {
            model: "m".into(),
            text: "t".into(),
            elapsed_ms: 1,
            ..ModelTurn::default()
        };
        let answer = Answer {
            task: claim.task.clone(),
            agent: "a".parse().unwrap(),
            model: "m".into(),
            status: AnswerStatus::Completed,
            text: Some("x".into()),
            blob: None,
            error: None,
            usage: Usage::default(),
            elapsed_ms: 1,
            simulated: false,
        };
        Entry {
            v: Version,
            run: claim.run,
            task: claim.task.clone(),
            attempt,
            work_seq: Some(work_seq),
            delivery: Some(delivery),
            instance: InstanceId::random(),
            at: Timestamp::now(),
            turn_ms: None,
            body: if ended {
                Body::Completed(Box::new(answer))
            } else {
                Body::ModelTurn(turn)
            },
        }
    }

    #[test]
    fn the_table_decides() {
        let claim = claim();
        let says = |attempt, work, delivery, ended| {
            judge(Some(&entry(&claim, attempt, work, delivery, ended)), &claim)
        };
        assert_eq!(judge(None, &claim), Verdict::Fresh);
        assert_eq!(says(1, 9, 1, true), Verdict::Fresh);
        assert_eq!(says(2, 10, 3, false), Verdict::Own);
        assert_eq!(says(2, 10, 2, false), Verdict::TakeOver);
        assert_eq!(says(2, 10, 4, false), Verdict::Lost);
        assert_eq!(says(2, 11, 1, false), Verdict::Duplicate);
        assert_eq!(says(2, 11, 1, true), Verdict::Ended);
        assert_eq!(says(3, 12, 1, false), Verdict::Ended);
    }
}
