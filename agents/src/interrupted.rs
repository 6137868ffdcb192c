//! Calls that may have run, for nobody has recorded their result: what a person decides about them. Pure.

use std::collections::HashSet;

use swarm_protocol::journal::{
    Approval, CallDecision, ToolCall, ToolContent, ToolResult, ToolReturn, ToolStatus,
};
use swarm_protocol::work::Work;

/// What one delivery knows of the calls that may have run.
#[derive(Debug, Clone, Copy)]
pub struct Interrupted<'a> {
    /// The work, with what was decided.
    pub work: &'a Work,
    /// Which delivery of it this is.
    pub delivery: u64,
    /// Calls that were without a result when the journal was read.
    pub open: &'a HashSet<String>,
    /// Calls that this delivery has begun.
    pub begun: &'a HashSet<String>,
}

impl Interrupted<'_> {
    /// What was decided about a call that may have run. What was approved is good for one go: the first delivery, once.
    #[must_use]
    pub fn decision(&self, call: &str) -> Option<CallDecision> {
        let decision = *self
            .work
            .decisions
            .get(call)
            .filter(|_| self.may_have_run(call))?;
        let holds =
            decision == CallDecision::Denied || (self.delivery == 1 && !self.begun.contains(call));
        holds.then_some(decision)
    }

    /// The calls among these that a person has to decide about before they run again; nothing when there are none.
    #[must_use]
    pub fn to_ask_about(
        &self,
        calls: &[ToolCall],
        may_repeat: impl Fn(&ToolCall) -> bool,
    ) -> Option<Vec<Approval>> {
        let undecided = calls.iter().filter(|call| {
            let id = &call.tool_use_id;
            self.may_have_run(id) && self.decision(id).is_none() && !may_repeat(call)
        });
        let approvals: Vec<Approval> = undecided
            .enumerate()
            .map(|(n, call)| {
                let reason = format!(
                    "{} was interrupted, may have taken effect, and says that it must not run twice",
                    call.name
                );
                let (task, attempt) = (&self.work.task, self.work.attempt);
                Approval::of(task, attempt, n + 1, call.clone(), reason)
            })
            .collect();
        (!approvals.is_empty()).then_some(approvals)
    }

    fn may_have_run(&self, call: &str) -> bool {
        self.open.contains(call) || self.begun.contains(call)
    }
}

/// The result of a call that a person does not let run again.
#[must_use]
pub fn denial(call: &ToolCall) -> ToolReturn {
    let text = "The call was interrupted. It may have taken effect, and a person decided that it is not made again.";
    let result = ToolResult {
        tool_use_id: call.tool_use_id.clone(),
        status: ToolStatus::Error,
        content: vec![ToolContent::Text(text.to_owned())],
    };
    ToolReturn {
        result,
        name: call.name.clone(),
        repairs: Vec::new(),
        repeated: false,
        elapsed_ms: 0,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;
    use swarm_protocol::submission::Budget;
    use swarm_protocol::{RunId, Timestamp, Version};

    use super::*;

    fn work(decisions: &[(&str, CallDecision)]) -> Work {
        let decisions = decisions
            .iter()
            .map(|(call, decision)| ((*call).to_owned(), *decision));
        Work {
            v: Version,
            run: RunId::random(),
            task: "t".parse().unwrap(),
            attempt: 2,
            agent: "a".parse().unwrap(),
            input: "do".into(),
            context: None,
            context_ref: None,
            budget: Budget::default(),
            deadline: Timestamp::from_millis(1),
            decisions: decisions.collect::<BTreeMap<_, _>>(),
            messages: Vec::new(),
        }
    }

    fn ids(calls: &[&str]) -> HashSet<String> {
        calls.iter().map(|call| (*call).to_owned()).collect()
    }

    #[test]
    fn what_was_approved_holds_once_and_what_was_denied_for_ever() {
        use CallDecision::{Approved, Denied};
        let work = work(&[("yes", Approved), ("no", Denied), ("new", Approved)]);
        let (open, begun, none) = (ids(&["yes", "no"]), ids(&["yes"]), ids(&[]));
        let of = |delivery, begun| Interrupted {
            work: &work,
            delivery,
            open: &open,
            begun,
        };
        let decisions = |of: Interrupted<'_>| ["yes", "no", "new"].map(|call| of.decision(call));
        assert_eq!(
            decisions(of(1, &none)),
            [Some(Approved), Some(Denied), None]
        );
        assert_eq!(decisions(of(1, &begun)), [None, Some(Denied), None]);
        assert_eq!(decisions(of(2, &none)), [None, Some(Denied), None]);
    }

    #[test]
    fn a_person_is_asked_about_what_may_have_run_and_must_not_run_twice() {
        let work = work(&[("no", CallDecision::Denied)]);
        let call = |id: &str, name: &str| ToolCall {
            tool_use_id: id.into(),
            name: name.into(),
            input: json!({}),
        };
        let calls = [
            call("first", "send"),
            call("no", "send"),
            call("again", "look"),
            call("new", "send"),
            call("own", "send"),
        ];
        let (open, begun) = (ids(&["first", "no", "again"]), ids(&["own"]));
        let interrupted = Interrupted {
            work: &work,
            delivery: 1,
            open: &open,
            begun: &begun,
        };
        let asked = interrupted.to_ask_about(&calls, |call| call.name == "look");
        let asked: Vec<(String, String)> = asked
            .unwrap()
            .into_iter()
            .map(|asked| (asked.approval, asked.call.tool_use_id))
            .collect();
        let named = |approval: &str, call: &str| (approval.to_owned(), call.to_owned());
        assert_eq!(asked, [named("t.2.1", "first"), named("t.2.2", "own")]);
        assert_eq!(interrupted.to_ask_about(&calls, |_| true), None);
    }
}
