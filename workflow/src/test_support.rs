//! Values that the tests of this crate share.

use std::collections::BTreeSet;
use std::time::Duration;

use swarm_protocol::event::Cause;
use swarm_protocol::journal::{Approval, Suspended, ToolCall};
use swarm_protocol::submission::Budget;
use swarm_protocol::{
    AgentName, Answer, AnswerStatus, Code, ErrorBody, InstanceId, RunId, Submission, TaskId,
    Timestamp, Usage,
};
use uuid::Uuid;

use crate::{Context, Submit, Team};

pub(crate) fn names(names: &[&str]) -> Vec<AgentName> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

pub(crate) fn team() -> Team {
    let known = names(&[
        "research_agent",
        "creative_agent",
        "critical_agent",
        "summarizer_agent",
    ]);
    Team {
        default_agents: known[..3].to_vec(),
        summarizer: known[3].clone(),
        known: known.into_iter().collect::<BTreeSet<_>>(),
        total: Duration::from_secs(3600),
        retries: 3,
        budget: Budget {
            model_calls: Some(50),
            tool_calls: Some(100),
            ..Budget::default()
        },
        longest_total: Duration::from_secs(15 * 24 * 3600),
    }
}

pub(crate) fn run_id() -> RunId {
    RunId::from(Uuid::from_u128(7))
}

pub(crate) fn context(ms: i64, cause: Cause) -> Context {
    let by: InstanceId = "c1".parse().unwrap();
    Context {
        run: run_id(),
        at: Timestamp::from_millis(ms),
        by,
        cause,
    }
}

pub(crate) fn message(seq: u64) -> Cause {
    Cause::Message {
        stream: "S".into(),
        seq,
    }
}

pub(crate) fn submit(submission: Submission) -> Submit {
    Submit {
        submission: Ok(submission),
        excerpt: "t".into(),
        target: None,
        content_sha256: "h".into(),
        submitted_at: Timestamp::from_millis(0),
        reply: Some("_INBOX.x".into()),
        traceparent: None,
    }
}

pub(crate) fn answer(task: &TaskId, agent: &AgentName, status: AnswerStatus) -> Answer {
    let completed = status == AnswerStatus::Completed;
    Answer {
        task: task.clone(),
        agent: agent.clone(),
        model: "m".into(),
        status,
        text: completed.then(|| format!("text of {task}")),
        error: (!completed).then(|| ErrorBody::new(Code::Internal, format!("{task} broke"))),
        usage: Usage {
            input_tokens: 1,
            output_tokens: 2,
            model_calls: 1,
            tool_calls: 0,
        },
        elapsed_ms: 5,
        simulated: false,
    }
}

pub(crate) fn suspended(task: &TaskId, agent: &AgentName, attempt: u32, calls: usize) -> Suspended {
    let approval = |n: usize| {
        let call = ToolCall {
            tool_use_id: format!("call-{n}"),
            name: "send".into(),
            input: serde_json::json!({ "n": n }),
        };
        Approval::of(task, attempt, n, call, "it may have run".into())
    };
    Suspended {
        agent: agent.clone(),
        approvals: (1..=calls).map(approval).collect(),
        usage: Usage {
            model_calls: 1,
            ..Usage::default()
        },
        elapsed_ms: 5,
    }
}
