//! Spans of what a worker does in an attempt: turns of the model and calls of tools.
//!
//! They are open values: one that is dropped before its end is told as interrupted.

use std::time::SystemTime;

use opentelemetry::KeyValue;
use opentelemetry::trace::SpanKind;
use swarm_protocol::ErrorBody;
use swarm_protocol::journal::{ModelTurn, ToolCall, ToolResult, ToolStatus};
use swarm_protocol::trace::TraceParent;
use swarm_protocol::work::Work;

use crate::EXPORTER;
use crate::content::{Message, written};
use crate::ended::{int, usage};
use crate::exporter::{Ended, Exporter, Trouble};
use crate::names::{self, operation};

/// One delivery of one attempt: what its spans are beneath.
#[derive(Debug, Clone, Copy)]
pub struct Attempt<'a> {
    /// The trace of the message that brought the work.
    pub trace: TraceParent,
    /// The work.
    pub work: &'a Work,
    /// Which delivery of it.
    pub delivery: u64,
}

/// A turn of the model that goes on.
#[must_use = "a span that is dropped is told as interrupted"]
#[derive(Debug)]
pub struct ChatSpan(Open);

/// A call of a tool that goes on.
#[must_use = "a span that is dropped is told as interrupted"]
#[derive(Debug)]
pub struct ToolSpan(Open);

impl Attempt<'_> {
    /// Opens the span of one turn. `input` is asked for the chat so far only when content is exported.
    pub fn chat(
        &self,
        model: &str,
        max_tokens: u32,
        input: impl FnOnce() -> Vec<Message>,
    ) -> ChatSpan {
        self.chat_to(EXPORTER.get(), model, max_tokens, input)
    }

    /// Opens the span of one call of a tool.
    pub fn execute_tool(&self, call: &ToolCall) -> ToolSpan {
        self.execute_tool_to(EXPORTER.get(), call)
    }

    pub(crate) fn chat_to(
        &self,
        exporter: Option<&'static Exporter>,
        model: &str,
        max_tokens: u32,
        input: impl FnOnce() -> Vec<Message>,
    ) -> ChatSpan {
        ChatSpan(self.open(exporter, |exporter| {
            let mut attributes = vec![
                KeyValue::new(names::OPERATION, operation::CHAT),
                KeyValue::new(names::PROVIDER, names::OLLAMA),
                KeyValue::new(names::REQUEST_MODEL, model.to_owned()),
                KeyValue::new(names::REQUEST_MAX_TOKENS, i64::from(max_tokens)),
                KeyValue::new(names::REQUEST_STREAM, true),
            ];
            let input = || written(&input());
            attributes.extend(exporter.content(names::INPUT_MESSAGES, input));
            (
                format!("{} {model}", operation::CHAT),
                SpanKind::Client,
                attributes,
            )
        }))
    }

    pub(crate) fn execute_tool_to(
        &self,
        exporter: Option<&'static Exporter>,
        call: &ToolCall,
    ) -> ToolSpan {
        ToolSpan(self.open(exporter, |exporter| {
            let mut attributes = vec![
                KeyValue::new(names::OPERATION, operation::EXECUTE_TOOL),
                KeyValue::new(names::TOOL, call.name.clone()),
                KeyValue::new(names::TOOL_TYPE, names::FUNCTION),
                KeyValue::new(names::TOOL_CALL, call.tool_use_id.clone()),
            ];
            let arguments = || written(&call.input);
            attributes.extend(exporter.content(names::TOOL_ARGUMENTS, arguments));
            (
                format!("{} {}", operation::EXECUTE_TOOL, call.name),
                SpanKind::Internal,
                attributes,
            )
        }))
    }

    fn open(
        &self,
        exporter: Option<&'static Exporter>,
        about: impl FnOnce(&Exporter) -> (String, SpanKind, Vec<KeyValue>),
    ) -> Open {
        let work = self.work;
        let Some(exporter) = exporter.filter(|exporter| exporter.wants(self.trace, work.run))
        else {
            return Open(None);
        };
        let began = SystemTime::now();
        let (name, kind, mut attributes) = about(exporter);
        attributes.extend([
            KeyValue::new(names::AGENT, work.agent.to_string()),
            KeyValue::new(names::RUN, work.run.to_string()),
            KeyValue::new(names::TASK, work.task.to_string()),
            KeyValue::new(names::ATTEMPT, i64::from(work.attempt)),
            KeyValue::new(names::DELIVERY, int(self.delivery)),
        ]);
        let parent = self.trace.of_attempt(work.run, &work.task, work.attempt);
        let span = Ended {
            name,
            kind,
            context: parent.child(),
            parent: Some(parent.span()),
            began,
            ended: began,
            attributes,
            trouble: None,
        };
        Open(Some(Box::new((exporter, span))))
    }
}

impl ChatSpan {
    /// The turn is over: what the model said, or why it did not.
    pub fn end(self, outcome: Result<&ModelTurn, ErrorBody>) {
        self.0.end(|exporter, span| match outcome {
            Ok(turn) => {
                let said = || written(&[Message::of_turn(turn)]);
                span.attributes
                    .push(KeyValue::new(names::RESPONSE_MODEL, turn.model.clone()));
                span.attributes
                    .push(KeyValue::new(names::SIMULATED, turn.simulated));
                span.attributes.extend(usage(turn.usage));
                span.attributes
                    .extend(exporter.content(names::OUTPUT_MESSAGES, said));
            }
            Err(error) => span.trouble = Some(Trouble::from(&error)),
        });
    }
}

impl ToolSpan {
    /// The call is over. `failure` names why there is no success, in a word.
    pub fn end(self, result: &ToolResult, failure: Option<&'static str>) {
        self.0.end(|exporter, span| {
            let content = || written(&result.content);
            span.attributes
                .extend(exporter.content(names::TOOL_RESULT, content));
            span.trouble = match result.status {
                ToolStatus::Success => None,
                ToolStatus::Error => Some(Trouble::of_kind(failure.unwrap_or(names::OTHER))),
            };
        });
    }
}

/// A span that has not ended, and who is to be told of it; nothing when nobody is.
#[derive(Debug)]
struct Open(Option<Box<(&'static Exporter, Ended)>>);

impl Open {
    fn end(mut self, about: impl FnOnce(&Exporter, &mut Ended)) {
        if let Some(open) = self.0.take() {
            let (exporter, mut span) = *open;
            about(exporter, &mut span);
            tell(exporter, span);
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(open) = self.0.take() {
            let (exporter, mut span) = *open;
            span.trouble = Some(Trouble::of_kind(names::INTERRUPTED));
            tell(exporter, span);
        }
    }
}

fn tell(exporter: &Exporter, mut span: Ended) {
    span.ended = SystemTime::now();
    exporter.tell(span);
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use swarm_protocol::journal::ToolContent;
    use swarm_protocol::{Code, Usage};

    use super::*;
    use crate::test_support::{Collected, attribute, attributes, work};

    const SUBMITTER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn turn() -> ModelTurn {
        ModelTurn {
            model: "m".into(),
            text: "Because.".into(),
            tool_calls: vec![],
            usage: Usage {
                input_tokens: 3,
                output_tokens: 4,
                model_calls: 1,
                tool_calls: 0,
            },
            elapsed_ms: 10,
            simulated: true,
            ..ModelTurn::default()
        }
    }

    fn attempt(work: &Work) -> Attempt<'_> {
        Attempt {
            trace: TraceParent::of_run(work.run, SUBMITTER.parse().ok()),
            work,
            delivery: 2,
        }
    }

    fn question() -> Vec<Message> {
        vec![Message::text("user", "Why?")]
    }

    #[test]
    fn nothing_is_built_while_nobody_is_told() {
        let work = work();
        let span = attempt(&work).chat("m", 9, || panic!("nobody asks for the chat"));
        assert!(span.0.0.is_none());
        span.end(Ok(&turn()));
    }

    #[test]
    fn a_turn_is_beneath_its_attempt_in_the_trace_of_the_submitter() {
        let (collected, exporter) = Collected::new(false);
        let work = work();
        let attempt = attempt(&work);
        attempt
            .chat_to(Some(exporter), "m", 9, || panic!("content is off"))
            .end(Ok(&turn()));
        let [span] = collected.spans::<1>();
        let parent = attempt.trace.of_attempt(work.run, &work.task, 1);
        assert_eq!(span.name, "chat m");
        assert_eq!(
            format!("{:x}", span.span_context.trace_id()),
            "af7651916cd43dd8448eb211c80319c"
        );
        assert_eq!(span.parent_span_id, parent.span().into());
        assert!(span.end_time >= span.start_time);
        assert_eq!(
            attributes(&span),
            json!({
                "gen_ai.operation.name": "chat", "gen_ai.provider.name": "ollama", "gen_ai.request.model": "m",
                "gen_ai.request.max_tokens": "9", "gen_ai.request.stream": "true", "gen_ai.response.model": "m",
                "gen_ai.usage.input_tokens": "3", "gen_ai.usage.output_tokens": "4",
                "gen_ai.agent.name": "research_agent", "swarm.run": work.run, "swarm.task": "t",
                "swarm.attempt": "1", "swarm.delivery": "2", "swarm.simulated": "true",
            })
        );
    }

    #[test]
    fn a_turn_that_fails_has_its_code_and_one_that_is_dropped_was_interrupted() {
        let (collected, exporter) = Collected::new(false);
        let work = work();
        let error = ErrorBody::new(Code::ModelMissing, "run `ollama pull m`");
        let open = || attempt(&work).chat_to(Some(exporter), "m", 9, question);
        open().end(Err(error));
        drop(open());
        let spans = collected.spans::<2>();
        let errors = spans.each_ref().map(|span| attribute(span, "error.type"));
        assert_eq!(
            errors,
            [Some("SW-MODEL-MISSING".into()), Some("interrupted".into())]
        );
        for span in spans {
            assert_eq!(span.status, opentelemetry::trace::Status::error(""));
        }
    }

    #[test]
    fn a_call_of_a_tool_says_which_and_how_it_failed() {
        let (collected, exporter) = Collected::new(true);
        let work = work();
        let call = ToolCall {
            tool_use_id: "c1".into(),
            name: "calculator".into(),
            input: json!({"expression": "1/0"}),
        };
        let result = ToolResult {
            tool_use_id: "c1".into(),
            status: ToolStatus::Error,
            content: vec![ToolContent::Text("no".into())],
        };
        attempt(&work)
            .execute_tool_to(Some(exporter), &call)
            .end(&result, Some("refused"));
        let [span] = collected.spans::<1>();
        assert_eq!(span.name, "execute_tool calculator");
        assert_eq!(
            attributes(&span),
            json!({
                "gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "calculator",
                "gen_ai.tool.type": "function", "gen_ai.tool.call.id": "c1",
                "gen_ai.tool.call.arguments": r#"{"expression":"1/0"}"#,
                "gen_ai.tool.call.result": r#"[{"text":"no"}]"#, "error.type": "refused",
                "gen_ai.agent.name": "research_agent", "swarm.run": work.run, "swarm.task": "t",
                "swarm.attempt": "1", "swarm.delivery": "2",
            })
        );
    }

    #[test]
    fn content_is_exported_when_it_is_asked_for() {
        let (collected, exporter) = Collected::new(true);
        let work = work();
        attempt(&work)
            .chat_to(Some(exporter), "m", 9, question)
            .end(Ok(&turn()));
        let [span] = collected.spans::<1>();
        assert_eq!(
            attribute(&span, "gen_ai.input.messages").unwrap(),
            r#"[{"role":"user","parts":[{"type":"text","content":"Why?"}]}]"#
        );
        assert_eq!(
            attribute(&span, "gen_ai.output.messages").unwrap(),
            r#"[{"role":"assistant","parts":[{"type":"text","content":"Because."}]}]"#
        );
    }

    #[test]
    fn a_submitter_that_records_nothing_is_followed() {
        let (collected, exporter) = Collected::new(false);
        let work = work();
        let mut attempt = attempt(&work);
        let unsampled = SUBMITTER.replace("-01", "-00").parse().unwrap();
        attempt.trace = TraceParent::of_run(work.run, Some(unsampled));
        attempt
            .chat_to(Some(exporter), "m", 9, question)
            .end(Ok(&turn()));
        let [] = collected.spans::<0>();
    }
}
