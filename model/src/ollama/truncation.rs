//! Whether a host has cut a chat without a word: it says how many tokens it read, and that is far too few.
//!
//! Requests forbid it (`truncate:false`); a host that is too old for that, or a proxy that drops it, still does it.
//! `prompt_eval_count` counts what the host had in its cache too: so it is in 0.17.4 and in 0.33.0. A host that leaves
//! such tokens out says nothing or 0 when it had all of them, which raises no alarm here.

use super::request::Window;
use crate::chat::{ChatRequest, Message};
use crate::error::ChatError;
use crate::measures::Measure;

/// Text has about four bytes a token. Repeated signs, such as blanks and rules, have far more, and are counted once.
const BYTES_PER_TOKEN: u64 = 4;

/// What was sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sent {
    /// About so many tokens, and hardly less than half of that.
    tokens: u64,
    /// The window that was asked for, in tokens.
    window: u64,
}

impl Sent {
    /// What a request sends.
    #[must_use]
    pub fn of(request: &ChatRequest, window: Window) -> Self {
        let bytes: usize = request.messages.iter().map(telling).sum();
        Self {
            tokens: u64::try_from(bytes).unwrap_or(u64::MAX) / BYTES_PER_TOKEN,
            window: u64::from(window.num_ctx),
        }
    }

    /// The same to a model that was trained for a window of so many tokens.
    #[must_use]
    pub fn within(self, context_length: Option<u32>) -> Self {
        let most = context_length.map_or(self.window, u64::from);
        Self {
            window: self.window.min(most),
            ..self
        }
    }

    /// The error when the host has read far less than this; `evaluated` is what it says, 0 when it says nothing.
    ///
    /// # Errors
    /// [`ChatError::Truncated`].
    pub fn check(self, evaluated: u64) -> Result<(), ChatError> {
        let is_short = evaluated > 0 && evaluated < self.tokens / 2 && Measure::SilentCut.is_on();
        // A chat that fits gives no cause to cut it, however few tokens it comes to; the estimate is rough.
        if is_short && self.tokens > self.window / 4 * 3 {
            return Err(ChatError::Truncated {
                expected: self.tokens,
                evaluated,
            });
        }
        Ok(())
    }
}

/// The bytes of a message, without signs that repeat the one before.
fn telling(message: &Message) -> usize {
    let mut before = None;
    let told = message.content.bytes().filter(|byte| {
        let repeats = before == Some(*byte) && !byte.is_ascii_alphanumeric() && byte.is_ascii();
        before = Some(*byte);
        !repeats
    });
    told.count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Window = Window { num_ctx: 256 };

    fn sent(text: &str) -> Sent {
        let messages = vec![Message::system("You are."), Message::user(text)];
        Sent::of(&ChatRequest::new("m", messages, 9), WINDOW)
    }

    fn words(bytes: usize) -> String {
        "some words, ".chars().cycle().take(bytes).collect()
    }

    #[test]
    fn half_a_window_and_a_whole_one_are_too_few_for_three_thousand_bytes() {
        let long = sent(&words(3003));
        for evaluated in [131, 256, 375] {
            let error = ChatError::Truncated {
                expected: 752,
                evaluated,
            };
            assert_eq!(long.check(evaluated), Err(error));
        }
        for evaluated in [0, 376, 752, 3003] {
            assert_eq!(long.check(evaluated), Ok(()), "{evaluated}");
        }
    }

    #[test]
    fn what_fits_is_not_cut() {
        let chat = sent(&words(750));
        assert_eq!((chat.tokens, chat.check(1)), (189, Ok(())));
        assert_eq!(chat.within(None).check(1), Ok(()));
        // The model's own window may be the smaller one.
        assert!(chat.within(Some(200)).check(1).is_err());
        assert_eq!(chat.within(Some(8192)).check(1), Ok(()));
    }

    #[test]
    fn blanks_and_rules_are_few_tokens() {
        let table = sent(&format!("{}\n{}", " ".repeat(3000), "-".repeat(3000)));
        assert_eq!(table.check(30), Ok(()));
        let letters = sent(&"a".repeat(3000));
        assert!(letters.check(30).is_err());
    }
}
