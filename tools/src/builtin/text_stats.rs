//! `text_stats`: how long a text is, and which words it uses most.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::Builtin;
use crate::spec::SpecError;
use crate::tool::ToolError;

/// Words that a reader takes in a minute (Brysbaert 2019: 238 of English prose, silently).
const WORDS_PER_MINUTE: usize = 238;

/// Words that are listed when nothing else is asked for.
const TOP: u64 = 5;

pub fn tool() -> Result<Builtin, SpecError> {
    let schema = json!({
        "type": "object",
        "properties": {
            "text": {"type": "string", "description": "The text to measure"},
            "top": {
                "type": "integer", "minimum": 0, "maximum": 50,
                "description": "How many of the most frequent words to list, 5 if left out"
            },
        },
        "required": ["text"],
        "additionalProperties": false,
    });
    Builtin::new(
        "text_stats",
        "Measures a text: characters, words, sentences, lines, reading time, and its most frequent words.",
        &schema,
        run,
    )
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "the signature that all built-in tools have"
)]
fn run(input: &Value) -> Result<Value, ToolError> {
    let text = input.get("text").and_then(Value::as_str).unwrap_or("");
    let top = input.get("top").and_then(Value::as_u64).unwrap_or(TOP);
    let words: Vec<&str> = words(text).collect();
    Ok(json!({
        "characters": text.chars().count(),
        "words": words.len(),
        "sentences": sentences(text),
        "lines": text.lines().count(),
        "reading_seconds": (words.len() * 60).div_ceil(WORDS_PER_MINUTE),
        "frequent_words": frequent(&words, usize::try_from(top).unwrap_or(0)),
    }))
}

/// Runs of letters and digits, with apostrophes and hyphens inside.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_alphanumeric() || matches!(c, '\'' | '’' | '-')))
        .map(|word| word.trim_matches(['\'', '’', '-']))
        .filter(|word| !word.is_empty())
}

/// Ends of sentences: a run of `.!?…` with closing quotes and brackets behind, then a blank or the end; and what stands
/// behind the last one.
fn sentences(text: &str) -> usize {
    let mut count = 0;
    let (mut said, mut ended) = (false, false);
    for c in text.chars() {
        match c {
            '.' | '!' | '?' | '…' => ended = said,
            '。' | '！' | '？' => {
                count += usize::from(said);
                (said, ended) = (false, false);
            }
            '"' | '\'' | '”' | '’' | '»' | ')' | ']' if ended => {}
            _ if c.is_whitespace() => {
                if ended {
                    count += 1;
                    (said, ended) = (false, false);
                }
            }
            _ => {
                said |= c.is_alphanumeric();
                ended = false;
            }
        }
    }
    count + usize::from(said)
}

/// The most frequent words in lower case, with how often each stands there; ties in the order of the text.
fn frequent(words: &[&str], top: usize) -> Vec<Value> {
    let mut counts: HashMap<String, (usize, usize)> = HashMap::new();
    for (place, word) in words.iter().enumerate() {
        counts.entry(word.to_lowercase()).or_insert((0, place)).0 += 1;
    }
    let mut counts: Vec<(String, (usize, usize))> = counts.into_iter().collect();
    counts.sort_by_key(|(_, (count, place))| (std::cmp::Reverse(*count), *place));
    counts
        .into_iter()
        .take(top)
        .map(|(word, (count, _))| json!({"word": word, "count": count}))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_measured() {
        let text = "The cat sat. \"Did the dog?\" It didn't...\nVersion 3.5 is out";
        let measured = run(&json!({"text": text, "top": 2})).unwrap();
        let expected = json!({
            "characters": 59, "words": 13, "sentences": 4, "lines": 2, "reading_seconds": 4,
            "frequent_words": [{"word": "the", "count": 2}, {"word": "cat", "count": 1}],
        });
        assert_eq!(measured, expected);
    }

    #[test]
    fn nothing_is_nothing() {
        for text in ["", "  \n ", "... !"] {
            let measured = run(&json!({"text": text})).unwrap();
            assert_eq!(measured["words"], 0, "{text:?}");
            assert_eq!(measured["sentences"], 0, "{text:?}");
            assert_eq!(measured["reading_seconds"], 0, "{text:?}");
        }
    }

    #[test]
    fn sentences_of_languages_without_blanks() {
        assert_eq!(sentences("今日は晴れです。明日は雨？"), 2);
    }
}
