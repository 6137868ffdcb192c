//! The answer of a host while it is being read.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::{BoxStream, Stream};
use tokio::time::timeout;

use super::decode::{Frame, Lines};
use super::slots::Lease;
use super::turn::Turn;
use crate::chat::ChatEvent;
use crate::error::ChatError;

/// A connection serves again only when its answer was read to the end, which comes right behind the last frame. So long
/// it is waited for before the last event is given out.
const END_OF_BODY: Duration = Duration::from_millis(20);

/// An answer with its connection; dropping it closes the connection, unless the answer was read to its end.
pub struct Reply {
    /// None when nothing more is read.
    body: Option<BoxStream<'static, Result<Bytes, ChatError>>>,
    lines: Lines,
    turn: Turn,
    /// What is wrong behind the frames whose events are still to be had.
    failure: Option<ChatError>,
    is_first: bool,
    /// The slot of the host, which is free when nothing more is read. None in tests of what does not need it.
    lease: Option<Lease>,
}

impl Reply {
    /// The answer with this body, which takes up this slot.
    #[must_use]
    pub fn new<B>(body: B, turn: Turn, lease: Option<Lease>) -> Self
    where
        B: Stream<Item = Result<Bytes, ChatError>> + Send + 'static,
    {
        Self {
            body: Some(body.fuse().boxed()),
            lines: Lines::default(),
            turn,
            failure: None,
            is_first: true,
            lease,
        }
    }

    /// Reads at least one frame, and all that have come with it; their events are then to be had.
    ///
    /// # Errors
    /// What is wrong with the first of them: [`ChatError::NoDone`] when there is none, and those of the body, of
    /// [`Frame::parse`] and of [`Turn::take`]. What is wrong behind it is told behind its events.
    pub async fn read_frames(&mut self) -> Result<(), ChatError> {
        let line = self.read_line().await?.ok_or(ChatError::NoDone)?;
        self.take(&line)?;
        if let Some(lease) = self.lease.as_ref().filter(|_| self.is_first) {
            lease.answered();
        }
        self.is_first = false;
        while !self.turn.is_done() && self.failure.is_none() {
            match self.lines.next() {
                Ok(Some(line)) => self.failure = self.take(&line).err(),
                Ok(None) => break,
                Err(error) => self.failure = Some(error),
            }
        }
        Ok(())
    }

    fn take(&mut self, line: &[u8]) -> Result<(), ChatError> {
        let taken = self.turn.take(Frame::parse(line)?);
        if let (Some(lease), Err(ChatError::Cloud { model })) = (&self.lease, &taken) {
            tracing::error!(
                model,
                "a host passed a prompt on to a cloud: it is not asked again for a while"
            );
            lease.quarantine();
        }
        taken
    }

    /// Reads to the end, and drops what is said.
    ///
    /// # Errors
    /// Those of [`Reply::next_events`].
    pub async fn drain(&mut self, between_tokens: Duration) -> Result<(), ChatError> {
        while self.next_events(between_tokens).await?.is_some() {}
        Ok(())
    }

    /// The next events, waiting for each further frame for so long at most; none after [`ChatEvent::Done`].
    ///
    /// # Errors
    /// [`ChatError::Stalled`], and those of [`Reply::read_frames`].
    pub async fn next_events(
        &mut self,
        between_tokens: Duration,
    ) -> Result<Option<Vec<ChatEvent>>, ChatError> {
        loop {
            let events = self.turn.take_events();
            if !events.is_empty() {
                if self.turn.is_done() {
                    self.finish().await;
                }
                return Ok(Some(events));
            }
            if let Some(error) = self.failure.take() {
                return Err(error);
            }
            if self.body.is_none() {
                return Ok(None);
            }
            match timeout(between_tokens, self.read_frames()).await {
                Ok(read) => read?,
                Err(_elapsed) => {
                    let error = ChatError::Stalled {
                        after: between_tokens,
                    };
                    self.lose(&error);
                    return Err(error);
                }
            }
        }
    }

    async fn read_line(&mut self) -> Result<Option<Bytes>, ChatError> {
        loop {
            if let Some(line) = self.lines.next()? {
                return Ok(Some(line));
            }
            let chunk = match &mut self.body {
                Some(body) => body.next().await,
                None => None,
            };
            match chunk {
                Some(Ok(bytes)) => self.lines.push(bytes),
                Some(Err(error)) => {
                    self.lose(&error);
                    return Err(error);
                }
                None => return Ok(self.lines.rest()),
            }
        }
    }

    /// The host went away: others are asked first for a while.
    fn lose(&mut self, error: &ChatError) {
        if let Some(lease) = self.lease.take() {
            lease.lost(error.to_string());
        }
    }

    /// Reads what is behind the last frame, if it comes at once, and lets go of the connection and the slot.
    async fn finish(&mut self) {
        let _until_the_end = self.lease.take();
        let Some(mut body) = self.body.take() else {
            return;
        };
        let end = async { while let Some(Ok(_)) = body.next().await {} };
        if timeout(END_OF_BODY, end).await.is_err() {
            tracing::debug!(
                "the answer does not end behind its last frame; the connection is closed"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{TryStreamExt as _, stream};
    use tokio::time::{Instant, sleep};

    use super::super::truncation::Sent;
    use super::*;
    use crate::chat::{Completion, DoneReason};

    const SECOND: Duration = Duration::from_secs(1);
    const PIECE: &str = "{\"message\":{\"content\":\"x\"},\"done\":false}\n";
    const DONE: &str = "{\"done\":true,\"done_reason\":\"stop\"}\n";

    /// The events of a body whose chunks come after these pauses.
    async fn read(chunks: &[(Duration, &'static str)]) -> Vec<Result<ChatEvent, ChatError>> {
        let body = stream::iter(chunks.to_vec()).then(|(pause, chunk)| async move {
            sleep(pause).await;
            Ok(Bytes::from_static(chunk.as_bytes()))
        });
        let reply = Reply::new(body, Turn::new("m".into(), false, Sent::default()), None);
        let events = stream::try_unfold(reply, |mut reply| async {
            let events = reply.next_events(SECOND).await?;
            Ok(events.map(|events| (stream::iter(events.into_iter().map(Ok)), reply)))
        });
        events.try_flatten().collect().await
    }

    fn text() -> Result<ChatEvent, ChatError> {
        Ok(ChatEvent::Text("x".into()))
    }

    fn done(text: &str) -> Result<ChatEvent, ChatError> {
        Ok(ChatEvent::Done(Completion {
            text: text.into(),
            thinking: String::new(),
            tool_calls: Vec::new(),
            done_reason: DoneReason::Stop,
            input_tokens: 0,
            output_tokens: 0,
            simulated: false,
        }))
    }

    #[tokio::test(start_paused = true)]
    async fn each_token_has_its_own_deadline() {
        let slow = SECOND - Duration::from_millis(1);
        let events = read(&[(slow, PIECE), (slow, PIECE), (slow, DONE)]).await;
        assert_eq!(events, [text(), text(), done("xx")]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_that_is_late() {
        let began = Instant::now();
        let late = SECOND + Duration::from_millis(1);
        let events = read(&[(Duration::ZERO, PIECE), (late, DONE)]).await;
        assert_eq!(events, [text(), Err(ChatError::Stalled { after: SECOND })]);
        assert_eq!(began.elapsed(), SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn pieces_of_a_token_and_blank_lines_are_no_progress() {
        let half = SECOND / 2;
        let pieces = read(&[(half, "{\"do"), (half / 2, "ne\":"), (half, "true}\n")]).await;
        assert_eq!(pieces, [Err(ChatError::Stalled { after: SECOND })]);
        let blanks = read(&[(half, "\n"), (half / 2, "\n"), (half, DONE)]).await;
        assert_eq!(blanks, [Err(ChatError::Stalled { after: SECOND })]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_end() {
        let now = Duration::ZERO;
        assert_eq!(read(&[]).await, [Err(ChatError::NoDone)]);
        assert_eq!(read(&[(now, "\n\n")]).await, [Err(ChatError::NoDone)]);
        assert_eq!(
            read(&[(now, PIECE)]).await,
            [text(), Err(ChatError::NoDone)]
        );
        let unended = DONE.trim_end();
        assert_eq!(
            read(&[(now, PIECE), (now, unended)]).await,
            [text(), done("x")]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_with_something_broken_is_told_before_it() {
        let broken = "{\"message\":{\"content\":\"x\"},\"done\":false}\n{\"message\":{\"content\":\"x\"},\"done\":false}\n{\"error\":\"y\"}\nnever";
        let error = ChatError::MidStream {
            message: "y".into(),
        };
        let events = read(&[(Duration::ZERO, broken)]).await;
        // What came together is one piece.
        assert_eq!(events, [Ok(ChatEvent::Text("xx".into())), Err(error)]);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_counts_behind_the_last_frame() {
        let began = Instant::now();
        let events = read(&[
            (Duration::ZERO, DONE),
            (Duration::ZERO, PIECE),
            (SECOND, "never read"),
        ])
        .await;
        assert_eq!(events, [done("")]);
        assert_eq!(began.elapsed(), END_OF_BODY);
    }
}
