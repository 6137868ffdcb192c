//! The calls of a turn: run side by side, each result recorded as soon as it is there. See `agents/src/worker/attempt/call.rs`.

use std::collections::HashSet;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use swarm_agents::agent_loop::AgentLoop;
use swarm_protocol::journal::{
    Approval, Body, CallDecision, ToolCall, ToolContent, ToolResult, ToolReturn, ToolStatus,
};

use super::attempt::{Attempt, Interruption};
use super::journal::Journal;
use super::model;
use crate::checker::Execution;
use crate::mutation::Mutation;
use crate::scheduler::When;

impl Attempt<'_> {
    /// The calls among these that may have run, and that a person has to decide about.
    pub fn to_ask_about(
        &self,
        calls: &[ToolCall],
        interrupted: &HashSet<String>,
    ) -> Option<Vec<Approval>> {
        if self.worker.sim.is_mutated(Mutation::RunsWithoutAsking) {
            return None;
        }
        let undecided = calls.iter().filter(|call| {
            let id = &call.tool_use_id;
            let may_have_run = interrupted.contains(id) || self.begun.contains(id);
            may_have_run && self.decision(id).is_none() && !model::may_repeat(&call.name)
        });
        let approvals = undecided.enumerate().map(|(n, call)| {
            let (task, attempt) = (&self.work.task, self.work.attempt);
            Approval::of(task, attempt, n + 1, call.clone(), "it may have run".into())
        });
        let approvals: Vec<Approval> = approvals.collect();
        (!approvals.is_empty()).then_some(approvals)
    }

    /// What a person decided about a call. What was approved is good for one go: the first delivery, once.
    fn decision(&self, call: &str) -> Option<CallDecision> {
        let decision = *self.work.decisions.get(call)?;
        let holds = decision == CallDecision::Denied
            || (self.claim.delivery == 1 && !self.begun.contains(call))
            || self.worker.sim.is_mutated(Mutation::DecisionHoldsForEver);
        holds.then_some(decision)
    }

    /// Runs these calls; `interrupted` are those that an earlier delivery may have run.
    pub async fn call(
        &mut self,
        agent: &mut AgentLoop,
        journal: &mut Journal,
        calls: Vec<ToolCall>,
        interrupted: &HashSet<String>,
    ) -> Result<(), Interruption> {
        let mut running = FuturesUnordered::new();
        for call in calls {
            let may_have_run = interrupted.contains(&call.tool_use_id);
            let decision = self.decision(&call.tool_use_id).filter(|_| may_have_run);
            let known = match decision {
                Some(CallDecision::Denied) => Some(returned(
                    &call,
                    ToolStatus::Error,
                    "a person decided that it is not made again",
                )),
                Some(CallDecision::Approved) => {
                    let tool_use_id = call.tool_use_id.clone();
                    let entry = self.entry(Body::CallBegun { tool_use_id });
                    journal.append("append begun call", &entry).await?;
                    None
                }
                None => agent.known(&call),
            };
            if known.is_none() {
                self.begun.insert(call.tool_use_id.clone());
            }
            let execution = Execution {
                run: self.work.run,
                task: self.work.task.clone(),
                call: call.tool_use_id.clone(),
                tool: call.name.clone(),
                known: journal.last,
            };
            let worker = self.worker;
            running.push(async move {
                match known {
                    Some(known) => known,
                    None => worker.execute(&call, execution).await,
                }
            });
        }
        loop {
            let next = self.worker.unless_stopped(self.work.run, running.next());
            let Some(result) = next.await? else {
                return Ok(());
            };
            let entry = self.entry(Body::ToolResult(result.clone()));
            journal.append("append result", &entry).await?;
            agent.take_result(&result);
        }
    }
}

impl super::Worker {
    /// Runs a tool. What it does outside of Swarm, the checker counts: it is done for good, whatever happens then.
    async fn execute(&self, call: &ToolCall, execution: Execution) -> ToolReturn {
        let process = self.net.process;
        self.sim
            .crash_point(process, When::Before, "run tool")
            .await;
        self.sim.sleep(self.sim.between(0, 200)).await;
        self.sim.say(process, || {
            format!(
                "runs {} {} of {}",
                call.name, call.tool_use_id, execution.task
            )
        });
        self.checker.borrow_mut().executed(&self.sim, execution);
        self.sim
            .crash_point(process, When::During, "run tool")
            .await;
        self.sim.sleep(self.sim.between(10, 2_000)).await;
        self.sim.crash_point(process, When::After, "run tool").await;
        if self.sim.chance(150) {
            returned(call, ToolStatus::Error, "the dice say no")
        } else {
            returned(call, ToolStatus::Success, "done")
        }
    }
}

fn returned(call: &ToolCall, status: ToolStatus, text: &str) -> ToolReturn {
    let result = ToolResult {
        tool_use_id: call.tool_use_id.clone(),
        status,
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
