//! Several answers become one, where no agent is needed for it.

use serde_json::{Map, Value};
use swarm_protocol::{Aggregate, Answer, AnswerStatus, TaskId};

/// What several answers come to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Combined {
    /// For a person; none where the answers stand under their names.
    pub text: Option<String>,
    /// For a program.
    pub data: Option<Value>,
}

/// Combines answers, in the order of their tasks; those that did not complete are passed over. Other ways than `vote` and
/// `json` combine nothing.
#[must_use]
pub fn combine(mode: Aggregate, answers: &[&Answer]) -> Combined {
    let completed = answers
        .iter()
        .filter(|answer| answer.status == AnswerStatus::Completed);
    let completed: Vec<(&TaskId, &str)> = completed
        .filter_map(|answer| Some((&answer.task, answer.text.as_deref()?)))
        .collect();
    match mode {
        Aggregate::Vote => vote(&completed),
        Aggregate::Json => json(&completed),
        Aggregate::Concat | Aggregate::Summarize | Aggregate::First => Combined::default(),
    }
}

/// Texts count as the same without the blanks around them and in any case; the first of them is told.
fn vote(answers: &[(&TaskId, &str)]) -> Combined {
    let mut counts: Vec<(String, &str, u64)> = Vec::new();
    for (_, text) in answers {
        let text = text.trim();
        let same = text.to_lowercase();
        match counts.iter_mut().find(|(known, _, _)| *known == same) {
            Some((_, _, count)) => *count += 1,
            None => counts.push((same, text, 1)),
        }
    }
    // Of equal counts `max_by_key` takes the last.
    let winner = counts.iter().rev().max_by_key(|(_, _, count)| *count);
    let text = winner.map(|(_, text, _)| (*text).to_owned());
    let data: Map<String, Value> = counts
        .into_iter()
        .map(|(same, _, count)| (same, Value::from(count)))
        .collect();
    Combined {
        text,
        data: Some(Value::Object(data)),
    }
}

fn json(answers: &[(&TaskId, &str)]) -> Combined {
    let parsed =
        |text: &str| serde_json::from_str(text.trim()).unwrap_or_else(|_no_json| Value::from(text));
    let data: Map<String, Value> = answers
        .iter()
        .map(|(task, text)| (task.to_string(), parsed(text)))
        .collect();
    let data = Value::Object(data);
    Combined {
        text: Some(data.to_string()),
        data: Some(data),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::test_support::answer;

    fn answers(texts: &[&str]) -> Vec<Answer> {
        let of = |(n, text): (usize, &&str)| {
            let (task, agent) = (format!("t{n}").parse().unwrap(), "a".parse().unwrap());
            let mut answer = answer(&task, &agent, AnswerStatus::Completed);
            answer.text = Some((*text).to_owned());
            answer
        };
        texts.iter().enumerate().map(of).collect()
    }

    fn combined(mode: Aggregate, texts: &[&str]) -> Combined {
        let answers = answers(texts);
        let answers: Vec<&Answer> = answers.iter().collect();
        combine(mode, &answers)
    }

    #[test]
    fn the_most_frequent_text_wins_and_the_earliest_of_equals() {
        let vote = |texts: &[&str]| combined(Aggregate::Vote, texts);
        let won = vote(&["no", " Yes\n", "YES"]);
        assert_eq!(won.text.as_deref(), Some("Yes"));
        assert_eq!(won.data, Some(json!({"no": 1, "yes": 2})));
        assert_eq!(vote(&["b", "a"]).text.as_deref(), Some("b"));
        assert_eq!(vote(&[]).text, None);
    }

    #[test]
    fn answers_are_parsed_where_they_are_json() {
        let both = combined(Aggregate::Json, &["{\"x\": 1}", "so"]);
        assert_eq!(both.data, Some(json!({"t0": {"x": 1}, "t1": "so"})));
        assert_eq!(both.text.as_deref(), Some(r#"{"t0":{"x":1},"t1":"so"}"#));
    }

    #[test]
    fn what_failed_does_not_count() {
        let mut answers = answers(&["a", "b", "b"]);
        answers[1].status = AnswerStatus::Failed;
        answers[2].status = AnswerStatus::Canceled;
        let answers: Vec<&Answer> = answers.iter().collect();
        let won = combine(Aggregate::Vote, &answers);
        assert_eq!(won.text.as_deref(), Some("a"));
    }
}
