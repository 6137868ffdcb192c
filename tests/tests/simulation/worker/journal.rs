//! A journal as one worker sees it. See `bus/src/fence.rs`.

use swarm_bus::fence::{Claim, Verdict, judge};
use swarm_protocol::journal::Entry;
use swarm_protocol::{subjects, version};

use super::Worker;
use crate::bus::{Message, StreamName};
use crate::mutation::Mutation;
use crate::net::{Net, NoWord, Refused, json};

/// Why an entry was not appended, or a journal not read.
#[derive(Debug)]
pub enum AppendError {
    /// The journal went on without this delivery.
    Superseded(Verdict),
    /// The server does not answer.
    NoWord,
}

impl From<NoWord> for AppendError {
    fn from(_: NoWord) -> Self {
        Self::NoWord
    }
}

/// A journal as one worker sees it.
pub struct Journal {
    net: Net,
    claim: Claim,
    /// Sequence of the last entry known; what the next append expects.
    pub last: u64,
}

impl Journal {
    /// A journal that is taken for empty, without reading it.
    pub fn assume_empty(worker: &Worker, claim: Claim) -> Self {
        Self {
            net: worker.net.clone(),
            claim,
            last: 0,
        }
    }

    /// Reads a journal: its entries, and what the last one says.
    pub async fn open(
        worker: &Worker,
        claim: Claim,
    ) -> Result<(Self, Vec<Entry>, Verdict), NoWord> {
        let fence = subjects::journal_fence(claim.run, &claim.task);
        let stored = worker.net.read_runs("read journal", fence).await?;
        let entries = stored
            .iter()
            .map(|message| version::read::<Entry>(&message.payload).unwrap());
        let entries: Vec<Entry> = entries.collect();
        let verdict = judge(entries.last(), &claim);
        let journal = Self {
            net: worker.net.clone(),
            claim,
            last: stored.last().map_or(0, |message| message.seq),
        };
        Ok((journal, entries, verdict))
    }

    /// Appends an entry, trying as long as the stream is full or silent.
    pub async fn append(&mut self, what: &'static str, entry: &Entry) -> Result<(), AppendError> {
        let Claim { run, task, .. } = &self.claim;
        let fence = subjects::journal_fence(*run, task);
        loop {
            let message = Message {
                stream: StreamName::Runs,
                subject: subjects::journal(*run, task, entry.body.leaf()),
                payload: json(entry),
                summary: None,
                id: None,
                expect: Some((fence.clone(), self.last)),
            };
            match self.net.store_patiently(what, message).await {
                Ok(seq) => {
                    self.last = seq;
                    return Ok(());
                }
                Err(Refused) => {
                    let last = self
                        .net
                        .last_of_runs("read journal's last", fence.clone())
                        .await?;
                    let last = last.ok_or(AppendError::Superseded(Verdict::Ended))?;
                    let newest: Entry = version::read(&last.payload).unwrap();
                    self.net.sim.note("an entry was refused");
                    if newest == *entry {
                        self.net.sim.note("an entry had been stored");
                        self.last = last.seq;
                        return Ok(());
                    }
                    if self.net.sim.is_mutated(Mutation::IgnoresVerdict) {
                        self.last = last.seq;
                        continue;
                    }
                    return Err(AppendError::Superseded(
                        match judge(Some(&newest), &self.claim) {
                            Verdict::Fresh | Verdict::Own => Verdict::TakeOver,
                            verdict => verdict,
                        },
                    ));
                }
            }
        }
    }

    /// What the journal says now.
    pub async fn verdict(&self) -> Result<Verdict, NoWord> {
        let fence = subjects::journal_fence(self.claim.run, &self.claim.task);
        let last = self.net.last_of_runs("look at journal", fence).await?;
        let Some(last) = last.filter(|last| last.seq > self.last) else {
            return Ok(Verdict::Own);
        };
        let newest: Entry = version::read(&last.payload).unwrap();
        Ok(judge(Some(&newest), &self.claim))
    }
}
