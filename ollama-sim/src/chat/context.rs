//! What happens to prompts that are longer than the window.

use crate::conversation::Message;
use crate::models::Emission;
use crate::refusal::Refusal;
use crate::release::Release;
use crate::tokens::Tokenizer;

/// The window, and what the request allows when the prompt does not fit into it.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    /// In tokens.
    pub size: u64,
    /// Whether the prompt may be cut.
    pub truncate: bool,
    /// Whether the window may slide.
    pub shift: bool,
    /// Whose rules hold.
    pub release: Release,
    /// With which of the server's two ways of rendering.
    pub emission: Emission,
}

/// A prompt that fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fit {
    /// How many tokens of it the model sees, as `prompt_eval_count` tells.
    pub prompt: u64,
    /// How many tokens there is room for behind it; none: the window slides.
    pub room: Option<u64>,
}

/// How many tokens of a prompt the model would see.
///
/// With `truncate` the oldest messages but system ones and the last are left out until the rest fits. If that does not
/// do, 0.17 cuts to the window, and 0.33 to half of it and three tokens (measured: 131 of 256, 4099 of 8192); where
/// the runner renders, it is refused. `extra` bytes of tools are part of the prompt. The answer is made up from the
/// whole prompt all the same.
///
/// # Errors
/// 400 in one of three wordings.
pub fn fit(
    messages: &[Message],
    extra: usize,
    window: Window,
    tokenizer: &Tokenizer,
) -> Result<Fit, Refusal> {
    let weights = messages.iter().map(|message| message.weight(tokenizer));
    let mut weight = extra + weights.sum::<usize>();
    let whole = tokenizer.prompt(weight);
    if whole > window.size && !window.truncate {
        return Err(match window.release {
            Release::V0_17 => Refusal::bad_request("the input length exceeds the context length"),
            Release::V0_33 => too_long(whole, window.size),
        });
    }
    let earlier = messages
        .split_last()
        .map_or(&[][..], |(_, earlier)| earlier);
    for message in earlier.iter().filter(|message| message.role != "system") {
        if tokenizer.prompt(weight) <= window.size {
            break;
        }
        weight -= message.weight(tokenizer);
    }
    let left = tokenizer.prompt(weight);
    if left <= window.size {
        return Ok(window.with(left));
    }
    match (window.release, window.emission) {
        (Release::V0_33, Emission::Native) => Err(too_long(left, window.size)),
        (Release::V0_33, _) if !window.shift => Err(Refusal::bad_request(
            "the prompt is longer than the context length currently available to the model; shorten the prompt, \
             adjust the context length in settings, or use a model with a longer context length",
        )),
        (Release::V0_33, _) => Ok(window.with((window.size / 2 + 3).min(window.size))),
        (Release::V0_17, _) => Ok(window.with(window.size)),
    }
}

impl Window {
    /// A prompt of so many tokens in it. 0.17 lets one token more follow than there is room for.
    fn with(self, prompt: u64) -> Fit {
        let left = self.size.saturating_sub(prompt);
        let room = match self.release {
            Release::V0_17 => left + 1,
            Release::V0_33 => left.max(1),
        };
        Fit {
            prompt,
            room: (!self.shift).then_some(room),
        }
    }
}

/// The document of the runner, which the server passes on as a string in `error`; its fields in this order.
fn too_long(prompt: u64, window: u64) -> Refusal {
    Refusal::bad_request(format!(
        r#"{{"error":{{"code":400,"message":"request ({prompt} tokens) exceeds the available context size ({window} tokens), try increasing it","type":"exceed_context_size_error","n_prompt_tokens":{prompt},"n_ctx":{window}}}}}"#
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: Window = Window {
        size: 256,
        truncate: true,
        shift: true,
        release: Release::V0_33,
        emission: Emission::Rendered,
    };
    const OLD: Window = Window {
        release: Release::V0_17,
        ..NEW
    };

    fn messages(parts: &[(&str, usize)]) -> Vec<Message> {
        let message = |(role, tokens): &(&str, usize)| Message::new(role, &"abc ".repeat(*tokens));
        parts.iter().map(message).collect()
    }

    fn fit(messages: &[Message], extra: usize, window: Window) -> Result<Fit, Refusal> {
        super::fit(messages, extra, window, &Tokenizer::default())
    }

    fn seen(parts: &[(&str, usize)], window: Window) -> u64 {
        fit(&messages(parts), 0, window).unwrap().prompt
    }

    #[test]
    fn the_oldest_messages_are_left_out() {
        let chat = [
            ("system", 10),
            ("user", 50),
            ("assistant", 30),
            ("user", 20),
        ];
        let sizes = [110, 109, 59, 30];
        assert_eq!(
            sizes.map(|size| seen(&chat, Window { size, ..NEW })),
            [110, 60, 30, 30]
        );
        assert_eq!(
            sizes.map(|size| seen(&chat, Window { size, ..OLD })),
            [110, 60, 30, 30]
        );
    }

    #[test]
    fn tools_take_room_too() {
        let chat = messages(&[("user", 200)]);
        assert_eq!(fit(&chat, 200, NEW).unwrap().prompt, 250);
        assert_eq!(fit(&chat, 400, NEW).unwrap().prompt, 131);
    }

    #[test]
    fn what_cannot_be_left_out_is_cut() {
        assert_eq!(seen(&[("user", 3003)], NEW), 131);
        assert_eq!(seen(&[("system", 3003), ("user", 1)], NEW), 131);
        assert_eq!(seen(&[("user", 9003)], Window { size: 8192, ..NEW }), 4099);
        assert_eq!(seen(&[("user", 9)], Window { size: 4, ..NEW }), 4);
        assert_eq!(seen(&[("user", 3003)], OLD), 256);
    }

    #[test]
    fn a_window_that_does_not_slide_ends_the_answer() {
        let chat = messages(&[("user", 56)]);
        let fixed = |window| Window {
            shift: false,
            ..window
        };
        let rooms = [NEW, fixed(NEW), fixed(OLD)].map(|window| fit(&chat, 0, window).unwrap().room);
        assert_eq!(rooms, [None, Some(200), Some(201)]);
    }

    #[test]
    fn each_release_refuses_in_its_words() {
        let chat = messages(&[("user", 300)]);
        let refused = |window| fit(&chat, 0, window).unwrap_err();
        let exact = Window {
            size: 300,
            truncate: false,
            ..NEW
        };
        assert_eq!(fit(&chat, 0, exact).unwrap().prompt, 300);
        let untruncated = |window| Window {
            truncate: false,
            ..window
        };
        assert_eq!(
            refused(untruncated(OLD)),
            Refusal::bad_request("the input length exceeds the context length")
        );
        let native = Window {
            emission: Emission::Native,
            ..NEW
        };
        for window in [untruncated(NEW), native] {
            let message: serde_json::Value =
                serde_json::from_str(&refused(window).message).unwrap();
            assert_eq!(message["error"]["type"], "exceed_context_size_error");
            assert_eq!(message["error"]["n_prompt_tokens"], 300);
            assert_eq!(message["error"]["n_ctx"], 256);
        }
        let fixed = |window| Window {
            shift: false,
            ..window
        };
        assert!(
            refused(fixed(NEW))
                .message
                .starts_with("the prompt is longer than")
        );
        let full = Fit {
            prompt: 256,
            room: Some(1),
        };
        assert_eq!(fit(&chat, 0, fixed(OLD)), Ok(full));
    }
}
