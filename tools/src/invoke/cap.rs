//! Keeps a result so small that a model can read it.

use swarm_protocol::journal::ToolContent;

/// Most bytes of a result, over all its parts, without the note that says what was left out.
pub const MAX_RESULT_BYTES: usize = 64 * 1024;

/// The parts, cut where they get larger than `most` bytes together. What is cut of JSON becomes text.
pub fn cap(content: Vec<ToolContent>, most: usize) -> Vec<ToolContent> {
    let mut room = most;
    let mut left_out = 0;
    let mut kept = Vec::new();
    for part in content {
        let text = match part {
            ToolContent::Text(text) => text,
            ToolContent::Json(value) => {
                let text = value.to_string();
                if left_out == 0 && text.len() <= room {
                    room -= text.len();
                    kept.push(ToolContent::Json(value));
                    continue;
                }
                text
            }
        };
        if left_out > 0 {
            left_out += text.len();
            continue;
        }
        let end = text.floor_char_boundary(room);
        room -= end;
        left_out = text.len() - end;
        if left_out == 0 {
            kept.push(ToolContent::Text(text));
        } else if end > 0 {
            kept.push(ToolContent::Text(
                text.get(..end).unwrap_or_default().to_owned(),
            ));
        }
    }
    if left_out > 0 {
        kept.push(ToolContent::Text(format!(
            "[{left_out} more bytes of this result were left out]"
        )));
    }
    kept
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn text(text: &str) -> ToolContent {
        ToolContent::Text(text.to_owned())
    }

    #[test]
    fn what_fits_is_left_alone() {
        let content = vec![text("12345"), ToolContent::Json(json!([1])), text("")];
        assert_eq!(cap(content.clone(), 8), content);
    }

    #[test]
    fn the_rest_is_counted() {
        let content = vec![text("12345"), text("äöü"), ToolContent::Json(json!([1]))];
        let expected = vec![
            text("12345"),
            text("ä"),
            text("[7 more bytes of this result were left out]"),
        ];
        assert_eq!(cap(content, 8), expected);
    }

    #[test]
    fn json_that_is_cut_becomes_text() {
        let content = vec![ToolContent::Json(json!([1, 2, 3]))];
        let expected = vec![
            text("[1,2"),
            text("[3 more bytes of this result were left out]"),
        ];
        assert_eq!(cap(content, 4), expected);
    }
}
