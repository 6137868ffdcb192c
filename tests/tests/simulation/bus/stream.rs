//! One stream: messages by sequence and by subject, and the message ids that it knows.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::Stored;
use crate::scheduler::Millis;

/// A stream as it is stored.
#[derive(Default)]
pub(super) struct Stream {
    pub(super) messages: BTreeMap<u64, Rc<Stored>>,
    pub(super) by_subject: BTreeMap<String, Vec<u64>>,
    pub(super) last: u64,
    /// Message ids, where they stand, and when they were seen.
    pub(super) ids: BTreeMap<String, (u64, Millis)>,
}

impl Stream {
    /// Sequences on subjects, `*` and `>` at the end allowed, oldest first.
    pub(super) fn on(&self, filter: &str) -> Vec<u64> {
        let Some(prefix) = filter.strip_suffix(['*', '>']) else {
            return self.by_subject.get(filter).cloned().unwrap_or_default();
        };
        let from = self.by_subject.range(prefix.to_owned()..);
        let under = from.take_while(|(subject, _)| subject.starts_with(prefix));
        let mut found: Vec<u64> = under.flat_map(|(_, seqs)| seqs.iter().copied()).collect();
        found.sort_unstable();
        found
    }

    /// Forgets a message.
    pub(super) fn remove(&mut self, seq: u64) {
        if let Some(gone) = self.messages.remove(&seq)
            && let Some(seqs) = self.by_subject.get_mut(&gone.subject)
        {
            seqs.retain(|other| *other != seq);
        }
    }
}
