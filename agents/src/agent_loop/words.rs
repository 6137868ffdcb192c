//! What the loop says to a model beside prompt, task and results.

use swarm_protocol::journal::{ModelTurn, PeerMessage, ToolContent, ToolResult, TurnProblem};

use super::structured;

/// Why the last turn is asked for without tools.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) enum Closing {
    /// The turns with tools are used up.
    Turns,
    /// The same call was made again and again.
    Repeats,
    /// Nothing new came back.
    NoProgress,
    /// Every try to call a tool was unreadable.
    Unreadable,
}

impl Closing {
    /// Why, as people read it.
    pub(super) const fn reason(self) -> &'static str {
        match self {
            Self::Turns => "its turns with tools are used up",
            Self::Repeats => "it called the same tool with the same arguments again and again",
            Self::NoProgress => "its tool calls brought nothing new",
            Self::Unreadable => "its tool calls could not be read",
        }
    }
}

/// A message of somebody else, as the chat shows it.
pub(super) fn message(message: &PeerMessage) -> String {
    let from = message.from.as_ref();
    let from = from.map_or("the person who gave the task", |agent| agent.as_str());
    format!("A message from {from}:\n\n{}", message.text.trim())
}

/// The demand for an answer without tools.
pub(super) fn close(closing: Closing) -> String {
    let why = match closing {
        Closing::Turns => "You have used all your tool calls.",
        Closing::Repeats => "You already made this call, and the result is above.",
        Closing::NoProgress => "The tools do not help further.",
        Closing::Unreadable => "Your tool calls could not be read.",
    };
    format!("{why} Answer the task now, in plain text, with what you know. Do not call a tool.")
}

/// What is said to a model about a turn that was no answer.
pub(super) fn feedback(problem: TurnProblem, turn: &ModelTurn, num_predict: u32) -> Option<String> {
    let text = match problem {
        TurnProblem::Empty => "Your answer was empty. Answer the task now, in plain text.",
        TurnProblem::OnlyThinking => {
            "You thought, and did not answer. Answer the task now, in plain text, without thinking first."
        }
        TurnProblem::CallUnreadable => {
            "Your tool call could not be read. Call one tool, with its arguments as one JSON object, or answer the task in plain text."
        }
        TurnProblem::CallAnnounced => {
            "You said that you would call a tool and called none. Call it now, or answer the task in plain text."
        }
        TurnProblem::NotJson => {
            let fault = structured::read(&turn.text).err().unwrap_or_default();
            return Some(format!(
                "Your answer was not the JSON object that was asked for ({fault}). Answer with that object and nothing else."
            ));
        }
        TurnProblem::Cut => {
            return Some(format!(
                "Your answer was cut off at {num_predict} tokens. Answer again, in half as many words."
            ));
        }
        TurnProblem::Looping => "You repeated yourself without end. Answer once, and briefly.",
        TurnProblem::CallAtTheEnd | TurnProblem::ToolsUnsupported | TurnProblem::TooLong => {
            return None;
        }
    };
    Some(text.to_owned())
}

/// The text of a result.
pub(super) fn text_of(result: &ToolResult) -> String {
    let part = |content: &ToolContent| match content {
        ToolContent::Text(text) => text.clone(),
        ToolContent::Json(value) => value.to_string(),
    };
    let parts: Vec<String> = result.content.iter().map(part).collect();
    parts.join("\n")
}

/// The result of a call that was made before, for the same call under another id.
pub(super) fn already(result: &ToolResult, tool_use_id: &str) -> ToolResult {
    let note = "You already made this call. Its result was:".to_owned();
    let mut content = vec![ToolContent::Text(note)];
    content.extend(result.content.iter().cloned());
    ToolResult {
        tool_use_id: tool_use_id.to_owned(),
        status: result.status,
        content,
    }
}

/// Whether a text says that a tool will be called: short, in the future, and with the name of one.
pub(super) fn announces_call<'a>(text: &str, mut tools: impl Iterator<Item = &'a str>) -> bool {
    const LONGEST: usize = 300;
    const FUTURE: [&str; 8] = [
        "i'll ",
        "i will ",
        "let me ",
        "i am going to ",
        "i'm going to ",
        "i need to call",
        "i can use",
        "calling ",
    ];
    let text = text.to_lowercase().replace('’', "'");
    text.len() <= LONGEST
        && FUTURE.iter().any(|words| text.contains(words))
        && tools.any(|tool| {
            let tool = tool.to_lowercase();
            text.contains(&tool) || text.contains(&tool.replace('_', " "))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_announcement_is_short_and_names_a_tool() {
        let announces = |text| announces_call(text, ["text_stats"].into_iter());
        assert!(announces("I'll use the text_stats tool now."));
        assert!(announces("Sure! Let me run text stats on that."));
        assert!(!announces("I'll think about it."));
        assert!(!announces("text_stats counts words."));
        assert!(!announces(&"I will say more about text_stats. ".repeat(20)));
    }
}
