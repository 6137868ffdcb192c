//! Collects what would be exported.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Sampler, Span, SpanData, SpanProcessor};
use serde_json::Value;
use swarm_protocol::submission::Budget;
use swarm_protocol::work::Work;
use swarm_protocol::{RunId, Timestamp, Version};

use crate::exporter::Exporter;

/// Spans that were told.
#[derive(Debug, Clone, Default)]
pub(crate) struct Collected(Arc<Mutex<Vec<SpanData>>>);

impl Collected {
    /// An exporter, and what it is told.
    pub(crate) fn new(content: bool) -> (Self, &'static Exporter) {
        let collected = Self::default();
        let sampler = Sampler::ParentBased(Box::new(Sampler::AlwaysOn));
        let exporter = Exporter::over(Box::new(collected.clone()), sampler, content);
        (collected, Box::leak(Box::new(exporter)))
    }

    /// All of them, which are so many.
    pub(crate) fn spans<const N: usize>(&self) -> [SpanData; N] {
        let spans = self.0.lock().unwrap().clone();
        spans.try_into().unwrap()
    }
}

impl SpanProcessor for Collected {
    fn on_start(&self, _span: &mut Span, _context: &Context) {}

    fn on_end(&self, span: SpanData) {
        self.0.lock().unwrap().push(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _patience: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// An attribute as text.
pub(crate) fn attribute(span: &SpanData, name: &str) -> Option<String> {
    let mut all = span.attributes.iter();
    let found = all.find(|attribute| attribute.key.as_str() == name);
    found.map(|attribute| attribute.value.to_string())
}

/// All attributes, as texts.
pub(crate) fn attributes(span: &SpanData) -> Value {
    let all = span.attributes.iter();
    let all = all.map(|it| (it.key.to_string(), it.value.to_string().into()));
    Value::Object(all.collect())
}

pub(crate) fn work() -> Work {
    Work {
        v: Version,
        run: RunId::random(),
        task: "t".parse().unwrap(),
        attempt: 1,
        agent: "research_agent".parse().unwrap(),
        input: "Why?".into(),
        context: None,
        budget: Budget::default(),
        deadline: Timestamp::from_millis(0),
        decisions: std::collections::BTreeMap::new(),
        messages: Vec::new(),
    }
}
