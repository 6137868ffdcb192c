//! Texts that are too large for a message: the context before there is a chat, the answer before the attempt ends.

use swarm_bus::BlobError;
use swarm_protocol::error::chain;
use swarm_protocol::limits::{MAX_ENCODED, MAX_INLINE, encoded_len};
use swarm_protocol::{Answer, ErrorBody, blob};

use super::{Attempt, Interruption};

impl Attempt<'_> {
    /// Fetches the context of the work, when it is a blob. The inner error is the attempt's, the outer one stops it.
    pub(super) async fn fetch_context(&mut self) -> Result<Result<(), ErrorBody>, Interruption> {
        let Some(blob) = self.work.context_ref.take() else {
            return Ok(Ok(()));
        };
        let fetching = self.shared.bus.get_blob(self.work.run, &blob);
        let fetched = match self.stop(Some(self.deadline())).or(fetching).await? {
            Some(Ok(content)) => {
                self.work.context = Some(String::from_utf8_lossy(&content).into_owned());
                return Ok(Ok(()));
            }
            Some(Err(error)) => match error.lasting() {
                Some(lost) => Ok(Err(lost)),
                None => Err(trouble(&error)),
            },
            None => Ok(Err(self.too_late())),
        };
        // Whoever thinks again asks again.
        self.work.context_ref = Some(blob);
        fetched
    }

    /// Gives an answer its text: one that is too large is stored as a blob, and the answer has its beginning.
    pub(super) async fn set_text(
        &self,
        answer: &mut Answer,
        text: String,
    ) -> Result<(), Interruption> {
        if text.len() <= MAX_INLINE && encoded_len(&text) <= MAX_ENCODED {
            answer.text = Some(text);
            return Ok(());
        }
        answer.text = Some(blob::beginning(&text));
        let bus = &self.shared.bus;
        let storing = bus.put_blob(self.work.run, text.into(), blob::TEXT);
        // As long as it takes: what the model has written is not thrown away for a stream that is full.
        answer.blob = match self.stop(None).or(storing).await? {
            Some(stored) => Some(stored.map_err(|error| trouble(&error))?),
            None => None,
        };
        Ok(())
    }
}

fn trouble(error: &BlobError) -> Interruption {
    Interruption::Trouble(chain(error))
}
