//! All cases, part by part.

mod agents;
mod answers;
mod calls;
mod client;
mod context;
mod refusals;
mod scheduling;
mod team;
mod thinking;

use serde_json::{Value, json};

use crate::case::Case;

/// Every case, in the order of the document.
pub fn all() -> Vec<Case> {
    let parts = [
        ("What is refused", refusals::cases()),
        ("Answers", answers::cases()),
        ("Calls of tools", calls::cases()),
        ("Thinking and formats", thinking::cases()),
        ("The context window", context::cases()),
        ("Scheduling and faults", scheduling::cases()),
        ("The client of Swarm", client::cases()),
        ("Swarm", team::cases()),
        ("Agents with tools", agents::cases()),
    ];
    let in_part = |(part, cases): (&'static str, Vec<Case>)| {
        cases.into_iter().map(move |case| case.in_part(part))
    };
    parts.into_iter().flat_map(in_part).collect()
}

/// What a simulator spares who leaves.
const LOST: &str = "It loses no slots.";

/// Has a model talk for about two seconds.
const ENDLESS: &str = "@s:endless@";

/// The tool that scripts call.
fn weather() -> Value {
    json!([{
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "The weather in a city",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}},
                "required": ["city"],
            },
        },
    }])
}
