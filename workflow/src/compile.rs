//! From a submission to a definition: one step per agent, and one that makes a single answer of theirs.

use std::collections::BTreeSet;
use std::time::Duration;

use swarm_protocol::definition::{Action, Definition, Step};
use swarm_protocol::submission::Budget;
use swarm_protocol::{AgentName, Aggregate, Code, ErrorBody, Span, Submission, TaskId};

/// What is known and configured when a submission is accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Team {
    /// Agents that stand in the configuration or have a work consumer.
    pub known: BTreeSet<AgentName>,
    /// Who gets a submission that names nobody.
    pub default_agents: Vec<AgentName>,
    /// Who summarizes.
    pub summarizer: AgentName,
    /// From submission to end, when the submission says nothing.
    pub total: Duration,
    /// What a run may use, where the submission says nothing.
    pub budget: Budget,
    /// How often a task may be tried again after it failed.
    pub retries: u32,
    /// Longest such time: half the retention.
    pub longest_total: Duration,
}

impl Team {
    fn knows(&self, agent: &AgentName) -> bool {
        self.known.contains(agent)
    }

    fn unknown(&self, agent: &str, field: &str) -> ErrorBody {
        let known = self
            .known
            .iter()
            .map(AgentName::as_str)
            .collect::<Vec<_>>()
            .join(", ");
        let likely = self.known.iter().find(|known| close(known.as_str(), agent));
        let hint = likely.map_or_else(
            || format!("known are {known}"),
            |likely| format!("did you mean {likely}?"),
        );
        let shown: String = agent
            .chars()
            .take(64)
            .flat_map(char::escape_debug)
            .collect();
        let message = format!("no agent or workflow is named `{shown}`: {hint}");
        ErrorBody::new(Code::AgentUnknown, message).field(field)
    }
}

/// Whether `typed` looks like a slip of `name`: it begins alike or holds it.
fn close(name: &str, typed: &str) -> bool {
    let typed = typed.to_ascii_lowercase();
    let head = |text: &str| text.chars().take(4).collect::<String>();
    typed.len() >= 3 && (name.contains(&typed) || (typed.len() >= 4 && head(name) == head(&typed)))
}

/// Compiles a submission, sent to `target` when its subject named one.
///
/// # Errors
/// What is wrong with it, with the field.
pub fn compile(
    submission: &Submission,
    target: Option<&str>,
    team: &Team,
) -> Result<Definition, ErrorBody> {
    if let Some(workflow) = &submission.workflow {
        let message = format!("no workflow is named `{workflow}`: name agents instead");
        return Err(ErrorBody::new(Code::WorkflowUnknown, message).field("workflow"));
    }
    check_timeout(submission.timeout, team)?;
    let agents = choose_agents(submission, target, team)?;
    let mut steps = agent_steps(&agents);
    let min_answers = check_min_answers(submission.min_answers, agents.len())?;
    if let Some(aggregate) = aggregate_step(submission.aggregate, min_answers, &steps, team)? {
        steps.push(aggregate);
    }
    Ok(Definition { steps })
}

/// When a run that was submitted with this timeout must have ended, counted from its submission.
#[must_use]
pub fn total_timeout(timeout: Option<Span>, team: &Team) -> Duration {
    timeout
        .map_or(team.total, |span| span.0)
        .min(team.longest_total)
}

fn check_timeout(timeout: Option<Span>, team: &Team) -> Result<(), ErrorBody> {
    match timeout {
        Some(span) if span.0 > team.longest_total => {
            let longest = Span(team.longest_total);
            let message = format!(
                "timeout {span} is too long: at most {longest}, half of what runs are kept for"
            );
            Err(ErrorBody::new(Code::Field, message).field("timeout"))
        }
        _ => Ok(()),
    }
}

fn choose_agents(
    submission: &Submission,
    target: Option<&str>,
    team: &Team,
) -> Result<Vec<AgentName>, ErrorBody> {
    let (agents, field) = match (target, &submission.agents) {
        (Some(_), Some(_)) => {
            let message = "agents and a target in the subject exclude each other: leave one out";
            return Err(ErrorBody::new(Code::Field, message).field("agents"));
        }
        (Some(target), None) => (vec![parse_target(target)?], "target"),
        (None, Some(agents)) => (agents.clone(), "agents"),
        (None, None) => (team.default_agents.clone(), "agents"),
    };
    if agents.is_empty() {
        let message = "no agents are configured: name some in swarm.yaml";
        return Err(ErrorBody::new(Code::AgentUnknown, message));
    }
    match agents.iter().find(|agent| !team.knows(agent)) {
        Some(stranger) => Err(team.unknown(stranger.as_str(), field)),
        None => Ok(agents),
    }
}

fn parse_target(target: &str) -> Result<AgentName, ErrorBody> {
    target
        .parse()
        .map_err(|error: swarm_protocol::ids::InvalidToken| {
            ErrorBody::new(Code::Target, format!("the target is wrong: {error}")).field("target")
        })
}

fn agent_steps(agents: &[AgentName]) -> Vec<Step> {
    let mut taken = BTreeSet::new();
    let mut steps = Vec::with_capacity(agents.len());
    for agent in agents {
        // An agent may itself be named like the second task of another one.
        let free = (1..)
            .map(|n| TaskId::of_agent(agent, n))
            .find(|id| !taken.contains(id));
        let id = free.unwrap_or_else(|| TaskId::of_agent(agent, 1));
        taken.insert(id.clone());
        steps.push(Step {
            id,
            action: Action::Agent {
                agent: agent.clone(),
            },
        });
    }
    steps
}

fn check_min_answers(min_answers: Option<u32>, agents: usize) -> Result<u32, ErrorBody> {
    let all = u32::try_from(agents).unwrap_or(u32::MAX);
    match min_answers {
        None => Ok(all.saturating_sub(1).max(1)),
        Some(min) if (1..=all).contains(&min) => Ok(min),
        Some(min) => {
            let message =
                format!("min_answers {min} is out of range: 1 to {all}, the number of agents");
            Err(ErrorBody::new(Code::Field, message).field("min_answers"))
        }
    }
}

fn aggregate_step(
    wanted: Option<Aggregate>,
    min_answers: u32,
    steps: &[Step],
    team: &Team,
) -> Result<Option<Step>, ErrorBody> {
    let can_summarize = team.knows(&team.summarizer);
    let mode = match wanted {
        None if steps.len() == 1 => return Ok(None),
        None if can_summarize => Aggregate::Summarize,
        None => Aggregate::Concat,
        Some(Aggregate::Summarize) if !can_summarize => {
            let message = format!(
                "aggregate summarize needs the agent {}, which is not known; concat does not",
                team.summarizer
            );
            return Err(ErrorBody::new(Code::AgentUnknown, message).field("aggregate"));
        }
        Some(mode) => mode,
    };
    let needs: Vec<TaskId> = steps.iter().map(|step| step.id.clone()).collect();
    let mut id = "aggregate".to_owned();
    while needs.iter().any(|taken| taken.as_str() == id) {
        id.push('_');
    }
    let agent = (mode == Aggregate::Summarize).then(|| team.summarizer.clone());
    Ok(Some(Step {
        id: TaskId::derive(&id),
        action: Action::Aggregate {
            mode,
            agent,
            needs,
            min_answers,
        },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{names, team};

    fn ids(definition: &Definition) -> Vec<&str> {
        definition
            .steps
            .iter()
            .map(|step| step.id.as_str())
            .collect()
    }

    fn submission(agents: &[&str]) -> Submission {
        Submission {
            agents: Some(names(agents)),
            ..Submission::of_task("t")
        }
    }

    #[test]
    fn nobody_named_is_the_default_team_and_a_summary() {
        let definition = compile(&Submission::of_task("t"), None, &team()).unwrap();
        assert_eq!(
            ids(&definition),
            [
                "research_agent",
                "creative_agent",
                "critical_agent",
                "aggregate"
            ]
        );
        let Action::Aggregate {
            mode,
            agent,
            needs,
            min_answers,
        } = &definition.steps[3].action
        else {
            panic!()
        };
        assert_eq!(
            (*mode, *min_answers, needs.len()),
            (Aggregate::Summarize, 2, 3)
        );
        assert_eq!(agent.as_ref().unwrap().as_str(), "summarizer_agent");
    }

    #[test]
    fn one_agent_needs_no_aggregate() {
        let definition =
            compile(&Submission::of_task("t"), Some("critical_agent"), &team()).unwrap();
        assert_eq!(ids(&definition), ["critical_agent"]);
    }

    #[test]
    fn repeated_agents_are_numbered() {
        let definition = compile(
            &submission(&["critical_agent", "critical_agent"]),
            None,
            &team(),
        )
        .unwrap();
        assert_eq!(
            ids(&definition),
            ["critical_agent", "critical_agent-2", "aggregate"]
        );
    }

    #[test]
    fn mistakes_name_the_field() {
        let refused = |submission: &Submission, target| {
            let error = compile(submission, target, &team()).unwrap_err();
            (error.code, error.field.unwrap_or_default())
        };
        let at = |code: &str, field: &str| (code.to_owned(), field.to_owned());
        assert_eq!(
            refused(&submission(&["nobody"]), None),
            at("SW-AGENT-UNKNOWN", "agents")
        );
        assert_eq!(
            refused(&Submission::of_task("t"), Some("a.b")),
            at("SW-TARGET", "target")
        );
        assert_eq!(
            refused(&Submission::of_task("t"), Some("nobody")),
            at("SW-AGENT-UNKNOWN", "target")
        );
        assert_eq!(
            refused(&submission(&["critical_agent"]), Some("critical_agent")),
            at("SW-FIELD", "agents")
        );
        let many = Submission {
            min_answers: Some(4),
            ..Submission::of_task("t")
        };
        assert_eq!(refused(&many, None), at("SW-FIELD", "min_answers"));
        let none = Submission {
            min_answers: Some(0),
            ..Submission::of_task("t")
        };
        assert_eq!(refused(&none, None), at("SW-FIELD", "min_answers"));
        let long = Submission {
            timeout: Some(Span::from_secs(3600 * 24 * 16)),
            ..Submission::of_task("t")
        };
        assert_eq!(refused(&long, None), at("SW-FIELD", "timeout"));
        let workflow = Submission {
            workflow: Some("w".into()),
            ..Submission::default()
        };
        assert_eq!(
            refused(&workflow, None),
            at("SW-WORKFLOW-UNKNOWN", "workflow")
        );
    }

    #[test]
    fn a_slip_gets_a_suggestion() {
        let error = compile(&submission(&["research-agent"]), None, &team()).unwrap_err();
        assert!(
            error.message.contains("did you mean research_agent?"),
            "{}",
            error.message
        );
    }
}
