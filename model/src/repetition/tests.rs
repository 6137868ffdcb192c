use std::fmt::Write;

use proptest::prelude::*;

use super::*;

fn noticed(text: &str) -> Option<Repetition> {
    Detector::default().push(text)
}

const PROSE: &str = include_str!("../../../LICENSE");

#[test]
fn loops_are_noticed() {
    let sentence = "I will now call the tool to get the weather of the city. ";
    let paragraph = PROSE.get(..900).unwrap();
    for (text, excerpt) in [
        (format!("The answer is{}", " the".repeat(300)), "the"),
        ("!".repeat(1200), "!"),
        ("\n".repeat(2000), ""),
        ("哈".repeat(500), "哈"),
        (
            format!("{paragraph}{}", sentence.repeat(30)),
            sentence.trim(),
        ),
        (
            format!("Well.\n{}", "I am sorry, I cannot.\n".repeat(60)),
            "I am sorry, I cannot.",
        ),
        (paragraph.repeat(5), &paragraph.trim()[..10]),
        (
            "{\"name\": \"search\", \"arguments\": {}}\n".repeat(40),
            "{\"name\"",
        ),
    ] {
        let found = noticed(&text).unwrap_or_else(|| panic!("{excerpt}"));
        let rotated =
            text.contains(&found.excerpt) && found.excerpt.len() >= excerpt.len().min(EXCERPT / 2);
        assert!(rotated, "{found:?} for {excerpt}");
    }
}

#[test]
fn what_and_how_often() {
    let found = noticed(&format!("So: {}", "yes and no, ".repeat(200))).unwrap();
    assert_eq!(found.excerpt, "yes and no,".to_owned());
    assert!(found.times >= 83, "{found:?}");
}

#[test]
fn numbered_lines_with_one_text_are_noticed() {
    let mut text = String::new();
    for n in 1..40 {
        writeln!(text, "{n}. Let me try this again with another query.").unwrap();
        writeln!(text, "   The search did not find what I need.").unwrap();
    }
    let expected = Repetition {
        excerpt: "Let me try this again with another query.".to_owned(),
        times: 16,
    };
    assert_eq!(noticed(&text), Some(expected));
}

#[test]
fn honest_texts_are_left_alone() {
    let mut list = String::new();
    let mut table = "| x | x squared | even |\n|---|---|---|\n".to_owned();
    let mut days = String::new();
    let mut json = "[\n".to_owned();
    let mut truth = String::new();
    for n in 0..200u32 {
        writeln!(list, "- Item {n}: the {n}th thing that one should think of").unwrap();
        writeln!(table, "| {n} | {} | {} |", n * n, n % 2 == 0).unwrap();
        writeln!(
            days,
            "**Day {n}**\n- Status: not started yet\n- Owner: team {}\n",
            n % 7
        )
        .unwrap();
        writeln!(json, "  {{\n    \"type\": \"object\",\n    \"id\": {n},\n    \"additionalProperties\": false\n  }},").unwrap();
    }
    for n in 0..64u32 {
        let row: Vec<String> = (0..6).map(|bit| (n >> bit & 1).to_string()).collect();
        writeln!(truth, "| {} |", row.join(" | ")).unwrap();
    }
    let code = include_str!("../repetition.rs");
    let matrix = "[0, 0, 0, 0, 0, 0, 0, 0, 0, 0],\n".repeat(10);
    let art = format!("{}\n{}\n", "=".repeat(120), " ".repeat(120)).repeat(3);
    let rules = format!(
        "{}\n\nA chapter of its own.\n\n{}\n",
        "-".repeat(300),
        "*".repeat(300)
    );
    let nested = "        }\n    }\n}\n\n".repeat(20);
    let blank = " ".repeat(900);
    let german = "Der Hund bellt, die Katze schläft, und das Kind lacht. ".repeat(3);
    for text in [
        &list, &table, &days, &json, &truth, code, PROSE, &matrix, &art, &rules, &nested, &blank,
        &german,
    ] {
        assert_eq!(noticed(text), None, "{}", text.get(..60).unwrap_or(text));
    }
}

#[test]
fn memory_is_bounded() {
    let mut detector = Detector::default();
    for n in 0..20_000u32 {
        let line = format!(
            "{} {}\n",
            n.wrapping_mul(2_654_435_761),
            n.wrapping_mul(40_503)
        );
        assert_eq!(detector.push(&line), None);
    }
    assert_eq!(detector.push(&"x".repeat(100)), None);
    assert!(
        detector.recent.len() <= 3 * WINDOW,
        "{}",
        detector.recent.len()
    );
}

proptest! {
    #[test]
    fn pieces_make_no_difference(
        lead in "[a-z ]{0,400}", piece in "\\PC{1,40}", times in 1..120usize, sizes in prop::collection::vec(1..200usize, 1..20),
    ) {
        let text = format!("{lead}{}", piece.repeat(times));
        let mut detector = Detector::default();
        let mut found = None;
        let mut rest = text.as_str();
        for size in sizes.iter().cycle() {
            if rest.is_empty() || found.is_some() {
                break;
            }
            let (piece, behind) = rest.split_at(rest.ceil_char_boundary(*size));
            found = detector.push(piece);
            rest = behind;
        }
        prop_assert_eq!(found, noticed(&text));
    }

    #[test]
    fn a_piece_without_end_is_noticed_in_time(lead in "[a-z ]{0,3000}", piece in "\\PC{1,120}") {
        let text = format!("{lead}{}", piece.repeat(5000 / piece.len()));
        prop_assert!(noticed(&text).is_some());
    }

    #[test]
    fn texts_of_random_words_are_left_alone(words in prop::collection::vec("[a-z]{1,9}", 200..600)) {
        prop_assert_eq!(noticed(&words.join(" ")), None);
    }
}
