//! Spans of what the streams say has ended: runs and attempts. A coordinator tells them.

use std::time::{Duration, SystemTime};

use opentelemetry::KeyValue;
use opentelemetry::trace::SpanKind;
use swarm_protocol::journal::{Body, Entry};
use swarm_protocol::trace::TraceParent;
use swarm_protocol::{Answer, AnswerStatus, Code, RunResult, RunState, Timestamp, Usage};

use crate::EXPORTER;
use crate::content::{Message, written};
use crate::exporter::{Ended, Exporter, Trouble};
use crate::names::{self, operation};

/// A run that has ended.
#[derive(Debug, Clone, Copy)]
pub struct EndedRun<'a> {
    /// The span that the run is.
    pub trace: TraceParent,
    /// The span of whoever submitted it, when that one had a trace.
    pub submitter: Option<TraceParent>,
    /// What was asked.
    pub task: Option<&'a str>,
    /// When it was submitted.
    pub submitted_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// How it ended.
    pub result: &'a RunResult,
}

/// An attempt that has ended.
#[derive(Debug, Clone, Copy)]
pub struct EndedAttempt<'a> {
    /// The span that the run is.
    pub trace: TraceParent,
    /// When the attempt was dispatched.
    pub dispatched_at: Option<Timestamp>,
    /// The entry of the journal that ends it; another one tells nothing.
    pub entry: &'a Entry,
}

/// Tells the span of a run, once.
pub fn invoke_workflow(run: &EndedRun<'_>) {
    if let Some(exporter) = EXPORTER.get() {
        exporter.invoke_workflow(run);
    }
}

/// Tells the span of an attempt, once.
pub fn invoke_agent(attempt: &EndedAttempt<'_>) {
    if let Some(exporter) = EXPORTER.get() {
        exporter.invoke_agent(attempt);
    }
}

impl Exporter {
    pub(crate) fn invoke_workflow(&self, run: &EndedRun<'_>) {
        let result = run.result;
        if !self.wants_once(run.trace, result.run) {
            return;
        }
        let mut attributes = vec![
            KeyValue::new(names::OPERATION, operation::INVOKE_WORKFLOW),
            KeyValue::new(names::PROVIDER, names::OLLAMA),
            KeyValue::new(names::RUN, result.run.to_string()),
            KeyValue::new(names::STATE, result.status.as_str()),
            KeyValue::new(names::SIMULATED, result.simulated),
        ];
        attributes.extend(usage(result.usage));
        let input = || written(&[Message::text("user", run.task?)]);
        attributes.extend(self.content(names::INPUT_MESSAGES, input));
        let output = || written(&[Message::text("assistant", &result.text)]);
        attributes.extend(self.content(names::OUTPUT_MESSAGES, output));
        let reason = result.reason.as_ref().map(Trouble::from);
        let trouble = match result.status {
            RunState::Completed => None,
            _ => Some(reason.unwrap_or_else(|| Trouble::of_kind(names::OTHER))),
        };
        self.tell(Ended {
            name: operation::INVOKE_WORKFLOW.to_owned(),
            kind: SpanKind::Internal,
            context: run.trace,
            parent: run.submitter.map(TraceParent::span),
            began: time(run.submitted_at),
            ended: time(run.ended_at),
            attributes,
            trouble,
        });
    }

    pub(crate) fn invoke_agent(&self, attempt: &EndedAttempt<'_>) {
        let EndedAttempt { trace, entry, .. } = *attempt;
        let suspended = suspended(entry);
        let Some(answer) = entry.body.answer().or(suspended.as_ref()) else {
            return;
        };
        let span = trace.of_attempt(entry.run, &entry.task, entry.attempt);
        if !self.wants_once(span, entry.run) {
            return;
        }
        let mut attributes = vec![
            KeyValue::new(names::OPERATION, operation::INVOKE_AGENT),
            KeyValue::new(names::PROVIDER, names::OLLAMA),
            KeyValue::new(names::AGENT, answer.agent.to_string()),
            KeyValue::new(names::RUN, entry.run.to_string()),
            KeyValue::new(names::TASK, entry.task.to_string()),
            KeyValue::new(names::ATTEMPT, i64::from(entry.attempt)),
            KeyValue::new(names::INSTANCE, entry.instance.to_string()),
            KeyValue::new(names::SIMULATED, answer.simulated),
        ];
        if !answer.model.is_empty() {
            attributes.push(KeyValue::new(names::REQUEST_MODEL, answer.model.clone()));
        }
        if let Some(delivery) = entry.delivery {
            attributes.push(KeyValue::new(names::DELIVERY, int(delivery)));
        }
        attributes.extend(usage(answer.usage));
        let output = || written(&[Message::text("assistant", answer.text.as_ref()?)]);
        attributes.extend(self.content(names::OUTPUT_MESSAGES, output));
        self.tell(Ended {
            name: format!("{} {}", operation::INVOKE_AGENT, answer.agent),
            kind: SpanKind::Client,
            context: span,
            parent: Some(trace.span()),
            began: began(attempt, answer),
            ended: time(entry.at),
            attributes,
            trouble: trouble(answer),
        });
    }
}

/// What an attempt came to that was suspended: what it used, and no answer yet.
fn suspended(entry: &Entry) -> Option<Answer> {
    let Body::Suspended(suspended) = &entry.body else {
        return None;
    };
    Some(Answer {
        task: entry.task.clone(),
        agent: suspended.agent.clone(),
        model: String::new(),
        status: AnswerStatus::Completed,
        text: None,
        error: None,
        usage: suspended.usage,
        elapsed_ms: suspended.elapsed_ms,
        simulated: false,
    })
}

/// When the worker began. One that took the work over, and a coordinator that ends it, do not know when the first one did:
/// then, when it was dispatched, so that no turn of the lost worker lies outside.
fn began(attempt: &EndedAttempt<'_>, answer: &Answer) -> SystemTime {
    let ended = time(attempt.entry.at);
    let worked = ended
        .checked_sub(Duration::from_millis(answer.elapsed_ms))
        .unwrap_or(ended);
    match (attempt.entry.delivery, attempt.dispatched_at) {
        (Some(1), _) | (_, None) => worked,
        (_, Some(dispatched)) => time(dispatched).min(worked),
    }
}

fn trouble(answer: &Answer) -> Option<Trouble> {
    let error = answer.error.as_ref().map(Trouble::from);
    match answer.status {
        AnswerStatus::Completed => None,
        AnswerStatus::Failed => Some(error.unwrap_or_else(|| Trouble::of_kind(names::OTHER))),
        AnswerStatus::Canceled => {
            Some(error.unwrap_or_else(|| Trouble::of_kind(Code::Canceled.as_str())))
        }
    }
}

pub(crate) fn usage(usage: Usage) -> [KeyValue; 2] {
    [
        KeyValue::new(names::INPUT_TOKENS, int(usage.input_tokens)),
        KeyValue::new(names::OUTPUT_TOKENS, int(usage.output_tokens)),
    ]
}

pub(crate) fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn time(at: Timestamp) -> SystemTime {
    let since = u64::try_from(at.as_millis()).unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::from_millis(since)
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{SpanId, Status};
    use serde_json::json;
    use swarm_protocol::journal::Body;
    use swarm_protocol::{ErrorBody, RunId, Version};

    use super::*;
    use crate::test_support::{Collected, attribute, attributes};

    const SUBMITTER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn result(run: RunId, status: RunState) -> RunResult {
        RunResult {
            v: Version,
            run,
            status,
            text: "Because.".into(),
            data: None,
            reason: (status == RunState::Canceled)
                .then(|| ErrorBody::new(Code::Canceled, "canceled on request: secret")),
            aggregate: None,
            answers: vec![],
            usage: Usage {
                input_tokens: 3,
                output_tokens: 4,
                model_calls: 1,
                tool_calls: 0,
            },
            elapsed_ms: 20,
            simulated: true,
            refs: vec![],
        }
    }

    fn entry(run: RunId, delivery: Option<u64>, status: AnswerStatus) -> Entry {
        let answer = Box::new(Answer {
            task: "t".parse().unwrap(),
            agent: "a".parse().unwrap(),
            model: "m".into(),
            status,
            text: None,
            error: None,
            usage: Usage::default(),
            elapsed_ms: 100,
            simulated: false,
        });
        Entry {
            v: Version,
            run,
            task: "t".parse().unwrap(),
            attempt: 1,
            work_seq: Some(1),
            delivery,
            instance: "i".parse().unwrap(),
            at: Timestamp::from_millis(1000),
            turn_ms: None,
            body: match status {
                AnswerStatus::Completed => Body::Completed(answer),
                AnswerStatus::Failed => Body::Failed(answer),
                AnswerStatus::Canceled => Body::Canceled(answer),
            },
        }
    }

    fn millis(at: SystemTime) -> u128 {
        let since = at.duration_since(SystemTime::UNIX_EPOCH);
        since.unwrap().as_millis()
    }

    #[test]
    fn a_run_is_told_once_beneath_its_submitter() {
        let (collected, exporter) = Collected::new(false);
        let submitter = SUBMITTER.parse().ok();
        let result = result(RunId::random(), RunState::Completed);
        let run = EndedRun {
            trace: TraceParent::of_run(result.run, submitter),
            submitter,
            task: Some("Why?"),
            submitted_at: Timestamp::from_millis(10),
            ended_at: Timestamp::from_millis(30),
            result: &result,
        };
        exporter.invoke_workflow(&run);
        exporter.invoke_workflow(&run);
        let [span] = collected.spans::<1>();
        assert_eq!(span.name, "invoke_workflow");
        assert_eq!(
            [span.span_context.span_id(), span.parent_span_id].map(u64_of),
            [run.trace.span(), submitter.unwrap().span()]
        );
        assert_eq!([span.start_time, span.end_time].map(millis), [10, 30]);
        assert_eq!(span.status, Status::Unset);
        assert_eq!(
            attributes(&span),
            json!({
                "gen_ai.operation.name": "invoke_workflow", "gen_ai.provider.name": "ollama",
                "gen_ai.usage.input_tokens": "3", "gen_ai.usage.output_tokens": "4",
                "swarm.run": result.run, "swarm.run.state": "completed", "swarm.simulated": "true",
            })
        );
    }

    fn u64_of(span: SpanId) -> u64 {
        u64::from_be_bytes(span.to_bytes())
    }

    #[test]
    fn a_run_without_a_submitter_is_the_root_and_its_reason_is_a_code() {
        let (collected, exporter) = Collected::new(false);
        let result = result(RunId::random(), RunState::Canceled);
        exporter.invoke_workflow(&EndedRun {
            trace: TraceParent::of_run(result.run, None),
            submitter: None,
            task: None,
            submitted_at: Timestamp::from_millis(10),
            ended_at: Timestamp::from_millis(30),
            result: &result,
        });
        let [span] = collected.spans::<1>();
        assert_eq!(span.parent_span_id, SpanId::INVALID);
        assert_eq!(
            attribute(&span, "error.type").as_deref(),
            Some("SW-CANCELED")
        );
        assert_eq!(span.status, Status::error(""));
    }

    #[test]
    fn an_attempt_is_told_once_however_often_its_end_is_delivered() {
        let (collected, exporter) = Collected::new(false);
        let run = RunId::random();
        let entry = entry(run, Some(1), AnswerStatus::Failed);
        let attempt = EndedAttempt {
            trace: TraceParent::of_run(run, None),
            dispatched_at: Some(Timestamp::from_millis(500)),
            entry: &entry,
        };
        exporter.invoke_agent(&attempt);
        exporter.invoke_agent(&attempt);
        let [span] = collected.spans::<1>();
        assert_eq!(span.name, "invoke_agent a");
        assert_eq!(u64_of(span.parent_span_id), attempt.trace.span());
        assert_eq!([span.start_time, span.end_time].map(millis), [900, 1000]);
        assert_eq!(
            attributes(&span),
            json!({
                "gen_ai.operation.name": "invoke_agent", "gen_ai.provider.name": "ollama", "gen_ai.agent.name": "a",
                "gen_ai.request.model": "m", "gen_ai.usage.input_tokens": "0", "gen_ai.usage.output_tokens": "0",
                "swarm.run": run, "swarm.task": "t", "swarm.attempt": "1", "swarm.delivery": "1",
                "swarm.instance": "i", "swarm.simulated": "false", "error.type": "_OTHER",
            })
        );
    }

    #[test]
    fn an_attempt_that_was_taken_over_or_canceled_began_when_it_was_dispatched() {
        for (delivery, status) in [
            (Some(2), AnswerStatus::Completed),
            (None, AnswerStatus::Canceled),
        ] {
            let (collected, exporter) = Collected::new(false);
            let run = RunId::random();
            exporter.invoke_agent(&EndedAttempt {
                trace: TraceParent::of_run(run, None),
                dispatched_at: Some(Timestamp::from_millis(500)),
                entry: &entry(run, delivery, status),
            });
            let [span] = collected.spans::<1>();
            assert_eq!(millis(span.start_time), 500);
            let error = (status == AnswerStatus::Canceled).then_some("SW-CANCELED");
            assert_eq!(attribute(&span, "error.type").as_deref(), error);
        }
    }
}
