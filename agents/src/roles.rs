//! The roles that Swarm ships: one folder each, with its prompt.

/// What an agent is, before anything is configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Role {
    /// Its name.
    pub name: &'static str,
    /// What it is good for.
    pub description: &'static str,
    /// What it can do, in words that tasks may ask for.
    pub capabilities: &'static [&'static str],
    /// Its system prompt.
    pub prompt: &'static str,
    /// The model it thinks with.
    pub model: &'static str,
    /// Most turns of the model in one attempt.
    pub max_iterations: u32,
}

/// The shipped roles; the default team is all of them but the summarizer.
pub const ROLES: [Role; 4] = [
    Role {
        name: "research_agent",
        description: "Finds out what is known: facts, numbers, and how sure they are",
        capabilities: &["research", "facts"],
        prompt: include_str!("roles/research_agent/prompt.md"),
        model: "llama3.2:3b",
        max_iterations: 5,
    },
    Role {
        name: "creative_agent",
        description: "Finds what could be: ideas, combinations, analogies",
        capabilities: &["ideas", "brainstorming"],
        prompt: include_str!("roles/creative_agent/prompt.md"),
        model: "llama3.2:1b",
        max_iterations: 3,
    },
    Role {
        name: "critical_agent",
        description: "Finds what can go wrong: risks, weak assumptions, counter-arguments",
        capabilities: &["analysis", "evaluation"],
        prompt: include_str!("roles/critical_agent/prompt.md"),
        model: "gemma2:2b",
        max_iterations: 2,
    },
    Role {
        name: SUMMARIZER,
        description: "Makes one answer of several",
        capabilities: &["summary"],
        prompt: include_str!("roles/summarizer_agent/prompt.md"),
        model: "llama3.2:3b",
        max_iterations: 2,
    },
];

/// The agent that aggregates.
pub const SUMMARIZER: &str = "summarizer_agent";

/// The shipped role of a name.
#[must_use]
pub fn role(name: &str) -> Option<&'static Role> {
    ROLES.iter().find(|role| role.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_say_who_the_agent_is() {
        for role in &ROLES {
            let kind = role.name.trim_end_matches("_agent");
            assert!(
                role.prompt
                    .starts_with(&format!("You are the {kind} agent")),
                "{}",
                role.name
            );
        }
    }
}
