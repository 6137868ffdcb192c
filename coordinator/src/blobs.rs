//! Blobs of runs: stored before the event that refers to them, fetched before what they hold is needed.

use swarm_bus::BlobError;
use swarm_protocol::{BlobRef, RunId, RunResult};
use swarm_workflow::{Blob, Contents, Source};

use crate::Shared;

/// What the headers of an answer take of a message at most, in bytes.
const HEADERS: u64 = 2048;

impl Shared {
    /// Stores what an event is about to refer to.
    ///
    /// # Errors
    /// When it cannot be stored, or a blob of another run is lost.
    pub(crate) async fn store_blobs(&self, run: RunId, blobs: Vec<Blob>) -> Result<(), BlobError> {
        for Blob { blob, from } in blobs {
            let content = match from {
                Source::Here(text) => text.into(),
                Source::Run(other) => self.bus.get_blob(other, &blob).await?,
            };
            self.bus.put_blob(run, content, &blob.media_type).await?;
        }
        Ok(())
    }

    /// Fetches blobs: their texts, or why they are lost.
    ///
    /// # Errors
    /// When the store does not answer.
    pub(crate) async fn fetch_blobs(
        &self,
        run: RunId,
        wanted: Vec<BlobRef>,
        into: &mut Contents,
    ) -> Result<(), BlobError> {
        for blob in wanted {
            let text = match self.bus.get_blob(run, &blob).await {
                // What has the hash of a text is one.
                Ok(content) => Ok(String::from_utf8_lossy(&content).into_owned()),
                Err(error) => match error.lasting() {
                    Some(lost) => {
                        tracing::warn!(%error, "a text is lost");
                        Err(lost)
                    }
                    None => return Err(error),
                },
            };
            into.insert(blob.sha256, text);
        }
        Ok(())
    }

    /// The whole text of a result; nothing when it is larger than a message.
    ///
    /// # Errors
    /// When the blob that has it is lost, or the store does not answer.
    pub(crate) async fn whole_text(&self, result: &RunResult) -> Result<Option<String>, BlobError> {
        let Some(blob) = &result.blob else {
            return Ok(Some(result.text.clone()));
        };
        let room = u64::try_from(self.bus.max_payload()).unwrap_or(u64::MAX);
        if blob.bytes.saturating_add(HEADERS) > room {
            return Ok(None);
        }
        let content = self.bus.get_blob(result.run, blob).await?;
        Ok(Some(String::from_utf8_lossy(&content).into_owned()))
    }
}
