//! Control tokens in foreign text, and how to make them plain text.
//!
//! Hosts read control tokens wherever they stand: a document with `<|im_end|>` in it ends a turn and may forge the next one.
//! [`break_up`] puts a word joiner (U+2060) behind the first character of each: no tokenizer reads the marker any more, a
//! person sees no difference, and neither trimming nor the Unicode normal forms nor those of SentencePiece take it out again.

use std::borrow::Cow;

use crate::measures::Measure;

/// What is put into a marker.
pub const BREAK: char = '\u{2060}';

/// What markers begin with.
const FIRST: [char; 2] = ['<', '['];

/// Most bytes between `<|` and `|>`.
const MAX_INNER: usize = 96;

/// Markers that are not of the form `<|…|>`, of the templates that are in use: Llama 2, Mistral, Gemma, Qwen, DeepSeek, GLM.
const COMMON: [&str; 43] = [
    "<s>",
    "</s>",
    "<bos>",
    "<eos>",
    "<pad>",
    "<unk>",
    "<sop>",
    "<eop>",
    "<mask>",
    "[INST]",
    "[/INST]",
    "<<SYS>>",
    "<</SYS>>",
    "[gMASK]",
    "[IMG]",
    "[PREFIX]",
    "[SUFFIX]",
    "[MIDDLE]",
    "[TOOL_CALLS]",
    "[TOOL_CONTENT]",
    "[AVAILABLE_TOOLS]",
    "[/AVAILABLE_TOOLS]",
    "[TOOL_RESULTS]",
    "[/TOOL_RESULTS]",
    "[SYSTEM_PROMPT]",
    "[/SYSTEM_PROMPT]",
    "[ARGS]",
    "[CALL_ID]",
    "[THINK]",
    "[/THINK]",
    "<start_of_turn>",
    "<end_of_turn>",
    "<start_of_image>",
    "<end_of_image>",
    "<tools>",
    "</tools>",
    "<tool_call>",
    "</tool_call>",
    "<tool_response>",
    "</tool_response>",
    "<think>",
    "</think>",
    "<end_of_utterance>",
];

/// The markers that are broken up: the common ones, and those of a model.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Markers {
    own: Vec<String>,
}

impl Markers {
    /// The common markers and these, as [`extract`] finds them. Those of fewer than three characters, and those that begin
    /// with anything but `<` or `[`, are passed over.
    #[must_use]
    pub fn with(own: impl IntoIterator<Item = String>) -> Self {
        let is_marker = |marker: &String| {
            marker.starts_with(FIRST) && marker.chars().count() > 2 && !marker.contains(BREAK)
        };
        Self {
            own: own.into_iter().filter(is_marker).collect(),
        }
    }

    /// These and those.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        for marker in &other.own {
            if !self.own.contains(marker) {
                self.own.push(marker.clone());
            }
        }
        self
    }

    /// The text with every marker broken up; as it is when there is none. Once more changes nothing.
    #[must_use]
    pub fn break_up<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut broken = String::new();
        let mut copied = 0;
        for (at, first) in text.match_indices(FIRST) {
            let Some(rest) = text.get(at..).filter(|rest| self.begins(rest)) else {
                continue;
            };
            let behind = text.len() - rest.len() + first.len();
            broken.push_str(text.get(copied..behind).unwrap_or_default());
            broken.push(BREAK);
            copied = behind;
        }
        if copied == 0 {
            return Cow::Borrowed(text);
        }
        broken.push_str(text.get(copied..).unwrap_or_default());
        Cow::Owned(broken)
    }

    fn begins(&self, rest: &str) -> bool {
        let is_own = |marker: &String| rest.starts_with(marker.as_str());
        let is_marker = bars(rest).is_some()
            || COMMON.iter().any(|marker| rest.starts_with(marker))
            || self.own.iter().any(is_own);
        is_marker && Measure::BrokenMarkers.is_on()
    }
}

/// [`Markers::break_up`] for the common markers.
#[must_use]
pub fn break_up(text: &str) -> Cow<'_, str> {
    Markers::default().break_up(text)
}

/// The marker of the form `<|…|>` that a text begins with. The bars may be the wide ones of DeepSeek.
fn bars(text: &str) -> Option<&str> {
    const BARS: [char; 2] = ['|', '｜'];
    let inner = text.strip_prefix('<')?.strip_prefix(BARS)?;
    let end = inner
        .find(BARS)
        .filter(|end| (1..=MAX_INNER).contains(end))?;
    let other = |c: char| c.is_whitespace() || matches!(c, '<' | '>' | BREAK);
    if inner.get(..end)?.contains(other) {
        return None;
    }
    let rest = inner.get(end..)?.strip_prefix(BARS)?.strip_prefix('>')?;
    text.get(..text.len() - rest.len())
}

/// The markers of a model's template (Go or Jinja), in their order, each once: `<|…|>`, `<word>`, `</word>`, `<<WORD>>`,
/// `[WORD]` and `[/WORD]`.
#[must_use]
pub fn extract(template: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut rest = template;
    while let Some(at) = rest.find(['<', '[']) {
        rest = rest.get(at..).unwrap_or_default();
        let length = match marker(rest) {
            Some(marker) => {
                if !found.iter().any(|known| known == marker) {
                    found.push(marker.to_owned());
                }
                marker.len()
            }
            None => 1,
        };
        rest = rest.get(length..).unwrap_or_default();
    }
    found
}

fn marker(text: &str) -> Option<&str> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let capital = |c: char| c.is_ascii_uppercase() || c == '_';
    bars(text)
        .or_else(|| between(text, "<<", ">>", capital))
        .or_else(|| between(text, "<", ">", word))
        .or_else(|| between(text, "[", "]", capital))
}

/// What a text begins with, when it is a word, maybe with a slash before it, between these.
fn between<'a>(
    text: &'a str,
    open: &str,
    close: &str,
    word: impl Fn(char) -> bool,
) -> Option<&'a str> {
    let inner = text.strip_prefix(open)?;
    let inner = inner.strip_prefix('/').unwrap_or(inner);
    let rest = inner.trim_start_matches(word);
    let length = inner.len() - rest.len();
    let rest = rest.strip_prefix(close)?;
    (1..=MAX_INNER)
        .contains(&length)
        .then(|| text.get(..text.len() - rest.len()))?
}

#[cfg(test)]
mod tests;
