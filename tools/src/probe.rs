//! A tool for tests: does what its `do` says, and counts how often it ran.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use swarm_protocol::journal::ToolContent;

use crate::spec::{Effects, Spec};
use crate::tool::{CallContext, Tool, ToolError};

pub struct Probe {
    spec: Spec,
    pub ran: AtomicU32,
}

impl Probe {
    /// Takes `{"do": "answer" | "refuse" | "panic" | "panic_at_once" | "hang" | "flood", "n"?: integer}`.
    pub fn named(name: &str) -> Arc<Self> {
        Arc::new(Self::new(name, "A probe."))
    }

    pub fn described(name: &str, description: &str) -> Arc<dyn Tool> {
        Arc::new(Self::new(name, description))
    }

    fn new(name: &str, description: &str) -> Self {
        let schema = json!({
            "properties": {"do": {"type": "string"}, "n": {"type": "integer"}},
            "required": ["do"],
            "additionalProperties": false,
        });
        Self {
            spec: Spec::new(name, description, &schema, Effects::None).unwrap(),
            ran: AtomicU32::new(0),
        }
    }
}

impl Tool for Probe {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    fn call(
        &self,
        input: Value,
        context: CallContext,
    ) -> BoxFuture<'_, Result<Vec<ToolContent>, ToolError>> {
        self.ran.fetch_add(1, Ordering::Relaxed);
        assert_ne!(input["do"], "panic_at_once");
        async move {
            match input["do"].as_str() {
                Some("answer") => Ok(vec![ToolContent::Json(json!([
                    context.call_id,
                    input["n"]
                ]))]),
                Some("refuse") => Err(ToolError::new("No weather there.")),
                Some("hang") => std::future::pending().await,
                Some("flood") => Ok(vec![ToolContent::Text("x".repeat(100_000))]),
                other => panic!("{other:?}"),
            }
        }
        .boxed()
    }
}
