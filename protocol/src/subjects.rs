//! Subjects: every one that Swarm uses, built and parsed here only.
//!
//! Tokens are validated types, so no text of a user can become a wildcard or another subject.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE;

use crate::blob::BlobRef;
use crate::ids::{AgentName, InstanceId, RunId, TaskId};

pub mod catalog;

/// Submissions without a target.
pub const SUBMIT: &str = "swarm.submit";
/// Submissions with a target; more tokens than one are captured too, and rejected.
pub const SUBMIT_TARGET: &str = "swarm.submit.>";
/// Every run log.
pub const RUN_LOGS: &str = "swarm.run.*.ev";
/// Every journal entry.
pub const JOURNALS: &str = "swarm.run.*.task.*.*";
/// Messages of all journals.
pub const JOURNAL_MESSAGES: &str = "swarm.run.*.task.*.msg";
/// Ends of all attempts.
pub const JOURNAL_ENDS: &str = "swarm.run.*.task.*.end";
/// Where the server republishes stored events: the destination pattern of the republish rule.
pub const EVENT_REPUBLISH: &str = "swarm.event.{{wildcard(1)}}";
/// Every event as stored.
pub const EVENTS: &str = "swarm.event.*";
/// Every agent's work.
pub const ALL_WORK: &str = "swarm.work.*";
/// Every dead letter.
pub const ALL_DEAD: &str = "swarm.deadletter.*";
/// Chunks of all blobs.
pub const BLOB_CHUNKS: &str = "$O.swarm_blobs.C.>";
/// What is known of every blob.
pub const BLOB_METAS: &str = "$O.swarm_blobs.M.>";
/// Cancel signals of all runs.
pub const ALL_CANCELS: &str = "swarm.ctl.cancel.*";
/// The endpoint that answers a submission with its text.
pub const ASK: &str = "swarm.ask";
/// The same with a target; more tokens than one are taken too, and rejected.
pub const ASK_TARGET: &str = "swarm.ask.>";
/// The endpoint that gives results.
pub const RESULT: &str = "swarm.result";
/// The endpoint that lists runs.
pub const RUNS: &str = "swarm.runs";
/// The statistics of the micro service (ADR-32).
#[must_use]
pub fn service_stats() -> String {
    format!("$SRV.STATS.{}", crate::endpoint::SERVICE)
}

/// The endpoint that tells the story of a run.
pub const EXPLAIN: &str = "swarm.explain";
/// The endpoint that cancels a run.
pub const CANCEL: &str = "swarm.cancel";
/// The endpoint that lets no new attempt of a run start.
pub const PAUSE: &str = "swarm.pause";
/// The endpoint that lets attempts start again.
pub const RESUME: &str = "swarm.resume";
/// The endpoint that does a run again.
pub const RETRY: &str = "swarm.retry";
/// The endpoint that has a call run about which a person was asked.
pub const APPROVE: &str = "swarm.approve";
/// The endpoint that has such a call taken as failed.
pub const DENY: &str = "swarm.deny";
/// The endpoint that sends a message to an agent of a run.
pub const MESSAGE: &str = "swarm.message";
/// The endpoint that forgets a run.
pub const DELETE: &str = "swarm.delete";
/// The endpoint that lists dead letters.
pub const DEAD_LETTERS: &str = "swarm.dead";
/// The endpoint that takes a dead letter up again.
pub const DEAD_REQUEUE: &str = "swarm.dead.requeue";
/// The endpoint that forgets a dead letter.
pub const DEAD_DROP: &str = "swarm.dead.drop";
/// The endpoint that lists agents.
pub const AGENTS: &str = "swarm.agents";
/// The endpoint that announces an instance.
pub const REGISTER: &str = "swarm.register";

/// Origin of dead letters that come from the inbox.
pub const DEAD_INBOX: &str = "inbox";

/// One of the three leaves of a task's journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaf {
    /// Model turns, tool results, receipts.
    Log,
    /// Messages to other agents.
    Msg,
    /// What ends an attempt.
    End,
}

impl Leaf {
    const fn token(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Msg => "msg",
            Self::End => "end",
        }
    }
}

/// Where a submission goes.
#[must_use]
pub fn submit(target: Option<&AgentName>) -> String {
    target.map_or_else(|| SUBMIT.to_owned(), |target| format!("{SUBMIT}.{target}"))
}

/// The target that a submission's subject names, as it was sent.
///
/// Gives `None` for a subject that is no submission, and `Some(None)` for one without a target.
#[must_use]
pub fn submit_target(subject: &str) -> Option<Option<&str>> {
    let rest = subject.strip_prefix(SUBMIT)?;
    if rest.is_empty() {
        Some(None)
    } else {
        rest.strip_prefix('.').map(Some)
    }
}

/// The log of a run.
#[must_use]
pub fn run_log(run: RunId) -> String {
    format!("swarm.run.{run}.ev")
}

/// The run of a log's subject.
#[must_use]
pub fn run_of_log(subject: &str) -> Option<RunId> {
    RunId::parse(subject.strip_prefix("swarm.run.")?.strip_suffix(".ev")?)
}

/// One leaf of a task's journal.
#[must_use]
pub fn journal(run: RunId, task: &TaskId, leaf: Leaf) -> String {
    format!("swarm.run.{run}.task.{task}.{}", leaf.token())
}

/// The token that an object store makes chunks of a blob known by. Of several tokens here, so that the chunks of a run are
/// those beneath it, and say which blob they are of; `upload` tells two writers of the same blob from each other.
#[must_use]
pub fn blob_upload(run: RunId, blob: &BlobRef, upload: uuid::Uuid) -> String {
    format!("{run}.{}.{}", blob.sha256, upload.simple())
}

/// The chunks of one upload of a blob; see [`blob_upload`].
#[must_use]
pub fn blob_chunks(upload: &str) -> String {
    format!("$O.swarm_blobs.C.{upload}")
}

/// The chunks of all blobs of a run.
#[must_use]
pub fn blob_chunks_of(run: RunId) -> String {
    format!("$O.swarm_blobs.C.{run}.>")
}

/// The hash of the blob that a chunk of a run is of.
#[must_use]
pub fn blob_of_chunks(run: RunId, subject: &str) -> Option<&str> {
    let rest = subject.strip_prefix("$O.swarm_blobs.C.")?;
    let rest = rest.strip_prefix(&run.to_string())?.strip_prefix('.')?;
    rest.split_once('.').map(|(sha256, _upload)| sha256)
}

/// What is known of a blob, by its name (ADR-20).
#[must_use]
pub fn blob_meta(name: &str) -> String {
    format!("$O.swarm_blobs.M.{}", BASE64_URL_SAFE.encode(name))
}

/// The journals of all tasks of a run.
#[must_use]
pub fn journals_of(run: RunId) -> String {
    format!("swarm.run.{run}.task.>")
}

/// All leaves of a task's journal: what its fence is about.
#[must_use]
pub fn journal_fence(run: RunId, task: &TaskId) -> String {
    format!("swarm.run.{run}.task.{task}.*")
}

/// Run, task and leaf of a journal entry's subject.
#[must_use]
pub fn parse_journal(subject: &str) -> Option<(RunId, TaskId, Leaf)> {
    let tokens: Vec<&str> = subject.split('.').collect();
    let ["swarm", "run", run, "task", task, leaf] = tokens.as_slice() else {
        return None;
    };
    let leaf = match *leaf {
        "log" => Leaf::Log,
        "msg" => Leaf::Msg,
        "end" => Leaf::End,
        _ => return None,
    };
    Some((RunId::parse(run)?, task.parse().ok()?, leaf))
}

/// The events of a run, as stored.
#[must_use]
pub fn event(run: RunId) -> String {
    format!("swarm.event.{run}")
}

/// The work of an agent.
#[must_use]
pub fn work(agent: &AgentName) -> String {
    format!("swarm.work.{agent}")
}

/// The agent whose work is on a subject.
#[must_use]
pub fn agent_of_work(subject: &str) -> Option<AgentName> {
    subject.strip_prefix("swarm.work.")?.parse().ok()
}

/// Dead letters of an agent.
#[must_use]
pub fn dead_agent(agent: &AgentName) -> String {
    format!("swarm.deadletter.{agent}")
}

/// Dead letters of the inbox.
#[must_use]
pub fn dead_inbox() -> String {
    format!("swarm.deadletter.{DEAD_INBOX}")
}

/// Chunks of a task.
#[must_use]
pub fn out(run: RunId, task: &TaskId) -> String {
    format!("swarm.out.{run}.{task}")
}

/// Chunks of all tasks of a run.
#[must_use]
pub fn out_of_run(run: RunId) -> String {
    format!("swarm.out.{run}.*")
}

/// The task of a chunk's subject.
#[must_use]
pub fn task_of_out(subject: &str) -> Option<TaskId> {
    subject
        .strip_prefix("swarm.out.")?
        .split_once('.')?
        .1
        .parse()
        .ok()
}

/// Control of one instance.
#[must_use]
pub fn control(instance: &InstanceId) -> String {
    format!("swarm.ctl.{instance}")
}

/// The signal that a run is canceled.
#[must_use]
pub fn cancel(run: RunId) -> String {
    format!("swarm.ctl.cancel.{run}")
}

/// The run of a cancel signal's subject.
#[must_use]
pub fn run_of_cancel(subject: &str) -> Option<RunId> {
    RunId::parse(subject.strip_prefix("swarm.ctl.cancel.")?)
}

/// Messages to an agent's task of a run that are in the run's log.
#[must_use]
pub fn peer(run: RunId, agent: &AgentName) -> String {
    format!("swarm.peer.{run}.{agent}")
}

/// Messages to an agent, whatever the run.
#[must_use]
pub fn peers_of(agent: &AgentName) -> String {
    format!("swarm.peer.*.{agent}")
}

/// The run of a message's subject.
#[must_use]
pub fn run_of_peer(subject: &str) -> Option<RunId> {
    let (run, _) = subject.strip_prefix("swarm.peer.")?.split_once('.')?;
    RunId::parse(run)
}

/// Where a submission goes whose text is to come as the answer.
#[must_use]
pub fn ask(target: Option<&AgentName>) -> String {
    target.map_or_else(|| ASK.to_owned(), |target| format!("{ASK}.{target}"))
}

/// The target that an `ask` names in its subject, as it was sent.
#[must_use]
pub fn ask_target(subject: &str) -> Option<&str> {
    subject.strip_prefix(ASK)?.strip_prefix('.')
}

/// Where an `ask` to this target goes on, through the inbox; the target is not checked yet.
#[must_use]
pub fn submit_as_asked(target: Option<&str>) -> String {
    target.map_or_else(|| SUBMIT.to_owned(), |target| format!("{SUBMIT}.{target}"))
}

/// Whether a reply may be sent to this subject.
///
/// Only inboxes are answered: `_INBOX.…` of clients and `_INBOX_<role>.…` of roles. Any other reply subject would let a
/// requester have the coordinator publish there with the coordinator's rights.
#[must_use]
pub fn is_inbox(reply: &str) -> bool {
    let Some(rest) = reply.strip_prefix("_INBOX") else {
        return false;
    };
    let Some((role, rest)) = rest.split_once('.') else {
        return false;
    };
    let role_ok = role.is_empty()
        || role
            .strip_prefix('_')
            .is_some_and(|role| role.parse::<AgentName>().is_ok());
    role_ok
        && !rest.is_empty()
        && !rest.contains(['*', '>', ' '])
        && rest.split('.').all(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_are_parsed_as_they_are_built() {
        let run = RunId::random();
        let task: TaskId = "research_agent-2".parse().unwrap();
        assert_eq!(run_of_log(&run_log(run)), Some(run));
        assert_eq!(run_of_cancel(&cancel(run)), Some(run));
        assert_eq!(run_of_peer(&peer(run, &"a".parse().unwrap())), Some(run));
        assert_eq!(task_of_out(&out(run, &task)), Some(task.clone()));
        for leaf in [Leaf::Log, Leaf::Msg, Leaf::End] {
            assert_eq!(
                parse_journal(&journal(run, &task, leaf)),
                Some((run, task.clone(), leaf))
            );
        }
        assert_eq!(parse_journal("swarm.run.x.task.y.end"), None);
    }

    #[test]
    fn targets_are_kept_as_sent() {
        assert_eq!(submit_target("swarm.submit"), Some(None));
        assert_eq!(submit_target("swarm.submit.a.b"), Some(Some("a.b")));
        assert_eq!(submit_target("swarm.submitted"), None);
        assert_eq!(ask_target("swarm.ask.x.y"), Some("x.y"));
        assert_eq!(ask_target("swarm.ask"), None);
        assert_eq!(submit_as_asked(Some("x.y")), "swarm.submit.x.y");
    }

    #[test]
    fn only_inboxes_are_answered() {
        for good in [
            "_INBOX.abc",
            "_INBOX.abc.def",
            "_INBOX_coordinator.x.1",
            "_INBOX_tool-builder.x",
        ] {
            assert!(is_inbox(good), "{good}");
        }
        let bad = [
            "",
            "_INBOX",
            "_INBOX.",
            "_INBOXx.y",
            "_INBOX_.x",
            "_INBOX_A.x",
            "swarm.work.a",
            "_INBOX.a..b",
            "_INBOX.>",
        ];
        for subject in bad {
            assert!(!is_inbox(subject), "{subject}");
        }
    }
}
