//! The calls of a turn: run side by side, each result recorded as soon as it is there. See `agents/src/worker/attempt/call.rs`.

use std::collections::HashSet;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use swarm_agents::agent_loop::AgentLoop;
use swarm_agents::interrupted::{Interrupted, denial};
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
        open: &HashSet<String>,
    ) -> Option<Vec<Approval>> {
        let may_repeat = |call: &ToolCall| {
            self.worker.sim.is_mutated(Mutation::RunsWithoutAsking) || model::may_repeat(&call.name)
        };
        self.interrupted(open).to_ask_about(calls, may_repeat)
    }

    fn interrupted<'b>(&'b self, open: &'b HashSet<String>) -> Interrupted<'b> {
        let is_first = self.worker.sim.is_mutated(Mutation::DecisionHoldsForEver);
        Interrupted {
            work: &self.work,
            delivery: if is_first { 1 } else { self.claim.delivery },
            open,
            begun: &self.begun,
        }
    }

    /// Runs these calls; `open` are those that an earlier delivery may have run.
    pub async fn call(
        &mut self,
        agent: &mut AgentLoop,
        journal: &mut Journal,
        calls: Vec<ToolCall>,
        open: &HashSet<String>,
    ) -> Result<(), Interruption> {
        let mut running = FuturesUnordered::new();
        for call in calls {
            let decision = self.interrupted(open).decision(&call.tool_use_id);
            let known = match decision {
                Some(CallDecision::Denied) => Some(denial(&call)),
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
