//! What every subject is for, who sends to it and who listens: the data behind `docs/subjects.md`.

use std::fmt;

/// How a message travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Travels {
    /// Stored in a stream before the sender is told so.
    Stored,
    /// A copy that the server sends of each message that it stores on another subject.
    Republished,
    /// A request that one of the listeners answers.
    Request,
    /// Sent to whoever listens, and forgotten.
    Core,
}

impl fmt::Display for Travels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stored => "stored",
            Self::Republished => "republished",
            Self::Request => "request",
            Self::Core => "core",
        })
    }
}

/// Who sends or listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Party {
    /// People and programs, without credentials.
    Anyone,
    /// Coordinators.
    Coordinator,
    /// Agent workers.
    Agent,
    /// The NATS server itself.
    Server,
}

impl Party {
    /// The user in `nats.conf`; the server has none.
    #[must_use]
    pub const fn user(self) -> Option<&'static str> {
        match self {
            Self::Anyone => Some("client"),
            Self::Coordinator => Some("coordinator"),
            Self::Agent => Some("agent"),
            Self::Server => None,
        }
    }
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Anyone => "anyone",
            Self::Coordinator => "coordinator",
            Self::Agent => "agent",
            Self::Server => "server",
        })
    }
}

/// A subject, or a family of subjects that differ in the tokens in angle brackets.
#[derive(Debug, Clone, Copy)]
pub struct Subject {
    /// The subject as a person writes it: `swarm.run.<run>.ev`.
    pub pattern: &'static str,
    /// How a message on it travels.
    pub travels: Travels,
    /// Who sends.
    pub from: &'static [Party],
    /// Who listens or reads; nobody when it is kept for a person to look at.
    pub to: &'static [Party],
    /// What a message on it means.
    pub what: &'static str,
}

impl Subject {
    /// The subject as NATS writes it: `swarm.run.*.ev`.
    #[must_use]
    pub fn wildcard(&self) -> String {
        let tokens = self.pattern.split('.');
        let tokens = tokens.map(|token| if token.starts_with('<') { "*" } else { token });
        tokens.collect::<Vec<_>>().join(".")
    }
}

/// Whether a filter takes all that another filter or a subject takes.
#[must_use]
pub fn covers(filter: &str, subject: &str) -> bool {
    let mut subject = subject.split('.');
    for token in filter.split('.') {
        match (token, subject.next()) {
            (">", Some(_)) => return true,
            ("*", Some(found)) if found != ">" => {}
            (token, Some(found)) if token == found => {}
            _ => return false,
        }
    }
    subject.next().is_none()
}

macro_rules! subjects {
    ($($pattern:literal $travels:ident [$($from:ident),+] -> [$($to:ident),*] $what:literal,)*) => {
        /// Every subject.
        pub const ALL: &[Subject] = &[$(Subject {
            pattern: $pattern,
            travels: Travels::$travels,
            from: &[$(Party::$from),+],
            to: &[$(Party::$to),*],
            what: $what,
        },)*];
    };
}

subjects! {
    "swarm.submit" Stored [Anyone, Coordinator] -> [Coordinator] "A submission; an `ask` comes this way too. The answer is a ticket.",
    "swarm.submit.<target>" Stored [Anyone, Coordinator] -> [Coordinator] "A submission for one agent. A target that is no name is stored too, and becomes a rejected run.",
    "swarm.run.<run>.ev" Stored [Coordinator] -> [Coordinator, Anyone] "The log of a run. Each event names the sequence of the one before it, or is refused.",
    "swarm.run.<run>.task.<task>.log" Stored [Agent] -> [Agent, Coordinator] "The journal of a task: finished turns of its model.",
    "swarm.run.<run>.task.<task>.msg" Stored [Agent] -> [Coordinator] "The journal of a task: messages to other agents. Nothing writes it yet.",
    "swarm.run.<run>.task.<task>.end" Stored [Agent, Coordinator] -> [Coordinator, Agent] "The journal of a task: the one entry that ends an attempt.",
    "swarm.event.<run>" Republished [Server] -> [Anyone] "Each event of the log as it is stored; gaps show in `Nats-Last-Sequence`.",
    "swarm.work.<agent>" Stored [Coordinator] -> [Agent] "An attempt at a task, for one instance of the agent.",
    "swarm.deadletter.<origin>" Stored [Coordinator, Agent] -> [Coordinator] "What could not be read or done, with the reason. The origin is an agent, or `inbox`. `swarm dead list` shows them.",
    "swarm.out.<run>.<task>" Core [Agent] -> [Anyone] "What an agent writes, as it writes it. The whole answer is in the event.",
    "swarm.ctl.cancel.<run>" Core [Coordinator] -> [Agent] "The run is canceled: stop its model calls now. The journal stops who misses it.",
    "swarm.peer.<run>.<agent>" Core [Coordinator] -> [Agent] "A message to an agent's task, which is in the run's log already: it is taken into account at once. Who misses it gets it with its next attempt.",
    "$KV.swarm_agents.<agent>.<instance>" Stored [Agent] -> [Coordinator] "The card of an instance, at every heartbeat and change.",
    "swarm.ask" Request [Anyone] -> [Coordinator] "A submission, answered with the text when its run has ended.",
    "swarm.ask.<target>" Request [Anyone] -> [Coordinator] "The same for one agent.",
    "swarm.result" Request [Anyone] -> [Coordinator] "The result of a run.",
    "swarm.runs" Request [Anyone] -> [Coordinator] "Summaries of runs, newest first.",
    "swarm.explain" Request [Anyone] -> [Coordinator] "The story of a run, and where its time went.",
    "swarm.cancel" Request [Anyone] -> [Coordinator] "Cancels a run.",
    "swarm.pause" Request [Anyone] -> [Coordinator] "Lets no new attempt of a run start.",
    "swarm.resume" Request [Anyone] -> [Coordinator] "Lets attempts start again.",
    "swarm.retry" Request [Anyone] -> [Coordinator] "Does a run again that has failed or was canceled, as a new one that takes over what completed.",
    "swarm.approve" Request [Anyone] -> [Coordinator] "Has a call run that was interrupted, and about which a person was asked.",
    "swarm.deny" Request [Anyone] -> [Coordinator] "Has such a call taken as failed.",
    "swarm.message" Request [Anyone] -> [Coordinator] "Sends a message to an agent of a run.",
    "swarm.delete" Request [Anyone] -> [Coordinator] "Forgets a run that has ended.",
    "swarm.dead" Request [Anyone] -> [Coordinator] "Dead letters, newest first, or one with its payload.",
    "swarm.dead.requeue" Request [Anyone] -> [Coordinator] "Takes a dead letter up again: its task gets a new attempt, its submission becomes a run.",
    "swarm.dead.drop" Request [Anyone] -> [Coordinator] "Forgets a dead letter.",
    "swarm.agents" Request [Anyone] -> [Coordinator] "The cards of live agents.",
    "swarm.register" Request [Agent] -> [Coordinator] "Announces an instance; its agent gets a consumer if it has none.",
    "$SRV.PING" Request [Anyone] -> [Coordinator] "Who serves (ADR-32); also `$SRV.PING.swarm` and `$SRV.PING.swarm.<instance>`.",
    "$SRV.INFO" Request [Anyone] -> [Coordinator] "What is served; the same.",
    "$SRV.STATS" Request [Anyone] -> [Coordinator] "Calls, errors and times of each endpoint, and the number of runs by state; the same.",
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{RunId, TaskId};
    use crate::subjects::{self, Leaf};

    #[test]
    fn a_filter_covers_what_it_takes() {
        for (filter, subject, covered) in [
            ("a.*", "a.b", true),
            ("a.*", "a.*", true),
            ("a.>", "a.b.c", true),
            ("a.>", "a.>", true),
            ("a", "a", true),
            ("a.*", "a", false),
            ("a.>", "a", false),
            ("a.*", "a.b.c", false),
            ("a.*", "a.>", false),
            ("a.b", "a.*", false),
            ("a", "a.b", false),
        ] {
            assert_eq!(covers(filter, subject), covered, "{filter} {subject}");
        }
    }

    #[test]
    fn every_subject_that_is_built_is_in_the_list_once() {
        let run = RunId::random();
        let task: TaskId = "research_agent".parse().unwrap();
        let agent = "research_agent".parse().unwrap();
        let mut built = vec![
            subjects::submit(None),
            subjects::submit(Some(&agent)),
            subjects::run_log(run),
            subjects::event(run),
            subjects::work(&agent),
            subjects::dead_agent(&agent),
            subjects::dead_inbox(),
            subjects::out(run, &task),
            subjects::cancel(run),
            subjects::peer(run, &agent),
        ];
        built.extend(
            [Leaf::Log, Leaf::Msg, Leaf::End].map(|leaf| subjects::journal(run, &task, leaf)),
        );
        for subject in built {
            let listed = ALL
                .iter()
                .filter(|known| covers(&known.wildcard(), &subject));
            assert_eq!(listed.count(), 1, "{subject}");
        }
    }
}
