//! The tools that come with Swarm: pure Rust, without I/O but the clock, and without effects.

mod calculator;
mod current_time;
mod text_stats;

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use serde_json::Value;
use swarm_protocol::journal::ToolContent;

use crate::spec::{Effects, Spec, SpecError};
use crate::tool::{CallContext, Tool, ToolError};

/// The names of the built-in tools.
#[must_use]
pub fn names() -> [&'static str; 3] {
    ["calculator", "current_time", "text_stats"]
}

/// The built-in tool of this name.
#[must_use]
pub fn get(name: &str) -> Option<Arc<dyn Tool>> {
    let made = match name {
        "calculator" => calculator::tool(),
        "current_time" => current_time::tool(),
        "text_stats" => text_stats::tool(),
        _ => return None,
    };
    made.map(|tool| Arc::new(tool) as Arc<dyn Tool>).ok()
}

/// A function that is a tool.
struct Builtin {
    spec: Spec,
    run: fn(&Value) -> Result<Value, ToolError>,
}

impl Builtin {
    fn new(
        name: &str,
        description: &str,
        input_schema: &Value,
        run: fn(&Value) -> Result<Value, ToolError>,
    ) -> Result<Self, SpecError> {
        let spec = Spec::new(name, description, input_schema, Effects::None)?;
        Ok(Self { spec, run })
    }
}

impl Tool for Builtin {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    fn call(
        &self,
        input: Value,
        _context: CallContext,
    ) -> BoxFuture<'_, Result<Vec<ToolContent>, ToolError>> {
        let result = (self.run)(&input).map(|value| {
            vec![match value {
                Value::String(text) => ToolContent::Text(text),
                value => ToolContent::Json(value),
            }]
        });
        ready(result).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_its_tool() {
        for name in names() {
            let tool = get(name).unwrap();
            assert_eq!(tool.spec().name(), name);
            assert_eq!(tool.spec().effects(), Effects::None);
        }
        assert!(get("no_such_tool").is_none());
    }

    #[test]
    fn the_page_knows_them_all_and_its_spec_is_right() {
        let page = include_str!("../../docs/tools.md");
        for name in names() {
            assert!(
                page.contains(&format!("\n| `{name}` |")),
                "{name} has no row"
            );
        }
        let (_, json) = page.split_once("```json\n").unwrap();
        let (json, _) = json.split_once("```").unwrap();
        let spec: Spec = serde_json::from_str(json).unwrap();
        assert_eq!(spec.name(), "get_weather");
    }
}
