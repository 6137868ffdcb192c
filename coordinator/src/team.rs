//! The agents that are known: those of the configuration, and those that have a work consumer.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};

use swarm_protocol::AgentName;
use swarm_workflow::Team;

use crate::Options;

/// Who is known now.
#[derive(Debug)]
pub(crate) struct Roster {
    team: RwLock<Arc<Team>>,
}

impl Roster {
    pub(crate) fn new(options: &Options, consumers: Vec<String>) -> Self {
        let consumers = consumers
            .iter()
            .filter_map(|name| name.parse::<AgentName>().ok());
        let known: BTreeSet<AgentName> = options.agents.iter().cloned().chain(consumers).collect();
        let everyone = || {
            options
                .agents
                .iter()
                .filter(|agent| **agent != options.summarizer)
                .cloned()
                .collect()
        };
        let longest_total = options.topology.retention / 2;
        let team = Team {
            known,
            default_agents: options.default_agents.clone().unwrap_or_else(everyone),
            summarizer: options.summarizer.clone(),
            total: options.total.min(longest_total),
            budget: options.budget,
            retries: options.retries,
            longest_total,
        };
        Self {
            team: RwLock::new(Arc::new(team)),
        }
    }

    /// The team as it is now.
    pub(crate) fn team(&self) -> Arc<Team> {
        Arc::clone(&self.team.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn knows(&self, agent: &AgentName) -> bool {
        self.team
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .known
            .contains(agent)
    }

    pub(crate) fn add(&self, agent: AgentName) {
        let mut team = self.team.write().unwrap_or_else(PoisonError::into_inner);
        Arc::make_mut(&mut team).known.insert(agent);
    }
}
