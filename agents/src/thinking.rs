//! What a model thinks before it answers, when it writes that into the answer.

use crate::measures::Measure;

/// The tags that models put around it.
const TAGS: [(&str, &str); 2] = [("<think>", "</think>"), ("<thinking>", "</thinking>")];

/// A text in two parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stripped<'a> {
    /// What the model thought; the first block of it when there are several. Empty when there is none.
    pub thinking: &'a str,
    /// The answer. Empty when the model never came to one.
    pub answer: &'a str,
}

/// Takes `<think>…</think>` off the beginning of a text. What is not closed is no answer. Any other text stays as it is.
#[must_use]
pub fn strip(text: &str) -> Stripped<'_> {
    let mut stripped = Stripped {
        thinking: "",
        answer: text,
    };
    while let Some((thinking, answer)) = first_block(stripped.answer)
        && Measure::StripThinking.is_on()
    {
        if stripped.thinking.is_empty() {
            stripped.thinking = thinking.trim();
        }
        stripped.answer = answer.trim_start();
    }
    stripped
}

fn first_block(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start();
    TAGS.iter().find_map(|(open, close)| {
        let inner = text.strip_prefix(open)?;
        Some(inner.split_once(close).unwrap_or((inner, "")))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn thinking_at_the_beginning_goes() {
        for (text, thinking, answer) in [
            ("<think>\nHm.\n</think>\n\nParis.\n", "Hm.", "Paris.\n"),
            ("\n <think></think>Paris.", "", "Paris."),
            ("<thinking>Hm.</thinking> Paris.", "Hm.", "Paris."),
            (
                "<think>One.</think><think>Two.</think>Paris.",
                "One.",
                "Paris.",
            ),
            ("<think>Hm. Still", "Hm. Still", ""),
            ("<think>Hm.</think>", "Hm.", ""),
        ] {
            assert_eq!(strip(text), Stripped { thinking, answer }, "{text:?}");
        }
    }

    #[test]
    fn other_text_stays() {
        for text in [
            "",
            " Paris.\n",
            "The tag <think> is </think> closed.",
            "</think>Paris.",
            "<thin",
        ] {
            assert_eq!(
                strip(text),
                Stripped {
                    thinking: "",
                    answer: text
                }
            );
        }
    }

    proptest! {
        #[test]
        fn the_answer_is_the_end_of_the_text(text in "( |<think>|</think>|<thinking>|</thinking>|\\PC){0,12}") {
            let stripped = strip(&text);
            prop_assert!(text.ends_with(stripped.answer));
            prop_assert_eq!(strip(stripped.answer).answer, stripped.answer);
        }
    }
}
