//! Texts that are too large for a message: which go out of an event as blobs, and which come in before one is decided.
//!
//! Nothing is stored or fetched here. What is decided says which blobs must be stored before its event is appended, or which
//! must be fetched before there is an event ([`Decision`](crate::Decision)).

use std::collections::{BTreeMap, BTreeSet};

use swarm_protocol::limits::MAX_COMBINED;
use swarm_protocol::{Answer, BlobRef, Code, ErrorBody, RunId, blob};

/// Whole texts that blobs hold, by their hash, or why there is none.
pub type Contents = BTreeMap<String, Result<String, ErrorBody>>;

/// A blob that is to be in the store before the event that refers to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// The reference.
    pub blob: BlobRef,
    /// Where its content comes from.
    pub from: Source,
}

/// Where the content of a blob comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// It was put together just now.
    Here(String),
    /// Another run has it.
    Run(RunId),
}

/// What a decision knows of blobs, and what it wants of them.
#[derive(Debug)]
pub(crate) struct Ledger<'a> {
    contents: &'a Contents,
    wanted: BTreeSet<BlobRef>,
    stored: Vec<Blob>,
}

impl<'a> Ledger<'a> {
    pub(crate) fn new(contents: &'a Contents) -> Self {
        Self {
            contents,
            wanted: BTreeSet::new(),
            stored: Vec::new(),
        }
    }

    /// What has to be fetched first, and what has to be stored first.
    pub(crate) fn close(self) -> (Vec<BlobRef>, Vec<Blob>) {
        (self.wanted.into_iter().collect(), self.stored)
    }

    /// Has a text stored; its reference.
    pub(crate) fn put(&mut self, text: String, media_type: &str) -> BlobRef {
        let blob = BlobRef::of(text.as_bytes(), media_type);
        self.keep(Blob {
            blob: blob.clone(),
            from: Source::Here(text),
        });
        blob
    }

    /// Has a blob of another run stored as one of this.
    pub(crate) fn copy(&mut self, blob: &BlobRef, from: RunId) {
        self.keep(Blob {
            blob: blob.clone(),
            from: Source::Run(from),
        });
    }

    fn keep(&mut self, new: Blob) {
        let known = (self.stored.iter()).any(|known| known.blob.sha256 == new.blob.sha256);
        if !known {
            self.stored.push(new);
        }
    }

    /// Takes a text out: its beginning stays. The reference to the whole.
    pub(crate) fn take_out(&mut self, text: &mut String) -> BlobRef {
        let beginning = blob::beginning(text);
        self.put(std::mem::replace(text, beginning), blob::TEXT)
    }

    /// The answers with their whole texts. While some are not known, which are wanted then, with their beginnings.
    ///
    /// # Errors
    /// When a text is lost, or all together are more than is put together.
    pub(crate) fn whole(&mut self, answers: &[&Answer]) -> Result<Vec<Answer>, ErrorBody> {
        let refs = answers.iter().filter_map(|answer| answer.blob.as_ref());
        let bytes: u64 = refs.map(|blob| blob.bytes).sum();
        if bytes > MAX_COMBINED {
            let message = format!(
                "the answers have {} MiB together, of at most {} one text is made: each is kept by itself",
                bytes / 1024 / 1024,
                MAX_COMBINED / 1024 / 1024
            );
            return Err(ErrorBody::new(Code::TooLarge, message));
        }
        let answers = answers.iter().map(|answer| {
            let mut whole = (*answer).clone();
            if let Some(blob) = &answer.blob {
                match self.contents.get(&blob.sha256) {
                    Some(Ok(text)) => whole.text = Some(text.clone()),
                    Some(Err(error)) => return Err(error.clone()),
                    None => {
                        self.wanted.insert(blob.clone());
                    }
                }
            }
            Ok(whole)
        });
        answers.collect()
    }
}
