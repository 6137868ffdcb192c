//! Attempts that a coordinator ends: why, and the entry that does it.

use swarm_protocol::journal::{Body, Entry};
use swarm_protocol::{
    Answer, AnswerStatus, Code, ErrorBody, InstanceId, RunState, TaskId, Timestamp, Usage, Version,
};

use crate::state::State;

/// How a coordinator ends an attempt, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndedBy {
    /// Nobody wants it any more.
    Canceled(ErrorBody),
    /// A deadline has passed.
    TimedOut(ErrorBody),
}

impl EndedBy {
    /// Why an event of the run ended what was at work.
    #[must_use]
    pub fn event(state: &State) -> Self {
        let result = state.result.as_ref();
        let canceled = matches!(state.phase, RunState::Canceling | RunState::Canceled);
        Self::Canceled(match result.and_then(|result| result.reason.clone()) {
            _ if canceled => ErrorBody::new(Code::Canceled, "canceled on request"),
            Some(reason) => reason,
            None => ErrorBody::new(Code::Canceled, "the run had its answer"),
        })
    }

    /// The entry that ends an attempt so, whose task has this journal; nothing when the run has no such task. What was used
    /// until then counts.
    #[must_use]
    pub fn entry(
        &self,
        state: &State,
        task: &TaskId,
        attempt: u32,
        journal: &[Entry],
        by: &InstanceId,
        at: Timestamp,
    ) -> Option<Entry> {
        let (status, reason, body): (_, _, fn(Box<Answer>) -> Body) = match self {
            Self::Canceled(reason) => (AnswerStatus::Canceled, reason, Body::Canceled),
            Self::TimedOut(reason) => (AnswerStatus::Failed, reason, Body::TimedOut),
        };
        let answer = Answer {
            task: task.clone(),
            agent: state.agent_of(task)?.clone(),
            model: String::new(),
            status,
            text: None,
            blob: None,
            error: Some(reason.clone()),
            usage: used(journal, attempt),
            elapsed_ms: 0,
            simulated: false,
        };
        Some(Entry {
            v: Version,
            run: state.run,
            task: task.clone(),
            attempt,
            work_seq: None,
            delivery: None,
            instance: by.clone(),
            at,
            turn_ms: None,
            body: body(Box::new(answer)),
        })
    }
}

/// What the finished turns and calls of an attempt used.
fn used(journal: &[Entry], attempt: u32) -> Usage {
    let own = journal.iter().filter(|entry| entry.attempt == attempt);
    own.fold(Usage::default(), |sum, entry| match &entry.body {
        Body::ModelTurn(turn) => sum.plus(turn.usage),
        Body::ToolResult(result) => sum.plus(Usage {
            tool_calls: u64::from(!result.repeated),
            ..Usage::default()
        }),
        _ => sum,
    })
}

#[cfg(test)]
mod tests {
    use swarm_protocol::Submission;
    use swarm_protocol::journal::{ModelTurn, ToolResult, ToolReturn, ToolStatus};

    use super::*;
    use crate::test_support::{message, names, submit, team};
    use crate::{Contents, Context, Decision, Input, decide, fold};

    /// A run of one agent, at work.
    fn run() -> State {
        let (submit, team) = (
            submit(Submission {
                agents: Some(names(&["critical_agent"])),
                ..Submission::of_task("t")
            }),
            team(),
        );
        let context: Context = crate::test_support::context(0, message(1));
        let input = Input::Submit(&submit, &team);
        let Decision::Append { event, .. } = decide(None, input, context, &Contents::new()) else {
            panic!("it is accepted");
        };
        fold(None, &event).unwrap()
    }

    fn entry(attempt: u32, body: Body) -> Entry {
        Entry {
            v: Version,
            run: run().run,
            task: "critical_agent".parse().unwrap(),
            attempt,
            work_seq: Some(1),
            delivery: Some(1),
            instance: "w".parse().unwrap(),
            at: Timestamp::from_millis(1),
            turn_ms: None,
            body,
        }
    }

    fn turn(tokens: u64) -> Body {
        Body::ModelTurn(ModelTurn {
            usage: Usage {
                output_tokens: tokens,
                model_calls: 1,
                ..Usage::default()
            },
            ..ModelTurn::default()
        })
    }

    fn result(repeated: bool) -> Body {
        Body::ToolResult(ToolReturn {
            result: ToolResult {
                tool_use_id: "c".into(),
                status: ToolStatus::Success,
                content: Vec::new(),
            },
            name: "put".into(),
            repairs: Vec::new(),
            repeated,
            elapsed_ms: 1,
        })
    }

    #[test]
    fn what_an_ended_attempt_used_counts_and_what_others_used_does_not() {
        let journal = [
            entry(1, turn(100)),
            entry(2, turn(3)),
            entry(2, result(false)),
            entry(2, result(true)),
            entry(2, turn(4)),
        ];
        let (state, by) = (run(), "c1".parse().unwrap());
        let ended_by = EndedBy::event(&state);
        let task: TaskId = "critical_agent".parse().unwrap();
        let at = Timestamp::from_millis(9);
        let ended = ended_by.entry(&state, &task, 2, &journal, &by, at).unwrap();
        assert!(ended.has_ended(2) && !ended.has_ended(3));
        let expected = Usage {
            input_tokens: 0,
            output_tokens: 7,
            model_calls: 2,
            tool_calls: 1,
        };
        assert_eq!(ended.body.answer().unwrap().usage, expected);
        let stranger: TaskId = "stranger".parse().unwrap();
        assert_eq!(
            ended_by.entry(&state, &stranger, 2, &journal, &by, at),
            None
        );
    }
}
