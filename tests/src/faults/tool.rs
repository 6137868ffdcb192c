//! The tool of the tests: it writes to the ledger, and takes the time that it is told to take.

use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use swarm_protocol::Timestamp;
use swarm_protocol::journal::ToolContent;
use swarm_tools::spec::{Effects, Spec};
use swarm_tools::{CallContext, Tool, ToolError};
use uuid::Uuid;

use super::ledger::{Call, Ledger, Line, What};

/// The tool whose calls may be repeated.
pub const LEDGER: &str = "ledger";

/// The tool whose calls have an effect each time.
pub const LEDGER_ONCE: &str = "ledger_once";

/// A call with this text ends the process that makes it.
pub const DEADLY: &str = "deadly";

/// Writes to the ledger.
pub struct LedgerTool {
    spec: Spec,
    ledger: Ledger,
}

impl LedgerTool {
    /// Both tools over one ledger.
    #[must_use]
    pub fn both(ledger: &Ledger) -> [Self; 2] {
        [(LEDGER, Effects::Idempotent), (LEDGER_ONCE, Effects::Once)].map(|(name, effects)| {
            let schema = json!({
                "type": "object",
                "properties": {
                    "text": {"type": "string", "description": "What to write"},
                    "ms": {"type": "integer", "description": "How long it takes to write it"},
                    "hold": {"type": "integer", "description": "How long it takes to say so then"},
                },
                "required": ["text", "ms", "hold"],
            });
            let spec = Spec::new(name, "Writes to the ledger.", &schema, effects);
            Self {
                spec: spec.unwrap_or_else(|error| panic!("{error}")),
                ledger: ledger.clone(),
            }
        })
    }

    async fn write(&self, input: &Value, context: &CallContext) -> std::io::Result<Uuid> {
        let text = input["text"].as_str().unwrap_or_default().to_owned();
        let pause = |name: &str| Duration::from_millis(input[name].as_u64().unwrap_or(0));
        let entry = Uuid::new_v4();
        let line = |what| Line {
            at: Timestamp::now(),
            pid: std::process::id(),
            call: Call {
                run: context.run.clone(),
                task: context.task.clone(),
                call: context.call_id.clone(),
                tool: self.spec.name().to_owned(),
            },
            entry,
            what,
            text: text.clone(),
        };
        self.ledger.add(&line(What::Begin))?;
        if text == DEADLY {
            std::process::abort();
        }
        tokio::time::sleep(pause("ms")).await;
        self.ledger.add(&line(What::Effect))?;
        tokio::time::sleep(pause("hold")).await;
        Ok(entry)
    }
}

impl Tool for LedgerTool {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    fn call(
        &self,
        input: Value,
        context: CallContext,
    ) -> BoxFuture<'_, Result<Vec<ToolContent>, ToolError>> {
        async move {
            let written = self.write(&input, &context).await;
            let entry = written.map_err(|error| ToolError::new(error.to_string()))?;
            Ok(vec![ToolContent::Text(format!("entry {entry}"))])
        }
        .boxed()
    }
}
