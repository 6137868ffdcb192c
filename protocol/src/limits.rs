//! Numbers that bound messages and runs.

/// Largest payload stored inline in a run log or journal, in bytes.
pub const MAX_INLINE: usize = 128 * 1024;
/// Largest payload of a submission, in bytes: what a server with the default `max_payload` of 1 MiB takes, less the headers
/// that an `ask` adds on its way into the inbox.
pub const MAX_SUBMISSION: usize = 1008 * 1024;
/// Largest text of one answer, in bytes.
pub const MAX_ANSWER: usize = 8 * 1024 * 1024;
/// Most bytes of answers that one text is made of.
pub const MAX_COMBINED: u64 = 32 * 1024 * 1024;
/// Characters that stand where a text was, when the whole of it is a blob.
pub const BEGINNING_CHARS: usize = 400;
/// What a user's texts may take of one event, in bytes of JSON: the rest of [`MAX_RUN_MESSAGE`] is for what stands around
/// them. JSON may write one byte as six.
pub const MAX_ENCODED: usize = 400 * 1024;
/// Largest message of the run stream, in bytes.
pub const MAX_RUN_MESSAGE: i32 = 512 * 1024;
/// Open tasks of one run.
pub const MAX_TASKS: usize = 1000;
/// Events of one run.
pub const MAX_EVENTS: u64 = 10_000;
/// Bytes of the texts of one run's log.
pub const MAX_LOG_BYTES: u64 = 16 * 1024 * 1024;
/// Bytes of what a person says about a command.
pub const MAX_REASON_BYTES: usize = 1024;
/// Bytes of one message to a run.
pub const MAX_MESSAGE_BYTES: usize = 16 * 1024;
/// Bytes of all messages to one run.
pub const MAX_MESSAGES_BYTES: usize = 64 * 1024;
/// Labels of one run.
pub const MAX_LABELS: usize = 16;
/// Bytes of a label's name and of its value.
pub const MAX_LABEL_BYTES: usize = 64;
/// Characters of the task that stand in a summary.
pub const SUMMARY_TASK_CHARS: usize = 80;
/// Runs of one page of a list.
pub const DEFAULT_PAGE: usize = 100;
/// Most runs of one page of a list.
pub const MAX_PAGE: usize = 1000;

/// Bytes of a text as JSON writes it.
#[must_use]
pub fn encoded_len(text: &str) -> usize {
    // Characters of several bytes are written as they are, and none of those bytes is ASCII.
    text.bytes()
        .map(|byte| match byte {
            b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 2,
            0..b' ' => 6,
            _ => 1,
        })
        .sum::<usize>()
        + 2
}

/// The longest beginning of a text that takes at most `room` bytes as JSON writes it.
#[must_use]
pub fn encoded_prefix(text: &str, room: usize) -> &str {
    let mut used = 2;
    let end = text.char_indices().find(|(at, c)| {
        let end = at + c.len_utf8();
        used += encoded_len(text.get(*at..end).unwrap_or_default()) - 2;
        used > room
    });
    end.map_or(text, |(at, _)| text.get(..at).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_encoded_length_is_that_of_the_json(text in any::<String>()) {
            prop_assert_eq!(encoded_len(&text), serde_json::to_string(&text).unwrap().len());
        }

        #[test]
        fn a_prefix_fits_and_could_not_be_longer(text in any::<String>(), room in 2usize..60) {
            let prefix = encoded_prefix(&text, room);
            prop_assert!(text.starts_with(prefix));
            prop_assert!(encoded_len(prefix) <= room);
            if let Some(next) = text[prefix.len()..].chars().next() {
                let longer = [prefix, &next.to_string()].concat();
                prop_assert!(encoded_len(&longer) > room);
            }
        }
    }
}
