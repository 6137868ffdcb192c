//! The calls of a turn: run side by side, each result recorded as soon as it is there.

use std::collections::HashSet;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use swarm_bus::fence::Journal;
use swarm_protocol::chunk::Kind;
use swarm_protocol::journal::{Approval, Body, CallDecision, Repair, ToolCall, ToolReturn};
use swarm_protocol::metrics as names;
use swarm_tools::{CallContext, Failure, Outcome, invoke};
use tokio::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

use super::{Attempt, Interruption, millis};
use crate::agent_loop::AgentLoop;
use crate::interrupted::{Interrupted, denial};

/// Longest call of a tool.
const LONGEST_CALL: Duration = Duration::from_secs(60);

impl Attempt<'_> {
    /// The calls among these that may have run, and that a person has to decide about before they run again.
    pub(super) fn to_ask_about(
        &self,
        calls: &[ToolCall],
        open: &HashSet<String>,
    ) -> Option<Vec<Approval>> {
        self.interrupted(open)
            .to_ask_about(calls, |call| self.may_repeat(call))
    }

    fn interrupted<'b>(&'b self, open: &'b HashSet<String>) -> Interrupted<'b> {
        Interrupted {
            work: &self.work,
            delivery: self.claim.delivery,
            open,
            begun: &self.begun,
        }
    }

    fn may_repeat(&self, call: &ToolCall) -> bool {
        let tool = self.shared.options.profile.tools.get(&call.name);
        // A tool that is not there does not run.
        tool.is_none_or(|tool| tool.spec().effects().may_repeat())
    }

    /// Runs these calls. What is recorded never runs again; `open` are those that an earlier delivery may have run.
    ///
    /// A deadline that passes meanwhile is found by the next turn.
    pub(super) async fn call(
        &mut self,
        agent: &mut AgentLoop,
        journal: &mut Journal,
        calls: Vec<ToolCall>,
        open: &HashSet<String>,
    ) -> Result<(), Interruption> {
        let shared = self.shared;
        let cancel = CancellationToken::new();
        let _stopped_with_this = cancel.clone().drop_guard();
        let mut running = FuturesUnordered::new();
        for call in calls {
            self.chunks.show(Kind::ToolCall, &call).await;
            let decision = self.interrupted(open).decision(&call.tool_use_id);
            let known = match decision {
                Some(CallDecision::Denied) => Some(denial(&call)),
                Some(CallDecision::Approved) => {
                    // Work that was published twice has one who begins.
                    let tool_use_id = call.tool_use_id.clone();
                    let entry = self.entry(Body::CallBegun { tool_use_id });
                    journal.append(&entry, self.delivery.trace()).await?;
                    None
                }
                None => agent.known(&call),
            };
            if known.is_none() {
                self.begun.insert(call.tool_use_id.clone());
            }
            let context = CallContext::new(
                self.work.run.to_string(),
                self.work.task.to_string(),
                LONGEST_CALL.min(self.deadline().saturating_duration_since(Instant::now())),
                cancel.clone(),
            );
            // A call that is not run has no span.
            let span = known.is_none().then(|| self.spans().execute_tool(&call));
            running.push(async move {
                if let Some(known) = known {
                    return known;
                }
                let outcome = invoke(&shared.options.profile.tools, &call, context).await;
                if let Some(span) = span {
                    span.end(&outcome.result, outcome.failure.map(Failure::as_str));
                }
                returned(&call, outcome)
            });
        }
        loop {
            // Calls end by their own deadline.
            let Some(Some(result)) = self.stop(None).or(running.next()).await? else {
                return Ok(());
            };
            self.measure_call(&result);
            self.chunks.show(Kind::ToolResult, &result.result).await;
            let entry = self.entry(Body::ToolResult(result.clone()));
            journal.append(&entry, self.delivery.trace()).await?;
            agent.take_result(&result);
        }
    }

    fn measure_call(&self, result: &ToolReturn) {
        let tools = &self.shared.options.profile.tools;
        // What a model makes up is no label.
        let tool = tools
            .get(&result.name)
            .map_or("unknown", |tool| tool.spec().name());
        let labels = [
            ("agent", self.work.agent.to_string()),
            ("tool", tool.to_owned()),
        ];
        metrics::histogram!(names::TOOL_SECONDS, &labels).record(result.elapsed_ms as f64 / 1000.0);
    }
}

fn returned(call: &ToolCall, outcome: Outcome) -> ToolReturn {
    let repairs = outcome.repairs.into_iter().map(|repair| Repair {
        at: repair.at,
        what: repair.what.to_string(),
    });
    ToolReturn {
        result: outcome.result,
        name: call.name.clone(),
        repairs: repairs.collect(),
        repeated: false,
        elapsed_ms: millis(outcome.elapsed),
    }
}
