//! Blobs: payloads too large for a message, in the object store `swarm_blobs` (ADR-20), and gone with their run.
//!
//! The client library reads an object through a consumer. Clients and agents have no consumer rights, for a create with the
//! name of a durable changes it; so what an object is made of is read by direct get here. The layout is the published one,
//! `nats object get` reads it.
//!
//! Whoever names a subject of the store as the reply subject of a request makes the server itself store its reply there
//! (nats-server issue 8274). Such a message is passed over, and as the stream takes no rollup, it can replace nothing.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use swarm_protocol::trace::TraceParent;
use swarm_protocol::{BlobRef, Code, ErrorBody, RunId, error, subjects};
use uuid::Uuid;

use crate::connection::Bus;
use crate::message::Outgoing;
use crate::publish::PublishError;
use crate::read::{Kind, ReadError, StoredMessage};
use crate::topology::{BLOBS_BUCKET, BLOBS_STREAM, TopologyError};

/// Bytes of a chunk: the default of object stores.
const CHUNK: usize = 128 * 1024;

/// A blob that is not there is looked for so often: a replica of the stream may be behind.
const LOOKS: u32 = 4;
const LOOK_PAUSE: Duration = Duration::from_millis(100);

/// Why there is no content of a blob, or it is not stored.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// It is not in the store.
    #[error(
        "the blob {name} is not in {BLOBS_BUCKET}: it was removed, or is older than runs.retention; submit the task again"
    )]
    Missing {
        /// Its name.
        name: String,
    },
    /// What is in the store is something else.
    #[error("the blob {name} was altered: {detail}; submit the task again")]
    Altered {
        /// Its name.
        name: String,
        /// In which way.
        detail: String,
    },
    /// The store cannot be read now.
    #[error("the blobs cannot be read")]
    Unavailable(#[source] ReadError),
    /// The store did not take it.
    #[error("the blob was not stored")]
    NotStored(#[source] PublishError),
}

impl BlobError {
    /// The error as it travels, when asking again changes nothing.
    #[must_use]
    pub fn lasting(&self) -> Option<ErrorBody> {
        let code = match self {
            Self::Missing { .. } => Code::BlobMissing,
            Self::Altered { .. } => Code::BlobAltered,
            Self::Unavailable(_) | Self::NotStored(_) => return None,
        };
        Some(ErrorBody::new(code, self.to_string()))
    }

    /// The error as it travels.
    #[must_use]
    pub fn to_body(&self) -> ErrorBody {
        let unavailable = || ErrorBody::new(Code::Unavailable, error::chain(self));
        self.lasting().unwrap_or_else(unavailable)
    }
}

/// What is known of an object (ADR-20, ObjectInfo); what is not needed here is left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Meta {
    name: String,
    bucket: String,
    #[serde(default)]
    metadata: Option<Value>,
    #[serde(default)]
    options: Option<Value>,
    /// The token of its chunks.
    nuid: String,
    size: u64,
    chunks: u64,
    #[serde(default)]
    digest: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    deleted: bool,
}

impl Meta {
    fn is_of(&self, blob: &BlobRef, name: &str) -> bool {
        let digest = blob.digest();
        let alike = digest.is_some() && self.digest == digest && self.size == blob.bytes;
        alike && self.name == name && !self.deleted
    }
}

impl Bus {
    /// Stores a payload as a blob of a run, and waits as long as the stream is full or silent. Stored again, it is the same
    /// blob.
    ///
    /// # Errors
    /// When waiting mends nothing.
    pub async fn put_blob(
        &self,
        run: RunId,
        content: Bytes,
        media_type: &str,
    ) -> Result<BlobRef, BlobError> {
        let blob = BlobRef::of(&content, media_type);
        let name = blob.name(run);
        // No answer is no reason to lose it: then it is stored once more.
        let known = self.metas(&name).await.unwrap_or_default();
        if known.iter().flatten().any(|meta| meta.is_of(&blob, &name)) {
            return Ok(blob);
        }
        // Of its own for each writer: two of the same content must not mix their chunks.
        let nuid = subjects::blob_upload(run, &blob, Uuid::new_v4());
        let subject = subjects::blob_chunks(&nuid);
        let trace = TraceParent::root();
        let mut chunks = 0;
        let mut rest = content;
        while !rest.is_empty() {
            let chunk = rest.split_to(rest.len().min(CHUNK));
            chunks += 1;
            let message = Outgoing::new(&subject, chunk, trace);
            self.keep(message.message_id(format!("{nuid}:{chunks}")))
                .await?;
        }
        let meta = json!(Meta {
            name: name.clone(),
            bucket: BLOBS_BUCKET.to_owned(),
            metadata: Some(json!({ "type": media_type })),
            options: Some(json!({ "max_chunk_size": CHUNK })),
            size: blob.bytes,
            chunks,
            digest: blob.digest(),
            deleted: false,
            nuid: nuid.clone(),
        });
        // Last: whoever sees it finds all chunks.
        let message = Outgoing::new(subjects::blob_meta(&name), meta.to_string(), trace);
        self.keep(message.message_id(nuid)).await?;
        Ok(blob)
    }

    async fn keep(&self, message: Outgoing) -> Result<(), BlobError> {
        let stored = self.store_patiently(message).await;
        stored.map_err(BlobError::NotStored)?;
        Ok(())
    }

    /// The content of a blob of a run, which has the hash and the size that the reference says.
    ///
    /// # Errors
    /// See [`BlobError`].
    pub async fn get_blob(&self, run: RunId, blob: &BlobRef) -> Result<Bytes, BlobError> {
        let mut looks = 1;
        loop {
            match self.look_for_blob(run, blob).await {
                Err(BlobError::Missing { .. } | BlobError::Altered { .. }) if looks < LOOKS => {
                    looks += 1;
                    tokio::time::sleep(LOOK_PAUSE).await;
                }
                found => return found,
            }
        }
    }

    async fn look_for_blob(&self, run: RunId, blob: &BlobRef) -> Result<Bytes, BlobError> {
        let name = blob.name(run);
        let altered = |detail: String| BlobError::Altered {
            name: name.clone(),
            detail,
        };
        let metas = self.metas(&name).await?;
        let mut known = metas.iter().flatten();
        let Some(meta) = known.rfind(|meta| meta.is_of(blob, &name)) else {
            return Err(match metas.is_empty() {
                true => BlobError::Missing { name },
                false => altered("another content has its name".to_owned()),
            });
        };
        let subject = subjects::blob_chunks(&meta.nuid);
        let chunks = self.read_own(&subject).await?;
        if chunks.is_empty() && meta.chunks > 0 {
            return Err(BlobError::Missing { name });
        }
        let mut content = BytesMut::with_capacity(chunks.iter().map(|c| c.payload.len()).sum());
        chunks
            .iter()
            .for_each(|chunk| content.extend_from_slice(&chunk.payload));
        let content = content.freeze();
        match blob.is_of(&content) {
            true => Ok(content),
            false => Err(altered(format!(
                "its {} bytes are not the {} of its hash",
                content.len(),
                blob.bytes
            ))),
        }
    }

    /// What roles of Swarm have said about the blob of a name, oldest first; nothing where it cannot be read.
    async fn metas(&self, name: &str) -> Result<Vec<Option<Meta>>, BlobError> {
        let stored = self.read_own(&subjects::blob_meta(name)).await?;
        let metas = stored.iter();
        Ok(metas
            .map(|message| serde_json::from_slice(&message.payload).ok())
            .collect())
    }

    async fn read_own(&self, subject: &str) -> Result<Vec<StoredMessage>, BlobError> {
        let stored = self.read_window(BLOBS_STREAM, subject, 1, u64::MAX).await;
        let mut stored = stored.map_err(BlobError::Unavailable)?;
        stored.retain(|message| message.kind != Kind::Foreign);
        Ok(stored)
    }

    /// Removes all blobs of a run. Only coordinators may.
    ///
    /// # Errors
    /// When the store does not answer; what is left then is removed when this is asked again.
    pub async fn delete_blobs(&self, run: RunId) -> Result<(), TopologyError> {
        let chunks = subjects::blob_chunks_of(run);
        let stored = self.subjects_of(BLOBS_STREAM, &chunks).await?;
        let mut hashes: Vec<&str> = stored
            .iter()
            .filter_map(|subject| subjects::blob_of_chunks(run, subject))
            .collect();
        hashes.dedup();
        // Chunks last: they say which blobs there are.
        for sha256 in hashes {
            let name = format!("{run}/{sha256}");
            self.purge(BLOBS_STREAM, &subjects::blob_meta(&name))
                .await?;
        }
        self.purge(BLOBS_STREAM, &chunks).await
    }
}
