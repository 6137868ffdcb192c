//! What happens to prompts that are longer than the window.

use serde_json::json;

use crate::answer::Message;
use crate::refusal::Refusal;
use crate::tokens;

/// How many tokens of the prompt the model would see, as `prompt_eval_count` tells.
///
/// With `truncate` the oldest messages but system ones and the last are left out until the rest fits; if that does not
/// do, half of the window and three tokens are kept (measured with Ollama 0.33: 131 of 256, 4099 of 8192). The answer
/// is made up from the whole prompt all the same.
///
/// # Errors
/// Without `truncate`: 400, with the document of Ollama's runner as a string in `error`.
pub fn fit(messages: &[Message], window: u64, truncate: bool) -> Result<u64, Refusal> {
    let mut bytes: usize = messages.iter().map(|message| message.content.len()).sum();
    let whole = tokens::estimate(bytes);
    if whole > window && !truncate {
        return Err(too_long(whole, window));
    }
    let Some((_, earlier)) = messages.split_last() else {
        return Ok(0);
    };
    for message in earlier.iter().filter(|message| message.role != "system") {
        if tokens::estimate(bytes) <= window {
            break;
        }
        bytes -= message.content.len();
    }
    let left = tokens::estimate(bytes);
    Ok(if left > window {
        (window / 2 + 3).min(window)
    } else {
        left
    })
}

fn too_long(prompt: u64, window: u64) -> Refusal {
    let error = json!({"error": {
        "code": 400,
        "message": format!(
            "request ({prompt} tokens) exceeds the available context size ({window} tokens), try increasing it"
        ),
        "type": "exceed_context_size_error",
        "n_prompt_tokens": prompt,
        "n_ctx": window,
    }});
    Refusal::bad_request(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(parts: &[(&str, usize)]) -> Vec<Message> {
        let message = |(role, tokens): &(&str, usize)| Message {
            role: (*role).to_owned(),
            content: "abc ".repeat(*tokens),
        };
        parts.iter().map(message).collect()
    }

    #[test]
    fn the_oldest_messages_are_left_out() {
        let chat = messages(&[
            ("system", 10),
            ("user", 50),
            ("assistant", 30),
            ("user", 20),
        ]);
        assert_eq!(
            [110, 109, 59, 30].map(|window| fit(&chat, window, true)),
            [Ok(110), Ok(60), Ok(30), Ok(30)]
        );
    }

    #[test]
    fn half_a_window_is_kept_of_what_cannot_be_left_out() {
        assert_eq!(fit(&messages(&[("user", 3003)]), 256, true), Ok(131));
        assert_eq!(
            fit(&messages(&[("system", 3003), ("user", 1)]), 256, true),
            Ok(131)
        );
        assert_eq!(fit(&messages(&[("user", 9)]), 4, true), Ok(4));
    }

    #[test]
    fn without_truncation_it_is_refused() {
        let chat = messages(&[("user", 300)]);
        assert_eq!(fit(&chat, 300, false), Ok(300));
        let expected = json!({"error": {
            "code": 400,
            "message": "request (300 tokens) exceeds the available context size (256 tokens), try increasing it",
            "n_ctx": 256,
            "n_prompt_tokens": 300,
            "type": "exceed_context_size_error",
        }});
        let refusal = fit(&chat, 256, false).unwrap_err();
        let message: serde_json::Value = serde_json::from_str(&refusal.message).unwrap();
        assert_eq!((refusal.status.as_u16(), message), (400, expected));
    }
}
