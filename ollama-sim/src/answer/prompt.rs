//! What can be read out of prompts without understanding them.

/// Which clauses suit a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Research, analysis.
    Facts,
    /// Brainstorming, design.
    Ideas,
    /// Criticism, review.
    Risks,
    /// Putting others' answers together.
    Summary,
    /// Everything else.
    Generic,
}

/// The contribution of somebody else, quoted in a message as `## <name>` and text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// The heading.
    pub name: String,
    /// The first sentence below it.
    pub gist: String,
}

const TASK_LENGTH: usize = 80;
const GIST_LENGTH: usize = 400;
const ROLE_WORDS: usize = 5;
const NO_ROLE: &str = "assistant";

/// The role that a system prompt gives in its first sentence: "You are the research agent of ..." is "research agent".
/// Without one: "assistant".
pub fn role(system: &str) -> String {
    let system = flat(system);
    let Some(named) = after_you_are(&system) else {
        return NO_ROLE.to_owned();
    };
    let mut words = Vec::new();
    for word in named
        .split(' ')
        .skip_while(|word| is_article(word))
        .take(ROLE_WORDS)
    {
        let bare = word.trim_matches(|c: char| !c.is_alphanumeric());
        if bare.is_empty() || is_end(bare) {
            break;
        }
        words.push(bare);
        if bare.eq_ignore_ascii_case("agent") || word.ends_with(['.', ',', ';', ':', '!', '?', ')'])
        {
            break;
        }
    }
    if words.is_empty() {
        NO_ROLE.to_owned()
    } else {
        words.join(" ")
    }
}

/// The kind of a role. One without a kind that is given several contributions is to sum them up.
pub fn kind(role: &str, sections: usize) -> Kind {
    let role = role.to_lowercase();
    let has = |stems: &[&str]| stems.iter().any(|stem| role.contains(stem));
    if has(&["summar", "aggregat", "editor"]) {
        Kind::Summary
    } else if has(&["research", "analy", "fact", "scien", "librar"]) {
        Kind::Facts
    } else if has(&["creativ", "idea", "brainstorm", "design", "invent"]) {
        Kind::Ideas
    } else if has(&["critic", "risk", "review", "evaluat", "audit"]) {
        Kind::Risks
    } else if sections > 1 {
        Kind::Summary
    } else {
        Kind::Generic
    }
}

/// The contributions in a message. A section "Task" is none.
pub fn sections(message: &str) -> Vec<Section> {
    let all = headed(message).into_iter().skip(1);
    all.filter(|(name, _)| !is_task(name))
        .map(|(name, body)| Section {
            name: name.to_owned(),
            gist: first_sentence(&body),
        })
        .collect()
}

/// The first 80 characters of what a message asks for, on one line: of its text before the first section, or else of
/// its section "Task".
pub fn task(message: &str) -> String {
    let all = headed(message);
    let bodies = all
        .iter()
        .filter(|(name, _)| name.is_empty() || is_task(name))
        .map(|(_, body)| flat(body));
    let body = bodies.into_iter().find(|body| !body.is_empty());
    body.map_or_else(|| "(none)".to_owned(), |body| shortened(&body, TASK_LENGTH))
}

/// The message cut at its `## ` headings: each with the text below it, the first one with an empty name. Headings of
/// other levels are left out.
fn headed(message: &str) -> Vec<(&str, String)> {
    let (mut parts, mut name, mut body) = (Vec::new(), "", String::new());
    for line in message.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            parts.push((name, std::mem::take(&mut body)));
            name = heading.trim().trim_end_matches(':');
        } else if !line.starts_with('#') {
            body.push_str(line);
            body.push('\n');
        }
    }
    parts.push((name, body));
    parts
}

fn is_task(name: &str) -> bool {
    name.eq_ignore_ascii_case("task")
}

/// The first sentence, on one line and without the mark of a simulated answer: up to a full stop, question or
/// exclamation mark before a blank, of the first paragraph.
fn first_sentence(text: &str) -> String {
    let text = text.trim();
    let text = match text
        .strip_prefix("[SIMULATED ")
        .and_then(|rest| rest.split_once("] "))
    {
        Some((_, rest)) => rest,
        None => text,
    };
    let paragraph = flat(text.split("\n\n").next().unwrap_or(text));
    if paragraph.is_empty() {
        return "(no text)".to_owned();
    }
    let stops = paragraph
        .match_indices(['.', '!', '?'])
        .map(|(place, _)| place + 1);
    let sentence = stops
        .filter_map(|end| paragraph.split_at_checked(end))
        // "1. Yes." is one sentence: its number alone says nothing.
        .find(|(before, after)| after.starts_with(' ') && before.contains(char::is_alphabetic));
    shortened(
        sentence.map_or(&paragraph, |(before, _)| before),
        GIST_LENGTH,
    )
}

fn after_you_are(system: &str) -> Option<&str> {
    const YOU_ARE: &str = "you are ";
    // ASCII lower case keeps all places.
    let place = system.to_ascii_lowercase().find(YOU_ARE)?;
    let (before, named) = system.split_at_checked(place + YOU_ARE.len())?;
    let in_first_sentence = !before.contains(['.', '!', '?']);
    in_first_sentence.then_some(named)
}

fn is_article(word: &str) -> bool {
    ["the", "a", "an", "our"]
        .iter()
        .any(|article| word.eq_ignore_ascii_case(article))
}

fn is_end(word: &str) -> bool {
    let ends = [
        "of", "in", "on", "at", "for", "with", "to", "from", "who", "that", "which", "whose",
        "and", "working",
    ];
    ends.iter().any(|end| word.eq_ignore_ascii_case(end))
}

fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The first `length` characters, and a sign that there were more.
pub fn shortened(text: &str, length: usize) -> String {
    match text
        .char_indices()
        .nth(length)
        .and_then(|(end, _)| text.get(..end))
    {
        Some(start) => format!("{}\u{2026}", start.trim_end()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_of_system_prompts() {
        let cases = [
            ("You are the research agent of a team.", "research agent"),
            (
                "You are `research_agent`, a member of a team.",
                "research_agent",
            ),
            (
                "Hello, you are a\nkind critical agent who doubts.",
                "kind critical agent",
            ),
            ("You are an expert in fish.", "expert"),
            ("You are Ada.", "Ada"),
            ("Be brief. You are nobody.", "assistant"),
            (
                "You are the one two three four five six",
                "one two three four five",
            ),
            ("You are ", "assistant"),
            ("", "assistant"),
        ];
        for (system, expected) in cases {
            assert_eq!(role(system), expected, "{system:?}");
        }
    }

    #[test]
    fn kinds_of_roles() {
        let cases = [
            ("research_agent", 3, Kind::Facts),
            ("Creative agent", 0, Kind::Ideas),
            ("critical agent", 0, Kind::Risks),
            ("literary critic", 0, Kind::Risks),
            ("summarizer_agent", 0, Kind::Summary),
            ("assistant", 1, Kind::Generic),
            ("assistant", 2, Kind::Summary),
        ];
        for (role, sections, expected) in cases {
            assert_eq!(kind(role, sections), expected, "{role}");
        }
    }

    #[test]
    fn sections_and_task_of_a_message() {
        let message = "# All\nSum  it\nup.\n\n## Task\nother\n## a b:\n\n1. Yes. No.\n### deeper\nx\n## c\n[SIMULATED m:1] One\ntwo\n\nthree.";
        let section = |name: &str, gist: &str| Section {
            name: name.to_owned(),
            gist: gist.to_owned(),
        };
        assert_eq!(
            sections(message),
            [section("a b", "1. Yes."), section("c", "One two")]
        );
        assert_eq!(task(message), "Sum it up.");
        assert_eq!(task("## Task\nother\n## x\ny"), "other");
        assert_eq!(task("## x\ny"), "(none)");
    }

    #[test]
    fn long_texts_are_shortened_at_characters() {
        assert_eq!(task(&"ä".repeat(81)), format!("{}\u{2026}", "ä".repeat(80)));
        assert_eq!(task(&"ä".repeat(80)), "ä".repeat(80));
    }
}
