//! How many tokens a chat takes up, before a host has counted them.

use serde::{Deserialize, Serialize};

use crate::chat::{Message, ToolOffer};

/// Bytes of a token before anything is known of a model: few enough for most texts to take up less.
const BYTES_PER_TOKEN: f64 = 3.5;

/// Most tokens of a byte: every byte its own, as text that a tokenizer does not know.
const CEILING: f64 = 1.0;

/// Fewest tokens of a byte, whatever was counted: long English words.
const FLOOR: f64 = 1.0 / 6.0;

/// What a template puts around a message: turn markers, the role, newlines.
const TOKENS_PER_MESSAGE: u64 = 8;

/// What a template puts around the offer of a tool.
const TOKENS_PER_TOOL: u64 = 16;

/// Fewest bytes that say something of a model: in less, the template counts for more than the text.
const MIN_OBSERVED_BYTES: u64 = 400;

/// A count below this part of the estimate is that of a chat which the host has cut, and says nothing of its model.
const CUT: f64 = 0.5;

/// How far an estimate goes down for one count that was lower. It goes up at once: too low an estimate loses text.
const DOWN: f64 = 0.25;

/// What of a chat takes up tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Size {
    /// Bytes of texts, calls and offers.
    pub bytes: u64,
    /// Messages.
    pub messages: u64,
    /// Tools that are offered.
    pub tools: u64,
}

impl Size {
    /// The size of a chat with these tools on offer.
    #[must_use]
    pub fn of(messages: &[Message], tools: &[ToolOffer]) -> Self {
        let offered = tools.iter().map(|tool| {
            tool.name.len() + tool.description.len() + tool.parameters.to_string().len()
        });
        let said = messages.iter().map(bytes);
        Self {
            bytes: said.chain(offered).sum::<usize>() as u64,
            messages: messages.len() as u64,
            tools: tools.len() as u64,
        }
    }
}

/// Bytes of a message that a model gets to see.
pub fn bytes(message: &Message) -> usize {
    let calls = message
        .tool_calls
        .iter()
        .map(|call| call.name.len() + call.arguments.to_string().len());
    message.content.len() + message.tool_name.as_ref().map_or(0, String::len) + calls.sum::<usize>()
}

/// How many tokens a model makes of a byte, learnt from what its host counts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    tokens_per_byte: f64,
}

impl Default for Calibration {
    fn default() -> Self {
        Self {
            tokens_per_byte: 1.0 / BYTES_PER_TOKEN,
        }
    }
}

impl Calibration {
    /// Tokens that a chat of this size takes up, rather too many than too few.
    #[must_use]
    pub fn estimate(&self, size: Size) -> u64 {
        let text = (size.bytes as f64 * self.tokens_per_byte).ceil() as u64;
        text + around(size)
    }

    /// Learns from a chat of this size, of which the host read `counted` tokens (`prompt_eval_count`; 0 when it did not say).
    ///
    /// Counts that are much too low are passed over: the host has cut the chat.
    pub fn observe(&mut self, size: Size, counted: u64) {
        let expected = self.estimate(size);
        let cut = (counted as f64) < expected as f64 * CUT;
        if size.bytes < MIN_OBSERVED_BYTES || cut {
            return;
        }
        let seen = counted.saturating_sub(around(size)) as f64 / size.bytes as f64;
        let next = if seen > self.tokens_per_byte {
            seen
        } else {
            self.tokens_per_byte + (seen - self.tokens_per_byte) * DOWN
        };
        self.tokens_per_byte = next.clamp(FLOOR, CEILING);
    }
}

fn around(size: Size) -> u64 {
    size.messages * TOKENS_PER_MESSAGE + size.tools * TOKENS_PER_TOOL
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::chat::ToolCall;

    #[test]
    fn everything_that_a_model_sees_counts() {
        let call = ToolCall {
            id: Some("call_1".into()),
            name: "sum".into(),
            arguments: json!([1, 2]),
        };
        let messages = [
            Message::user("1234"),
            Message::assistant("").calling(vec![call]),
            Message::tool("sum", "call_1", "3"),
        ];
        let offer = ToolOffer {
            name: "sum".into(),
            description: "Adds.".into(),
            parameters: json!({}),
        };
        let size = Size {
            bytes: 4 + (3 + 5) + (3 + 1) + (3 + 5 + 2),
            messages: 3,
            tools: 1,
        };
        assert_eq!(Size::of(&messages, &[offer]), size);
        assert_eq!(Calibration::default().estimate(size), 8 + 3 * 8 + 16);
    }

    fn text(bytes: u64) -> Size {
        Size {
            bytes,
            messages: 1,
            tools: 0,
        }
    }

    #[test]
    fn it_goes_up_at_once_and_down_slowly() {
        let mut calibration = Calibration::default();
        calibration.observe(text(1000), 508);
        assert_eq!(calibration.estimate(text(1000)), 508);
        calibration.observe(text(1000), 308);
        assert_eq!(calibration.estimate(text(1000)), 458);
    }

    #[test]
    fn cut_chats_short_ones_and_silent_hosts_teach_nothing() {
        let mut calibration = Calibration::default();
        calibration.observe(text(10_000), 0);
        calibration.observe(text(10_000), 1300);
        calibration.observe(text(399), 399);
        assert_eq!(calibration, Calibration::default());
    }

    proptest! {
        #[test]
        fn it_stays_in_its_bounds(counts in prop::collection::vec((0..100_000u64, 0..1_000_000u64), 0..50)) {
            let mut calibration = Calibration::default();
            for (bytes, counted) in counts {
                calibration.observe(text(bytes), counted);
                let estimate = calibration.estimate(text(60_000)) - 8;
                prop_assert!((10_000..=60_000).contains(&estimate), "{estimate}");
            }
        }
    }
}
